//! The plugin is removed and installed again: volumes are directories of the host,
//! and the plugin only serves them.

use crate::plugged::{PLUGIN, Plugged};
use crate::writer::Writer;

/// The engine keeps what it knows of a volume, its labels too, under the name of
/// the driver, and has it again when a plugin of that name answers for the volume.
#[test]
fn a_plugin_that_is_removed_and_installed_again_has_everything() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.fill("web");
    let before = plugged.everything();
    let old = plugged.id();
    plugged.remove();
    let daemon = &plugged.daemon;
    assert_eq!(plugged.inside("ls /run/engine/data/plugins"), "storage\ntmp\n");
    assert_eq!(daemon.ok("volume ls -q"), "");
    // It waits 15 s for the plugin before it says so.
    let error = daemon.fails("volume inspect db");
    assert!(error.contains(r#"plugin "dirvol:latest" not found"#), "{error}");

    plugged.install();
    plugged.enable();
    assert_ne!(plugged.id(), old);
    assert_eq!(plugged.everything(), before);
    assert_eq!(daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
    plugged.remove_volume("db");
    plugged.remove_volume("web");
}

/// The same with an engine that was restarted in between, which asks for every
/// volume as it starts: what it knows is on its disk.
#[test]
fn labels_outlast_a_restart_of_the_engine_while_the_plugin_is_removed() {
    let mut plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    plugged.remove();
    plugged.daemon.restart();
    plugged.install();
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}

#[test]
fn a_container_goes_on_while_the_plugin_is_removed_under_it() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let writer = Writer::start(&plugged, "db");
    // Also where nobody disables it first.
    plugged.daemon.ok(&format!("plugin rm --force {PLUGIN}"));
    assert_eq!(plugged.processes(), Vec::<String>::new());
    writer.still_writes();
    plugged.install();
    plugged.enable();
    writer.still_writes();
    assert_eq!(plugged.daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
    plugged.reinstall();
    writer.end();
    assert_eq!(plugged.everything(), before);
    plugged.remove_volume("db");
}
