//! A disk that does not answer. Whoever needs it is told so, and nobody else is
//! held up: neither dockerd, nor the containers that run, nor other drivers.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, eventually, get};
use crate::mounts::{HangingDisk, in_own_mounts, unmount_lazily};

/// What is said of a disk that hangs.
const HANGS: &str = "the disk of its root does not answer: see the kernel's log";

/// What a container does that writes into `/x`.
const WRITE: &str = "while :; do echo x >> /x/lines; sleep 0.05; done";

/// Makes the volumes `idle`, and `known` with something in it, and returns what is
/// shown of that.
fn create(daemon: &Daemon) -> Value {
    daemon.ok("volume create -d dirvol idle");
    daemon.ok("volume create -d dirvol --label a=b -o uid=5 known");
    daemon.shell("--rm -v known:/x", "echo bytes > /x/file");
    let shown = daemon.inspect("known").remove(0);
    assert_eq!((&shown["Labels"], &shown["Status"]["health"]), (&json!({"a": "b"}), &json!("ok")));
    shown
}

/// Asserts that the volume is shown with its labels, and why no more is known.
fn is_kept(daemon: &Daemon, before: &Value) {
    let shown = daemon.inspect("known").remove(0);
    assert_eq!((&shown["Labels"], &shown["Options"]), (&before["Labels"], &before["Options"]));
    let health = shown["Status"]["health"].as_str().unwrap();
    assert!(health.starts_with("unknown: "), "{health}");
}

/// Waits until the driver knows, and says, that its disk hangs.
fn wait_until_known(serve: &Serve) {
    let health = json!({"reason": HANGS, "status": "unavailable"}).to_string();
    eventually("it is known", || {
        let answer = get(&serve.socket, "/healthz");
        (answer.status == 503 && answer.body == health).then_some(())
    });
    assert_eq!(get(&serve.socket, "/metrics").status, 200);
    assert_eq!(serve.metric("dirvol_available", ""), 0);
}

/// A volume's whole life with a driver whose disk does answer.
fn works(daemon: &Daemon, driver: &str) {
    daemon.ok(&format!("volume create -d {driver} --label c=d other"));
    assert_eq!(daemon.inspect("other")[0]["Driver"], driver);
    daemon.shell("--rm -v other:/x", "echo here > /x/file");
    assert_eq!(daemon.run("--rm -v other:/x", "cat /x/file"), "here\n");
    assert_eq!(daemon.ok("volume ls --quiet"), "idle\nknown\nother\n");
    daemon.ok("volume rm other");
    assert_eq!(daemon.ok("volume ls --quiet"), "idle\nknown\n");
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_but_those_who_need_it() {
    let (setup, second) = (Setup::new(), Setup::new());
    in_own_mounts(|| {
        // It keeps the disk as it was: what is mounted later is not seen there.
        let daemon = Daemon::start(setup.dir.path());
        let spec = format!("unix://{}", second.socket().display());
        fs::write(daemon.specs().join("second.spec"), spec).unwrap();
        let other = second.serve();
        let mut serve = setup.serve();
        let before = create(&daemon);
        daemon.shell("-d --name user -v known:/x", WRITE);
        let held = daemon.inspect("known").remove(0);
        let still_writes = || {
            let count = || daemon.ok("exec user cat /x/lines").len();
            let lines = count();
            eventually("the container writes", || (count() > lines).then_some(()));
        };

        let disk = HangingDisk::mount(&setup.root());
        // From the first moment on, when it is not known yet.
        works(&daemon, "second");
        wait_until_known(&serve);
        let log = serve.log();
        let gave_up = |line: &&str| line.contains("has not answered for");
        assert_eq!(log.lines().filter(gave_up).collect::<Vec<_>>(), Vec::<&str>::new());
        works(&daemon, "local");
        works(&daemon, "second");
        assert_eq!(other.names(), Vec::<String>::new());
        still_writes();
        is_kept(&daemon, &before);
        for line in ["volume rm idle", "volume create -d dirvol new"] {
            let error = daemon.fails(line);
            assert!(error.contains(HANGS), "{line}: {error}");
        }
        let error = daemon.run_fails("--rm -v known:/x", "true");
        assert!(error.contains(HANGS), "{error}");

        unmount_lazily(&setup.root());
        drop(disk);
        serve.wait_available();
        assert_eq!(daemon.inspect("known"), [held]);
        assert_eq!(daemon.run("--rm -v known:/x", "cat /x/file"), "bytes\n");

        // The next time, it is stopped while somebody waits.
        let disk = HangingDisk::mount(&setup.root());
        let mut create = daemon.spawn("volume create -d dirvol new");
        wait_until_known(&serve);
        assert_eq!(create.ended(), None);
        serve.signal(Signal::SIGTERM);
        let status = serve.wait();
        assert!(status.success(), "{status}");
        let log = serve.log();
        assert!(log.contains("exiting with requests that the disk did not answer"), "{log}");
        assert!(!setup.socket().exists());
        still_writes();
        unmount_lazily(&setup.root());
        drop(disk);
        let serve = setup.serve();
        still_writes();
        daemon.ok("rm -f user");
        assert_eq!(daemon.inspect("known"), [before]);
        assert_eq!(daemon.run("--rm -v known:/x", "cat /x/file"), "bytes\n");
        daemon.ok("volume rm idle known");
        assert_eq!(serve.names(), Vec::<String>::new());
    });
}

#[test]
fn dockerd_starts_while_a_disk_hangs_and_keeps_what_it_knows() {
    let setup = Setup::new();
    in_own_mounts(|| {
        let mut daemon = Daemon::start(setup.dir.path());
        let serve = setup.serve();
        let before = create(&daemon);
        daemon.stop();
        serve.stop();
        let disk = HangingDisk::mount(&setup.root());
        let serve = setup.start();
        daemon.boot();
        is_kept(&daemon, &before);
        // While no List is answered, dockerd lists what it was asked for itself.
        assert_eq!(daemon.ok("volume ls --quiet"), "known\n");
        daemon.inspect("idle");
        works(&daemon, "local");
        wait_until_known(&serve);
        unmount_lazily(&setup.root());
        drop(disk);
        serve.wait_available();
        assert_eq!(daemon.inspect("known"), [before]);
        assert_eq!(daemon.run("--rm -v known:/x", "cat /x/file"), "bytes\n");
        assert_eq!(daemon.ok("volume ls --quiet"), "idle\nknown\n");
    });
}
