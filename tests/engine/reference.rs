//! The scenarios of Docker's own test of external volume drivers, each with the
//! name it has there. The calls are counted by the driver.
//!
//! Docker's test runs on the engine of its day. Where a newer one counts
//! otherwise, a test says so, and asserts what the newer one does.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Daemon, run};
use crate::harness::{Serve, Setup, eventually};

/// The name of the driver, after its socket.
const DRIVER: &str = "dirvol";

/// A container's volume that has a name.
const NAMED: &str = "-v external-volume-test:/tmp/external-volume-test --volume-driver dirvol";

/// What reads there where the fixture listens: it writes that into the volume.
const WRITTEN: &str = "cat /tmp/external-volume-test/test";

fn setup() -> Setup {
    Setup::new().arg("--test-fixture").arg("--scope").arg("global")
}

/// The driver as the fixture, and an engine that finds it.
fn start() -> (Setup, Serve, Daemon) {
    let setup = setup();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    (setup, serve, daemon)
}

fn url(setup: &Setup) -> String {
    format!("unix://{}", setup.socket().display())
}

fn volume(serve: &Serve, name: &str) -> PathBuf {
    serve.root.join("volumes").join(name)
}

fn calls(serve: &Serve, endpoint: &str) -> u64 {
    serve.metric("dirvol_requests_total", &format!("endpoint=\"{endpoint}\""))
}

/// The calls that change something, and the first.
#[derive(Debug, PartialEq, Eq)]
struct Calls {
    activations: u64,
    creations: u64,
    removals: u64,
    mounts: u64,
    unmounts: u64,
}

impl Calls {
    /// One of each.
    const ONCE: Self = Self { activations: 1, creations: 1, removals: 1, mounts: 1, unmounts: 1 };

    fn of(serve: &Serve) -> Self {
        Self {
            activations: calls(serve, "activate"),
            creations: calls(serve, "create"),
            removals: calls(serve, "remove"),
            mounts: calls(serve, "mount"),
            unmounts: calls(serve, "unmount"),
        }
    }
}

/// What `docker inspect` says of a container's mounts: names and drivers.
fn mounts(daemon: &Daemon, container: &str) -> Vec<(Value, Value)> {
    let shown: Value = serde_json::from_str(&daemon.ok(&format!("inspect {container}"))).unwrap();
    let mounts = shown[0]["Mounts"].as_array().unwrap();
    mounts.iter().map(|mount| (mount["Name"].clone(), mount["Driver"].clone())).collect()
}

/// A container with a named volume reads what the fixture wrote, and the volume
/// is removed: each call is made once.
fn use_a_named_volume(daemon: &Daemon, serve: &Serve, url: &str) {
    assert_eq!(daemon.run(&format!("--rm --name test-data {NAMED}"), WRITTEN), url);
    daemon.ok("volume rm external-volume-test");
    assert!(!volume(serve, "external-volume-test").exists());
    assert_eq!(Calls::of(serve), Calls::ONCE);
}

/// Named
#[test]
fn named() {
    let (setup, serve, daemon) = start();
    use_a_named_volume(&daemon, &serve, &url(&setup));
}

/// Named, over TCP: the engine finds the driver by the `.spec` file, as it did
/// in Docker's own test.
#[test]
fn named_over_tcp() {
    let setup = setup();
    // The engine does not look where the driver's socket is.
    let plugins = setup.path("plugins");
    fs::create_dir(&plugins).unwrap();
    let daemon = Daemon::start(&plugins);
    let specs = daemon.specs().display().to_string();
    let setup = setup.arg("--listen").arg("tcp://127.0.0.1:0").arg("--spec-dir").arg(specs);
    let serve = setup.serve();
    let spec = daemon.specs().join("dirvol.spec");
    let url = fs::read_to_string(&spec).unwrap().trim().to_owned();
    assert!(url.starts_with("tcp://127.0.0.1:"), "{url}");
    use_a_named_volume(&daemon, &serve, &url);
    serve.stop();
    assert!(!spec.exists());
}

