//! The plugin is a driver like any other: scenarios of Docker's own test of
//! external volume drivers, with the names that they have there. An engine sends
//! no Activate to a plugin; else it calls as it calls any driver.

use serde_json::json;

use crate::harness::metric;
use crate::plugged::Plugged;

/// What the fixture writes where it listens.
const URL: &str = "unix:///run/docker/plugins/dirvol.sock";

/// A plugin that behaves as the fixture.
fn start() -> Plugged {
    let plugged = Plugged::made();
    plugged.set("DIRVOL_TEST_FIXTURE=true");
    plugged.enable();
    plugged
}

/// How often the driver was asked to activate, create, remove, mount and unmount.
fn calls(plugged: &Plugged) -> [u64; 5] {
    let socket = plugged.socket();
    ["activate", "create", "remove", "mount", "unmount"].map(|endpoint| {
        metric(&socket, "dirvol_requests_total", &format!("endpoint=\"{endpoint}\""))
    })
}

/// Named
#[test]
fn named() {
    let plugged = start();
    let options = "--rm -v external-volume-test:/x --volume-driver dirvol";
    assert_eq!(plugged.daemon.run(options, "cat /x/test"), URL);
    plugged.daemon.ok("volume rm external-volume-test");
    assert!(!plugged.root().join("volumes/external-volume-test").exists());
    assert_eq!(calls(&plugged), [0, 1, 1, 1, 1]);
}

/// Unnamed
#[test]
fn unnamed() {
    let plugged = start();
    assert_eq!(plugged.daemon.run("--rm -v /x --volume-driver dirvol", "cat /x/test"), URL);
    assert_eq!(calls(&plugged), [0, 1, 1, 1, 1]);
    assert_eq!(plugged.daemon.ok("volume ls -q"), "");
}

/// VolumesFrom
#[test]
fn volumes_from() {
    let plugged = start();
    plugged.daemon.run("--name vol-test1 -v /foo --volume-driver dirvol", "");
    plugged.daemon.run("--rm --volumes-from vol-test1 --name vol-test2", "ls /tmp");
    plugged.daemon.ok("rm -fv vol-test1");
    assert_eq!(calls(&plugged), [0, 1, 1, 2, 2]);
}

/// Get
#[test]
fn get() {
    let plugged = start();
    let error = plugged.daemon.fails("volume inspect dummy").to_lowercase();
    assert!(error.contains("no such volume"), "{error}");
    plugged.daemon.ok("volume create test -d dirvol");
    let volumes = plugged.daemon.inspect("test");
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0]["Status"], json!({"Hello": "world"}));
}
