//! The engine is restarted, or killed, with the plugin in it.

use crate::harness::eventually;
use crate::plugged::Plugged;
use crate::writer::Writer;

/// An engine with a container that the engine starts again, and its volume.
fn with_a_container() -> Plugged {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.daemon.run("-d --name user --stop-signal KILL --restart always -v db:/x", "top");
    plugged
}

/// Waits until the container has the bytes, and removes it.
fn has_the_bytes(plugged: &Plugged) {
    eventually("the container runs with its volume", || {
        let read = plugged.daemon.docker("exec user cat /x/file");
        (read.status.success() && read.stdout == b"bytes of db\n").then_some(())
    });
    let error = plugged.daemon.fails("volume rm db");
    assert!(error.contains("volume is in use"), "{error}");
    plugged.daemon.ok("rm -f user");
}

#[test]
fn an_engine_that_is_restarted_has_everything_and_starts_containers_again() {
    let mut plugged = with_a_container();
    let before = plugged.everything();
    plugged.daemon.restart();
    has_the_bytes(&plugged);
    assert_eq!(plugged.everything(), before);
    // Nor is anything mounted twice.
    let mounts = plugged.mounts();
    plugged.daemon.restart();
    assert_eq!((plugged.everything(), plugged.mounts()), (before, mounts));
    plugged.remove_volume("db");
}

/// It asks for every volume as it starts, and nobody answers.
#[test]
fn an_engine_that_is_restarted_while_the_plugin_is_disabled_has_everything_after() {
    let mut plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    plugged.disable();
    plugged.daemon.restart();
    assert_eq!(plugged.daemon.ok("volume ls -q"), "");
    plugged.enable();
    assert_eq!(plugged.everything(), before);
    assert_eq!(plugged.daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
    plugged.remove_volume("db");
}

#[test]
fn with_live_restore_a_container_writes_on_while_the_engine_restarts() {
    let mut plugged = Plugged::made_with(r#"{"live-restore": true}"#);
    plugged.enable();
    plugged.fill("db");
    let before = plugged.everything();
    let process = plugged.processes();
    Writer::start(&plugged, "db");
    plugged.daemon.stop();
    Writer::found(&plugged, "db").still_writes();
    plugged.daemon.boot();
    let writer = Writer::found(&plugged, "db");
    writer.still_writes();
    // The plugin has gone on too, and is served from where it was.
    assert_eq!(plugged.processes(), process);
    assert_eq!(plugged.daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
    let error = plugged.daemon.fails("volume rm db");
    assert!(error.contains("volume is in use"), "{error}");
    plugged.disable();
    plugged.enable();
    writer.end();
    assert_eq!(plugged.everything(), before);
}

#[test]
fn an_engine_that_is_killed_has_everything_once_the_plugin_is_disabled_and_enabled() {
    let mut plugged = with_a_container();
    let before = plugged.everything();
    plugged.daemon.kill();
    plugged.daemon.boot();
    plugged.disable();
    plugged.enable();
    plugged.daemon.docker("start user");
    has_the_bytes(&plugged);
    assert_eq!(plugged.everything(), before);
}