/// Unnamed
#[test]
fn unnamed() {
    let (setup, serve, daemon) = start();
    let options = "--rm --name test-data -v /tmp/external-volume-test --volume-driver dirvol";
    assert_eq!(daemon.run(options, WRITTEN), url(&setup));
    assert_eq!(Calls::of(&serve), Calls::ONCE);
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// VolumesFrom
#[test]
fn volumes_from() {
    let (_setup, serve, daemon) = start();
    daemon.run("--name vol-test1 -v /foo --volume-driver dirvol", "");
    daemon.run("--rm --volumes-from vol-test1 --name vol-test2", "ls /tmp");
    daemon.ok("rm -fv vol-test1");
    assert_eq!(Calls::of(&serve), Calls { mounts: 2, unmounts: 2, ..Calls::ONCE });
}

/// DeleteContainer
#[test]
fn delete_container() {
    let (_setup, serve, daemon) = start();
    daemon.run("--name vol-test1 -v /foo --volume-driver dirvol", "");
    daemon.ok("rm -fv vol-test1");
    assert_eq!(Calls::of(&serve), Calls::ONCE);
}

/// LookupNotBlocked
#[test]
fn lookup_not_blocked() {
    let setup = setup();
    let daemon = Daemon::start(setup.dir.path());
    fs::write(daemon.specs().join("down-driver.spec"), "tcp://127.0.0.7:9999").unwrap();
    let mut down = daemon.spawn("volume create -d down-driver");
    eventually("the engine tries the driver that is down", || {
        daemon.log().contains("Unable to connect to plugin: 127.0.0.7:9999").then_some(())
    });
    daemon.ok("volume create");
    assert_eq!(down.ended(), None, "the engine gave up the driver that is down");
}

/// RetryNotImmediatelyExists
#[test]
fn retry_not_immediately_exists() {
    let setup = setup();
    let daemon = Daemon::start(setup.dir.path());
    let began = Instant::now();
    let mut run = daemon.spawn(&run(&format!("--rm --name test-data-retry {NAMED}"), ""));
    eventually("the engine misses the driver", || {
        daemon.log().contains("Unable to locate plugin: dirvol, retrying in ").then_some(())
    });
    thread::sleep(Duration::from_secs(2).saturating_sub(began.elapsed()));
    let serve = setup.serve();
    let status = eventually("the container has run", || run.ended());
    assert!(status.success(), "{status}");
    daemon.ok("volume rm external-volume-test");
    assert_eq!(Calls::of(&serve), Calls::ONCE);
}

/// BindExternalVolume
#[test]
fn bind_external_volume() {
    let (_setup, _serve, daemon) = start();
    daemon.ok("volume create -d dirvol foo");
    daemon.run("-d --name testing -v foo:/bar", "top");
    assert_eq!(mounts(&daemon, "testing"), [(json!("foo"), json!(DRIVER))]);
}

/// List
#[test]
fn list() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol abc3");
    let printed = daemon.ok("volume ls");
    let lines: Vec<Vec<&str>> =
        printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["DRIVER", "VOLUME", "NAME"], vec![DRIVER, "abc3"]]);
    assert_eq!(calls(&serve, "list"), 1);
}

/// Get
#[test]
fn get() {
    let (_setup, serve, daemon) = start();
    // Today's message begins with a small letter.
    let error = daemon.fails("volume inspect dummy").to_lowercase();
    assert!(error.contains("no such volume"), "{error}");
    assert_eq!(calls(&serve, "get"), 1);

    daemon.ok("volume create test -d dirvol");
    let volumes = daemon.inspect("test");
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0]["Status"], json!({"Hello": "world"}));
}

/// WithDaemonRestart
#[test]
fn with_daemon_restart() {
    let (_setup, _serve, mut daemon) = start();
    daemon.ok("volume create -d dirvol abc1");
    daemon.restart();
    daemon.run("--name=test -v abc1:/foo", "true");
    assert_eq!(mounts(&daemon, "test"), [(json!("abc1"), json!(DRIVER))]);
}

