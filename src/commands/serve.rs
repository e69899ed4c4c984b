//! `dirvol serve`

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::systemd::{self, Passed, Told};
use crate::cli::{self, Cli, Command};
use crate::config::Config;
use crate::metrics::Purge;
use crate::server::app::{ARCHIVES, SLOTS};
use crate::server::{self, App, Listeners};
use crate::volume::availability::Change;
use crate::volume::collect::Reason;
use crate::volume::options::Fixture;
use crate::volume::{Driver, Settings};
use crate::{log, store};

/// How often the root is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Threads beyond those for operations: for the counts of a scrape, and for
/// questions to the state directory.
const SPARE_THREADS: usize = 8;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The flags make no sense, or nothing can be listened on. A root that cannot be
/// served is no error: the driver says so to whoever asks, until it can be.
pub fn serve(args: cli::Serve) -> Result<(), Failure> {
    let config = match Config::new(args) {
        Ok(config) => config,
        Err(why) => match Cli::without_settings(&why).map(|cli| cli.command) {
            Some(Command::Serve(args)) => Config::new(*args).map_err(Failure::Usage)?,
            _ => return Err(Failure::Usage(why)),
        },
    };
    // First of all: nothing else may have taken the descriptor.
    let passed = systemd::sockets()?;
    if let Some(limit) = config.idle_exit
        && passed.plugin.is_none()
    {
        return Err(Failure::Usage(format!(
            "--idle-exit {}: afterwards nobody would listen; have systemd pass the socket (a \
             .socket unit), or leave this out",
            humantime::format_duration(limit)
        )));
    }
    log::start(config.log_level, config.log_format)
        .map_err(|error| Failure::Failed(format!("the log: {error}")))?;
    // Whatever a mode is not stated for is private.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    raise_descriptor_limit();
    let runtime = runtime().map_err(|error| Failure::Failed(format!("the reactor: {error}")))?;
    let served = runtime.block_on(run(config, passed));
    // Threads that still wait for a disk do not hold up the exit.
    runtime.shutdown_background();
    log::flush();
    served
}

/// dockerd opens a connection for each volume it knows when it starts. With the
/// usual limit the rest of them would wait for the first to be closed.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Ignoring: without it they wait, and are served.
        let _as_before = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Makes a reactor of one thread: the work is in the kernel, and a second thread
/// would cost memory and a wake-up for each request.
fn runtime() -> io::Result<Runtime> {
    let threads = SLOTS + ARCHIVES + SPARE_THREADS;
    Builder::new_current_thread().enable_all().max_blocking_threads(threads).build()
}

