//! The steps of a plugin's life, with volumes that must outlast them.

use std::fs;

use crate::plugged::{PLUGIN, Plugged};

#[test]
fn a_volume_of_the_plugin_is_a_directory_of_the_host() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let file = plugged.root().join("volumes/db/data/file");
    assert_eq!(fs::read_to_string(file).unwrap(), "bytes of db\n");
    let shown = plugged.daemon.inspect("db");
    assert_eq!(shown[0]["Mountpoint"], "/mnt/volumes/root/volumes/db/data");
    assert_eq!(shown[0]["Driver"], PLUGIN);
    assert_eq!(plugged.daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
}

#[test]
fn a_plugin_that_is_disabled_and_enabled_again_has_everything() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    plugged.disable();
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}