/// GetEmptyResponse
#[test]
fn get_empty_response() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol abc2 --opt ninja=1");
    let asked = calls(&serve, "get");
    let error = daemon.fails("volume inspect abc2").to_lowercase();
    assert!(error.contains("no such volume"), "{error}");
    // The engine was answered, and has survived it.
    assert_eq!(calls(&serve, "get"), asked + 1);
    daemon.ok("version");
}

/// PathCalls. Docker 1.13 asks once for the path of a volume that it creates; this
/// engine asks for it in none of these steps.
#[test]
fn path_calls() {
    let (_setup, serve, daemon) = start();
    assert_eq!(calls(&serve, "path"), 0);
    daemon.ok("volume create test --driver=dirvol");
    assert_eq!(calls(&serve, "path"), 0);
    daemon.ok("volume ls");
    assert_eq!(calls(&serve, "path"), 0);
    let path = daemon.ok("volume inspect --format={{.Mountpoint}} test");
    assert_eq!(path.trim(), volume(&serve, "test").join("data").to_str().unwrap());
    assert_eq!(calls(&serve, "path"), 0);
}

/// MountID
#[test]
fn mount_id() {
    let (setup, _serve, daemon) = start();
    let options = format!("--rm {NAMED}");
    assert_eq!(daemon.run(&options, WRITTEN), url(&setup));
    let mount_id = || daemon.run(&options, "cat /tmp/external-volume-test/mountID");
    let id = mount_id();
    assert!(id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id:?}");
    assert_ne!(mount_id(), id);
}

/// Capabilities
#[test]
fn capabilities() {
    let (_setup, serve, daemon) = start();
    assert_eq!(calls(&serve, "capabilities"), 0);
    for name in ["test0", "test1", "test2"] {
        daemon.ok(&format!("volume create -d dirvol {name}"));
        assert_eq!(calls(&serve, "capabilities"), 1);
        let scope = daemon.ok(&format!("volume inspect --format={{{{.Scope}}}} {name}"));
        assert_eq!(scope, "global\n");
    }
}

/// OutOfBandDelete. Docker 1.13 complains that the volume `already exists`, this
/// engine that its name `must be unique`.
#[test]
fn out_of_band_delete() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol test");
    let error = daemon.fails("volume create -d local test");
    assert!(error.contains("must be unique"), "{error}");

    fs::remove_dir_all(volume(&serve, "test")).unwrap();

    // The driver may answer for a second from what it has read.
    eventually("the name is free", || {
        daemon.docker("volume create -d local test").status.success().then_some(())
    });
    assert_eq!(daemon.ok("volume inspect --format={{.Driver}} test"), "local\n");
}

/// UnmountOnMountFail
#[test]
fn unmount_on_mount_fail() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol --opt=invalidOption=1 testumount");
    for options in ["-v testumount:/foo", "-w /foo -v testumount:/foo"] {
        let error = daemon.run_fails(options, "true");
        assert!(error.contains("invalid argument"), "{error}");
        assert_eq!(calls(&serve, "unmount"), 0);
    }
    assert!(calls(&serve, "mount") >= 2);
}

/// UnmountOnCp: `docker cp` mounts and unmounts with the ID of the container
/// that runs.
#[test]
fn unmount_on_cp() {
    let (setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol test");
    daemon.shell("-d --name test -v test:/foo", "touch /test && top");
    assert_eq!(calls(&serve, "mount"), 1);
    eventually("the file is there", || {
        daemon.docker("exec test cat /test").status.success().then_some(())
    });
    let copied = setup.path("copied");
    daemon.ok(&format!("cp test:/test {}", copied.display()));
    assert!(copied.exists());
    assert_eq!((calls(&serve, "mount"), calls(&serve, "unmount")), (2, 1));
    daemon.ok("kill test");
    eventually("the container has gone", || (calls(&serve, "unmount") == 2).then_some(()));
    assert_eq!(calls(&serve, "mount"), 2);
}
