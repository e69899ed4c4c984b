//! dockerd starts while the driver has no root to serve, and loses nothing of
//! what it knows of the volumes.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::harness::{Setup, eventually};

/// So many volumes does dockerd ask for when it starts.
const VOLUMES: usize = 20;

/// What dockerd keeps of all volumes, in order.
fn kept(daemon: &Daemon) -> Vec<Value> {
    let names: Vec<String> = (0..VOLUMES).map(|number| format!("volume{number}")).collect();
    let mut shown = daemon.inspect(&names.join(" "));
    for volume in &mut shown {
        assert_eq!(volume["Status"]["health"], "ok", "{volume}");
        volume.as_object_mut().unwrap().remove("Status");
    }
    shown
}

/// Starts dockerd while the root is as `harm` leaves it and the driver says so
/// with `reason`; then has `heal` undo it, with what `harm` returned.
fn boots_without_its_root<T>(
    case: &str,
    reason: &str,
    harm: impl FnOnce(&Setup) -> T,
    heal: impl FnOnce(&Setup, T),
) {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut daemon = Daemon::start(setup.dir.path());
    for number in 0..VOLUMES {
        let given = format!("--label number={number} -o uid={number}");
        daemon.ok(&format!("volume create -d dirvol {given} volume{number}"));
    }
    daemon.shell("--name user -v volume7:/x", "echo more >> /x/file; cat /x/file");
    let before = kept(&daemon);
    assert_eq!(before[7]["Labels"]["number"], "7");
    assert_eq!(before[7]["Options"]["uid"], "7");
    let healthy = daemon.restart();

    daemon.stop();
    serve.stop();
    let harmed = harm(&setup);
    let serve = setup.start();
    serve.wait_unavailable();
    assert!(serve.log().contains(reason), "{}", serve.log());
    let unavailable = daemon.boot();
    // Past the test harness, which keeps what a test prints to itself.
    let line = format!(
        "dockerd with {VOLUMES} volumes was up after {:.1} s where {case}, and after {:.1} s \
         where nothing is wrong\n",
        unavailable.as_secs_f32(),
        healthy.as_secs_f32()
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();

    heal(&setup, harmed);
    serve.wait_available();
    assert_eq!(kept(&daemon), before);
    // A container that dockerd knew of, and one that is new.
    assert_eq!(daemon.ok("start --attach user"), "more\nmore\n");
    assert_eq!(daemon.run("--rm -v volume7:/x", "cat /x/file"), "more\nmore\n");
}

#[test]
fn dockerd_starts_while_the_root_is_missing() {
    boots_without_its_root(
        "the root is missing",
        "does not exist: mount its disk",
        |setup| fs::rename(setup.root(), setup.path("elsewhere")).unwrap(),
        |setup, ()| fs::rename(setup.path("elsewhere"), setup.root()).unwrap(),
    );
}

#[test]
fn dockerd_starts_while_another_root_is_in_its_place() {
    boots_without_its_root(
        "another root is in its place",
        "was served last: mount the disk of that one",
        |setup| {
            fs::rename(setup.root(), setup.path("elsewhere")).unwrap();
            let mut init = Command::new(env!("CARGO_BIN_EXE_dirvol"));
            assert!(init.arg("init").arg(setup.root()).output().unwrap().status.success());
        },
        |setup, ()| {
            fs::remove_dir_all(setup.root()).unwrap();
            fs::rename(setup.path("elsewhere"), setup.root()).unwrap();
        },
    );
}

#[test]
fn dockerd_starts_while_another_process_holds_the_lock() {
    boots_without_its_root(
        "another process holds the lock",
        "is served by another dirvol: stop that one",
        |setup| {
            let lock = File::open(setup.root().join("lock")).unwrap();
            lock.lock().unwrap();
            lock
        },
        |_, lock| drop(lock),
    );
}

#[test]
fn dockerd_starts_while_the_marker_cannot_be_read() {
    boots_without_its_root(
        "the marker cannot be read",
        "dirvol.json cannot be used",
        |setup| {
            let marker = setup.root().join("dirvol.json");
            let whole = fs::read(&marker).unwrap();
            fs::write(&marker, &whole[..10]).unwrap();
            whole
        },
        |setup, whole| fs::write(setup.root().join("dirvol.json"), whole).unwrap(),
    );
}

/// A disk that is mounted a moment after dockerd was started costs nothing: the
/// first Get waits for it, and the container that needs the volume comes up.
#[test]
fn a_root_that_is_back_while_dockerd_starts_is_in_time_for_its_containers() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut daemon = Daemon::start(setup.dir.path());
    daemon.ok("volume create -d dirvol --label a=b late");
    daemon.run("-d --restart always --name user -v late:/x", "top");
    daemon.stop();
    serve.stop();
    let (root, elsewhere) = (setup.root(), setup.path("elsewhere"));
    fs::rename(&root, &elsewhere).unwrap();
    let serve = setup.start();
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually("dockerd asks", || {
                let activated = serve.metric("dirvol_requests_total", "endpoint=\"activate\"");
                (activated > 0).then_some(())
            });
            fs::rename(&elsewhere, &root).unwrap();
        });
        daemon.boot();
    });
    eventually("the container runs again", || {
        let running = daemon.ok("inspect --format {{.State.Running}} user");
        (running == "true\n").then_some(())
    });
    assert_eq!(daemon.inspect("late")[0]["Labels"]["a"], "b");
}
