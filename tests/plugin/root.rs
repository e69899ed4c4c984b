//! The directory that the plugin is given: another one that is wanted, one that is
//! missing, and one that is not the same after a boot.

use std::fs;
use std::process::Command;

use crate::harness::tree;
use crate::plugged::{PLUGIN, Plugged};

/// Makes a directory a root, as a person on the host does, and returns its id.
fn init(plugged: &Plugged, name: &str) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_dirvol")).arg("init").arg(plugged.path(name)).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let marker = fs::read_to_string(plugged.path(name).join("dirvol.json")).unwrap();
    let marker: serde_json::Value = serde_json::from_str(&marker).unwrap();
    let id = marker["id"].as_str().unwrap().to_owned();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&id), "{output:?}");
    id
}

#[test]
fn a_change_of_root_that_is_wanted_is_accepted_by_its_id_and_back_again() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let first = init(&plugged, "root");
    assert_eq!(plugged.everything(), before);
    let (other, id) = (plugged.path("other"), init(&plugged, "other"));
    let made = tree(&other);
    plugged.disable();
    plugged.set_root(&other);
    plugged.enable();
    let refused = plugged.refused();
    let told = format!("the plugin's root is {id}, and {first} was served last");
    assert!(refused.contains(&told), "{refused}");
    let last = format!("if the change is wanted, set DIRVOL_ACCEPT_ROOT={id} instead\n");
    assert!(refused.ends_with(&last), "{refused}");
    assert_eq!(tree(&other), made);
    assert_eq!(plugged.daemon.inspect("db")[0]["Labels"], before.labels("db"));

    plugged.disable();
    plugged.set(&format!("DIRVOL_ACCEPT_ROOT={id}"));
    plugged.enable();
    plugged.daemon.ok(&format!("volume create -d {PLUGIN} web"));
    assert!(other.join("volumes/web/data").is_dir());
    // The first is as it was, and has its own again.
    plugged.disable();
    plugged.set_root(&plugged.root());
    plugged.enable();
    let refused = plugged.refused();
    assert!(refused.contains(&format!("set DIRVOL_ACCEPT_ROOT={first} instead")), "{refused}");
    plugged.disable();
    plugged.set(&format!("DIRVOL_ACCEPT_ROOT={first}"));
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}

#[test]
fn a_root_that_is_missing_is_told_of_by_the_engine_and_mended_by_making_it() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let (root, away) = (plugged.root(), plugged.path("away"));
    plugged.disable();
    fs::rename(&root, &away).unwrap();
    let error = plugged.daemon.fails(&format!("plugin enable {PLUGIN}"));
    let missing = format!("{}", root.display());
    assert!(error.contains(&missing) && error.contains("no such file or directory"), "{error}");
    assert!(!root.exists());
    fs::rename(&away, &root).unwrap();
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}

/// As when the disk of the root is not mounted: what is there is an empty directory.
#[test]
fn an_engine_boots_with_a_root_that_is_not_there_and_keeps_the_labels() {
    let mut plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.fill("web");
    let before = plugged.everything();
    let (root, away) = (plugged.root(), plugged.path("away"));
    plugged.daemon.stop();
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    let logged = plugged.daemon.log().len();
    plugged.daemon.boot();
    // The engine says so when it waits for a driver.
    let log = plugged.daemon.log()[logged..].to_owned();
    assert!(!log.contains("retrying in"), "{log}");
    for name in ["db", "web"] {
        assert_eq!(plugged.daemon.inspect(name)[0]["Labels"], before.labels(name));
    }
    let refused = plugged.refused();
    assert!(refused.contains("dirvol is unavailable: "), "{refused}");
    assert_eq!(tree(&root), [""; 0]);

    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    plugged.disable();
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}