async fn run(config: Config, passed: Passed) -> Result<(), Failure> {
    // Before anything else: as PID 1 of a plugin, a signal without a handler is
    // lost.
    let stop = stopped().map_err(|error| Failure::Failed(format!("signals: {error}")))?;
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Failure::Failed(format!("{path}: {error}"))
    };
    let of_another_kind = |kind: &'static str| {
        move |error| Failure::Failed(format!("the inherited socket: it must be {kind}: {error}"))
    };
    let mut listeners = match passed.plugin {
        Some(socket) => Listeners::inherited(socket).map_err(of_another_kind("a Unix socket"))?,
        None => Listeners::bind(&config.socket).map_err(at(&config.socket))?,
    };
    let path = listeners.path().unwrap_or_else(|| config.socket.clone());
    let mut url = format!("unix://{}", path.display());
    if let Some(address) = config.listen {
        let listening = listeners.add_tcp(address).await;
        let address =
            listening.map_err(|error| Failure::Failed(format!("tcp://{address}: {error}")))?;
        url = format!("tcp://{address}");
        if let Some(dir) = &config.spec_dir {
            let name = config.socket.file_stem().unwrap_or_default().to_string_lossy();
            listeners.announce(dir, &name, address).map_err(at(dir))?;
        }
    }
    if let Some(socket) = passed.metrics {
        let address = listeners.add_inherited_metrics(socket);
        let address = address.map_err(of_another_kind("a TCP socket, to serve metrics on"))?;
        tracing::info!(listen = format!("http://{address}/metrics"), "serving metrics");
    }
    if let Some(address) = config.metrics_listen {
        listen_for_metrics(&mut listeners, address).await;
    }
    let fixture = config.fixture == Fixture::On;
    let driver = Arc::new(Driver::new(Settings {
        root: store::Settings {
            path: config.root.clone(),
            state_dir: config.state_dir,
            init: config.init,
            scope: config.scope,
            node: config.node,
            accept: config.accept_root,
            plugin: config.plugin,
            unusable: config.unusable,
            probe: None,
        },
        retention: config.retention,
        defaults: config.defaults,
        bind_roots: config.bind_roots,
        fixture: fixture.then_some(url.clone()),
    }));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        root = %config.root.display(),
        listen = url,
        "serving"
    );
    if fixture {
        tracing::warn!("this is the test fixture: volumes may misbehave; never for real data");
    }
    let app = Arc::new(App::new(driver, config.scope, config.metrics_volumes));
    spawn("check", Arc::clone(&app), watch_root).map_err(at(&config.root))?;
    spawn("collect", Arc::clone(&app), collect_garbage).map_err(at(&config.root))?;
    let told = Told::ready(&app);
    let shutdown = async {
        tokio::select! {
            () = stop => {}
            () = idle(&app, config.idle_exit) => {
                tracing::info!("nothing was asked for long: the next request starts it again");
            }
        }
        if let Some(told) = told {
            told.stopping();
        }
    };
    server::serve(listeners, Arc::clone(&app), shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until nothing has been going on for `limit`; without one, for ever.
async fn idle(app: &App, limit: Option<Duration>) {
    match limit {
        Some(limit) => app.idle(limit).await,
        None => std::future::pending().await,
    }
}

/// Listens for those who want metrics. Engines must not suffer where that is not
/// to be had.
async fn listen_for_metrics(listeners: &mut Listeners, address: SocketAddr) {
    match listeners.add_metrics(address).await {
        Ok(address) => {
            let url = format!("http://{address}/metrics");
            tracing::info!(listen = url, "serving metrics");
        }
        Err(error) => tracing::error!(
            "metrics are served on the driver's socket alone, and not on {address}: {error}; free \
             that address or give another --metrics-listen, and start the driver again"
        ),
    }
}

/// Returns a future that completes at SIGTERM or SIGINT, from now on.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Starts a thread that takes `turn` after turn. One that panics is a defect,
/// and the next turn is taken all the same.
fn spawn(name: &'static str, app: Arc<App>, turn: fn(&App)) -> io::Result<()> {
    let turns: Box<dyn FnOnce() + Send> = Box::new(move || {
        loop {
            if catch_unwind(AssertUnwindSafe(|| turn(&app))).is_err() {
                tracing::error!("dirvol has a defect, please report it: thread {name} panicked");
                thread::sleep(CHECK_EVERY);
            }
        }
    });
    thread::Builder::new().name(name.into()).spawn(turns).map(drop)
}

/// Opens the root, and opens it again whenever it comes back.
fn watch_root(app: &App) {
    match app.driver.check() {
        Some(Change::Opened { id }) => tracing::info!(root_id = id, "the root is served"),
        Some(Change::Lost { reason }) => tracing::error!("unavailable: {reason}"),
        None => {}
    }
    thread::sleep(CHECK_EVERY);
}

fn collect_garbage(app: &App) {
    let report = app.driver.collect();
    for (entry, reason) in report.purged {
        let (volume, entry) = (entry.volume().to_string(), entry.file().to_string());
        match reason {
            Reason::Expired => {
                app.metrics.count_purge(Purge::Expired);
                tracing::info!(volume, entry, "purged: its time was up");
            }
            Reason::LowSpace => {
                app.metrics.count_purge(Purge::LowSpace);
                tracing::warn!(volume, entry, "purged: space is low");
            }
        }
    }
    for volume in report.adopted {
        tracing::info!(volume = volume.as_str(), "made of the directory that was moved in");
    }
    for stuck in report.stuck {
        tracing::warn!("{stuck}");
    }
    for failed in report.failed {
        tracing::warn!("cannot delete from the trash: {failed}");
    }
    app.driver.wait_for_garbage();
}
