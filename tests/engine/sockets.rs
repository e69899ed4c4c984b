//! The driver is down, and has left its socket's file behind or taken it along.
//! dockerd tries again for 15 s whenever it needs the driver, forgets nothing, and
//! finds the driver as soon as it is back on that path.

use std::fs;
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, eventually};

/// How a driver ends, and what dockerd says of it.
struct Gone {
    end: fn(Serve),
    /// Whether the socket's file is there then.
    file: bool,
    /// What becomes of a connection that dockerd tries.
    connect: &'static str,
    /// What it logs as it starts.
    boot: &'static str,
}

/// Killed, it leaves a file on which nobody listens.
const STALE: Gone = Gone {
    end: Serve::kill,
    file: true,
    connect: "connect: connection refused",
    boot: "Unable to connect to plugin: /run/docker/plugins/dirvol.sock/Plugin.Activate",
};

/// Stopped, it leaves nothing.
const MISSING: Gone = Gone {
    end: Serve::stop,
    file: false,
    connect: "connect: no such file or directory",
    boot: "Unable to locate plugin: dirvol, retrying in ",
};

impl Gone {
    fn end(&self, setup: &Setup, serve: Serve) {
        (self.end)(serve);
        assert_eq!(setup.socket().exists(), self.file);
        assert!(UnixStream::connect(setup.socket()).is_err());
    }
}

/// The driver, and an engine that knows a volume with something in it.
fn start() -> (Setup, Serve, Daemon, Value) {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    daemon.ok("volume create -d dirvol --label a=b -o uid=5 known");
    fs::write(serve.root.join("volumes/known/data/file"), "bytes").unwrap();
    let shown = daemon.inspect("known").remove(0);
    assert_eq!(shown["Labels"]["a"], "b");
    (setup, serve, daemon, shown)
}

/// What must be, once the driver is back: nothing is missing, and all works.
fn all_is_well(daemon: &Daemon, serve: &Serve, shown: &Value) {
    assert_eq!(&daemon.inspect("known")[0], shown);
    assert_eq!(daemon.ok("volume ls --quiet"), "known\n");
    assert_eq!(daemon.run("--rm -v known:/x", "cat /x/file"), "bytes");
    assert_eq!(serve.names(), ["known"]);
}

fn loses_the_driver(gone: &Gone) {
    let (setup, serve, mut daemon, shown) = start();
    gone.end(&setup, serve);
    let error = daemon.fails("volume rm --force known");
    assert!(error.contains("error while checking if volume"), "{error}");
    assert!(error.contains(gone.connect), "{error}");
    let serve = setup.serve();
    all_is_well(&daemon, &serve, &shown);

    daemon.stop();
    gone.end(&setup, serve);
    daemon.boot();
    let log = daemon.log();
    assert!(log.contains(gone.boot), "dockerd does not say: {}", gone.boot);
    let serve = setup.serve();
    all_is_well(&daemon, &serve, &shown);
    daemon.ok("volume rm known");
    assert_eq!(serve.names(), Vec::<String>::new());
}

#[test]
fn a_driver_that_was_killed_costs_time_but_no_labels() {
    loses_the_driver(&STALE);
}

#[test]
fn a_driver_that_was_stopped_costs_time_but_no_labels() {
    loses_the_driver(&MISSING);
}

/// The driver comes while dockerd tries again, and in time for the container.
fn comes_while_dockerd_starts(gone: &Gone) {
    let (setup, serve, mut daemon, shown) = start();
    daemon.run("-d --name user --restart always -v known:/x", "top");
    daemon.stop();
    gone.end(&setup, serve);
    let log = daemon.dir().join("dockerd.log");
    let serve = thread::scope(|scope| {
        let late = scope.spawn(|| {
            eventually("dockerd misses the driver", || {
                fs::read_to_string(&log).unwrap().contains(gone.boot).then_some(())
            });
            setup.serve()
        });
        daemon.boot();
        late.join().unwrap()
    });
    eventually("the container runs again", || {
        let running = daemon.ok("inspect --format {{.State.Running}} user");
        (running == "true\n").then_some(())
    });
    assert_eq!(daemon.ok("exec user cat /x/file"), "bytes");
    daemon.ok("rm -f user");
    all_is_well(&daemon, &serve, &shown);
}

#[test]
fn a_driver_that_comes_to_its_stale_socket_while_dockerd_starts_is_in_time() {
    comes_while_dockerd_starts(&STALE);
}

#[test]
fn a_driver_that_comes_to_no_socket_while_dockerd_starts_is_in_time() {
    comes_while_dockerd_starts(&MISSING);
}
