//! Settings that are wrong: what a person is told who has Docker alone, and that it
//! can be mended with Docker alone.

use std::fs;

use crate::harness::tree;
use crate::plugged::{PLUGIN, Plugged};

/// What Docker says of a create that is refused.
fn refused(plugged: &Plugged) -> String {
    plugged.daemon.fails(&format!("volume create -d {PLUGIN} new"))
}

/// How such a message begins, and the commands that it names, with what to set.
fn told(why: &str, set: &str, rest: &str) -> String {
    format!(
        "Error response from daemon: create new: VolumeDriver.Create: dirvol is unavailable: \
         {why}: 'docker plugin disable -f PLUGIN', 'docker plugin set PLUGIN {set}'{rest}\n"
    )
}

/// A plugin that ended at its start could not be enabled again.
#[test]
fn a_setting_that_cannot_be_used_is_told_of_and_can_be_set_right() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let cases = [
        (
            "DIRVOL_TRASH_RETENTION=soon",
            "--trash-retention: \"soon\" is not a duration: give one such as 90m, 24h, 7d or 0",
            "DIRVOL_TRASH_RETENTION=24h",
        ),
        (
            "DIRVOL_LOG_LEVEL=loud",
            "invalid value 'loud' for '--log-level <L>' [possible values: error, warn, info, \
             debug]",
            "DIRVOL_LOG_LEVEL=info",
        ),
    ];
    for (wrong, why, right) in cases {
        plugged.disable();
        plugged.set(wrong);
        plugged.enable();
        let why = format!("{why}; set it right");
        let rest = ", 'docker plugin enable PLUGIN'";
        assert_eq!(refused(&plugged), told(&why, "NAME=VALUE", rest), "{wrong}");
        plugged.disable();
        plugged.set(right);
        plugged.enable();
        assert_eq!(plugged.everything(), before, "{wrong}");
    }
}

/// As an upgrade does it, without a word.
#[test]
fn a_root_that_was_reset_serves_nothing_and_is_set_back_with_docker_alone() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let other = plugged.path("other");
    fs::create_dir(&other).unwrap();
    plugged.disable();
    plugged.set_root(&other);
    plugged.enable();
    let marker = fs::read_to_string(plugged.root().join("dirvol.json")).unwrap();
    let marker: serde_json::Value = serde_json::from_str(&marker).unwrap();
    let why = format!(
        "the plugin's root is an unknown directory, and {} was served last (an upgrade resets it)",
        marker["id"].as_str().unwrap()
    );
    let rest = " with the directory it had, 'docker plugin enable PLUGIN'; or, to begin anew, \
                make DIR a root with 'dirvol init', and set DIRVOL_ACCEPT_ROOT to the id it \
                prints too";
    assert_eq!(refused(&plugged), told(&why, "root.source=DIR", rest));
    // Nothing was made there, and Docker knows what it knew.
    assert_eq!(tree(&other), [""; 0]);
    assert_eq!(plugged.daemon.inspect("db")[0]["Labels"], before.labels("db"));
    plugged.disable();
    plugged.set_root(&plugged.root());
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}
