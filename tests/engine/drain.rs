//! The driver restarts on a socket that a service manager holds, while dockerd
//! is at work: no call is lost.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::handover::with_socket;
use crate::harness::{Serve, Setup, eventually};

/// How often the driver restarts.
const RESTARTS: usize = 25;

/// How many commands end between two restarts, at least.
const COMMANDS: usize = 4;

#[test]
fn a_driver_that_restarts_under_load_fails_no_docker_command() {
    let setup = Setup::new();
    let listener = UnixListener::bind(setup.socket()).unwrap();
    let serve = || -> Serve {
        std::fs::create_dir_all(setup.root()).unwrap();
        let serve = setup.start_with(with_socket(&setup.command(), &listener));
        serve.wait_available();
        serve
    };
    let first = serve();
    let daemon = Daemon::start(setup.dir.path());
    daemon.ok("volume create -d dirvol --label a=b shared");

    let load = Load::default();
    let last = thread::scope(|scope| {
        // The load ends with this guard, also when a restart fails.
        let _end = load.until_dropped();
        for worker in 0..3 {
            let (daemon, load) = (&daemon, &load);
            scope.spawn(move || load.repeat(|| create_inspect_remove(daemon, worker)));
        }
        scope.spawn(|| {
            load.repeat(|| {
                daemon.shell("--rm -v shared:/x", "echo x >> /x/runs");
                1
            });
        });
        let mut driver = first;
        for _ in 0..RESTARTS {
            let before = load.commands();
            eventually("docker commands end", || {
                (load.commands() >= before + COMMANDS).then_some(())
            });
            // Not always at the same moment of a command.
            thread::sleep(Duration::from_millis(before as u64 % 17));
            driver.stop();
            driver = serve();
        }
        driver
    });

    let log = daemon.log();
    let retries: Vec<&str> = log.lines().filter(|line| line.contains("retrying in")).collect();
    assert_eq!(retries, Vec::<&str>::new());
    assert_eq!(last.names(), ["shared"]);
    assert_eq!(daemon.inspect("shared")[0]["Labels"]["a"], "b");
    assert_eq!(last.log().matches("serving version=").count(), RESTARTS + 1);
}

/// One volume's life. Returns the number of commands that it took.
fn create_inspect_remove(daemon: &Daemon, worker: usize) -> usize {
    let name = format!("volume{worker}");
    daemon.ok(&format!("volume create -d dirvol --label of=load {name}"));
    assert_eq!(daemon.inspect(&name)[0]["Labels"]["of"], "load");
    daemon.ok(&format!("volume rm {name}"));
    3
}

/// What several threads do again and again.
#[derive(Default)]
struct Load {
    ended: AtomicBool,
    commands: AtomicUsize,
}

impl Load {
    /// Repeats `act`, which says how many commands it has run, to the end.
    fn repeat(&self, act: impl Fn() -> usize) {
        while !self.ended.load(Ordering::Relaxed) {
            self.commands.fetch_add(act(), Ordering::Relaxed);
        }
    }

    fn commands(&self) -> usize {
        self.commands.load(Ordering::Relaxed)
    }

    fn until_dropped(&self) -> impl Drop {
        struct End<'a>(&'a Load);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.ended.store(true, Ordering::Relaxed);
            }
        }
        End(self)
    }
}
