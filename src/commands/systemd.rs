//! `dirvol serve` under a service manager: the sockets that it passes, and what it
//! is told.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Failure;
use crate::server::{App, task};
use crate::sys::notify::{self, Notify};
use crate::sys::socket;

/// How often it is looked whether there is something new to tell.
const LOOK: Duration = Duration::from_secs(1);

/// The sockets that a service manager passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passed<S = OwnedFd> {
    /// The engines', for the protocol.
    pub plugin: Option<S>,
    /// The one for those who want metrics.
    pub metrics: Option<S>,
}

/// Takes the sockets that a service manager passed. Call it once, before anything
/// else opens a descriptor.
pub(super) fn sockets() -> Result<Passed, Failure> {
    let assigned = socket::passed().map_err(|error| error.to_string()).and_then(assign);
    assigned.map_err(|why| Failure::Failed(format!("the inherited socket: {why}")))
}

/// Finds out what each socket is for, by its name. One that is alone is the
/// engines', whatever it is called: a unit's own name is the default.
fn assign<S>(sockets: Vec<(String, S)>) -> Result<Passed<S>, String> {
    let alone = sockets.len() == 1;
    let mut passed = Passed { plugin: None, metrics: None };
    for (name, socket) in sockets {
        let place = match name.as_str() {
            "metrics" => &mut passed.metrics,
            "plugin" => &mut passed.plugin,
            _ if alone => &mut passed.plugin,
            _ => {
                return Err(format!(
                    "{name:?} is not a name of one of several: FileDescriptorName=plugin is the \
                     engines' socket, and FileDescriptorName=metrics is for /metrics"
                ));
            }
        };
        if place.replace(socket).is_some() {
            return Err(format!("two are called {name:?}: pass one of each name"));
        }
    }
    Ok(passed)
}

/// A service manager that is told how the driver is, until it is dropped.
pub(super) struct Told {
    notify: Arc<Notify>,
    status: tokio::task::JoinHandle<()>,
}

impl Told {
    /// Tells the service manager, if there is one, that the driver listens; from
    /// then on how it is, and that the reactor turns.
    pub(super) fn ready(app: &Arc<App>) -> Option<Self> {
        let notify = match Notify::from_env() {
            Ok(notify) => Arc::new(notify?),
            Err(error) => {
                tracing::warn!("the service manager is not told: NOTIFY_SOCKET: {error}");
                return None;
            }
        };
        let status = task(tell_status(Arc::clone(&notify), Arc::clone(app)));
        if let Some(every) = notify::watchdog() {
            task(beat(Arc::clone(&notify), every / 2));
        }
        Some(Self { notify, status })
    }

    /// Tells it that the driver ends. Nothing is told of the root any more.
    pub(super) fn stopping(&self) {
        self.status.abort();
        // Ignoring: it sees the process end in any case.
        let _untold = self.notify.tell("STOPPING=1\nSTATUS=answering what was asked");
    }
}

/// Tells that the reactor turns, for life: also a drain may get stuck.
async fn beat(notify: Arc<Notify>, every: Duration) {
    let mut beats = interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        // Ignoring: where it is not heard, the next one may be in time.
        let _unheard = notify.tell("WATCHDOG=1");
    }
}

/// Tells that the driver listens, and then whether the root is served, whenever
/// that changes. What could not be told is tried again.
async fn tell_status(notify: Arc<Notify>, app: Arc<App>) {
    let told = |state: &str| match notify.tell(state) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        // It is told once: whoever manages the service knows best where it is.
        Err(error) => {
            tracing::warn!("the service manager cannot be told: {error}");
            true
        }
    };
    while !told("READY=1") {
        sleep(LOOK).await;
    }
    let mut last = String::new();
    loop {
        // At first the root is being opened, which is nothing to tell.
        sleep(LOOK).await;
        let status = status(&app);
        if status != last && told(&format!("STATUS={status}")) {
            last = status;
        }
    }
}

/// Returns in one line how the driver is. It never waits.
fn status(app: &App) -> String {
    let status = match app.driver.unavailable() {
        None => format!("serving {}", app.driver.root_path().display()),
        Some((reason, _)) => format!("unavailable: {reason}"),
    };
    // A line ends an assignment, and a path may hold any byte.
    status.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(names: &[&str]) -> Result<Passed<usize>, String> {
        assign(names.iter().enumerate().map(|(at, &name)| (name.to_owned(), at)).collect())
    }

    #[test]
    fn a_socket_that_is_alone_is_the_engines_unless_it_is_for_metrics() {
        assert_eq!(assigned(&[]), Ok(Passed { plugin: None, metrics: None }));
        for name in ["plugin", "unknown", "dirvol.socket", ""] {
            assert_eq!(assigned(&[name]), Ok(Passed { plugin: Some(0), metrics: None }), "{name}");
        }
        assert_eq!(assigned(&["metrics"]), Ok(Passed { plugin: None, metrics: Some(0) }));
    }

    #[test]
    fn of_several_sockets_the_names_tell() {
        let both = |plugin, metrics| Ok(Passed { plugin: Some(plugin), metrics: Some(metrics) });
        assert_eq!(assigned(&["plugin", "metrics"]), both(0, 1));
        assert_eq!(assigned(&["metrics", "plugin"]), both(1, 0));
        let why = "is not a name of one of several: FileDescriptorName=plugin is the engines' \
                   socket, and FileDescriptorName=metrics is for /metrics";
        assert_eq!(assigned(&["plugin", "unknown"]), Err(format!("\"unknown\" {why}")));
        assert_eq!(
            assigned(&["dirvol.socket", "metrics"]),
            Err(format!("\"dirvol.socket\" {why}"))
        );
        let why = "two are called \"plugin\": pass one of each name".to_owned();
        assert_eq!(assigned(&["plugin", "plugin"]), Err(why));
    }
}
