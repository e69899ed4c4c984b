//! The plugin is disabled: when the engine refuses to, what it says then, and
//! what is left when it is enabled again.

use crate::plugged::{PLUGIN, Plugged};
use crate::writer::Writer;

const IN_USE: &str = "Error response from daemon: plugin dirvol:latest is in use\n";

/// The engine counts the volumes that it knows of the plugin, and no containers.
#[test]
fn the_engine_refuses_to_disable_a_plugin_that_it_knows_a_volume_of() {
    let plugged = Plugged::enabled();
    let daemon = &plugged.daemon;
    let disable = format!("plugin disable {PLUGIN}");
    // A volume that it has only seen in a list does not count.
    assert_eq!(plugged.call("Create", r#"{"Name":"seen"}"#).body, r#"{"Err":""}"#);
    assert_eq!(daemon.ok(&format!("volume ls -q -f driver={PLUGIN}")), "seen\n");
    daemon.ok(&disable);
    plugged.enable();

    plugged.fill("db");
    let before = plugged.everything();
    assert_eq!(daemon.fails(&disable), IN_USE);
    assert_eq!(daemon.fails(&format!("plugin rm {PLUGIN}")), IN_USE);
    assert_eq!(plugged.everything(), before);
    daemon.ok("volume rm db");
    daemon.ok("volume rm seen");
    daemon.ok(&disable);
}

#[test]
fn while_the_plugin_is_disabled_its_volumes_are_not_listed_and_nothing_is_lost() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.fill("web");
    let before = plugged.everything();
    let daemon = &plugged.daemon;
    let writer = Writer::start(&plugged, "db");
    plugged.disable();

    assert_eq!(daemon.ok("volume ls -q"), "");
    let disabled = "plugin dirvol:latest found but disabled";
    for line in ["volume inspect db", "volume rm web", "volume rm -f web"] {
        let error = daemon.fails(line);
        assert!(error.contains(disabled), "{line}: {error}");
    }
    for options in ["--rm -v db:/y", "--rm -v web:/y"] {
        let error = daemon.run_fails(options, "true");
        assert!(error.contains(disabled), "{options}: {error}");
    }
    let error = daemon.fails(&format!("volume create -d {PLUGIN} new"));
    assert!(error.contains(disabled), "{error}");
    // Who names no driver is given the engine's own volume for a name that the
    // engine does not know; these it knows.
    let error = daemon.fails("volume create db");
    assert!(error.contains(disabled), "{error}");
    // The container has its mount from before.
    writer.still_writes();

    plugged.enable();
    writer.still_writes();
    assert_eq!(daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
    let error = daemon.fails("volume rm db");
    assert!(error.contains("volume is in use"), "{error}");
    writer.end();
    assert_eq!(plugged.everything(), before);
    // The engine has not forgotten what it counts.
    assert_eq!(daemon.fails(&format!("plugin disable {PLUGIN}")), IN_USE);
    plugged.remove_volume("db");
    plugged.remove_volume("web");
    daemon.ok(&format!("plugin disable {PLUGIN}"));
}
