//! File systems that keep no limit: it is refused, and never forgotten.

use serde_json::json;

use crate::disk::{LIMITING, UNLIMITING};
use crate::harness::tree;

#[test]
fn a_limit_that_would_not_be_kept_is_refused_with_the_cure_and_nothing_is_made() {
    for disk in UNLIMITING {
        let served = disk.serve("root");
        served.create("free", json!({}));
        let root = served.setup.root().display().to_string();
        let before = tree(&served.setup.root());
        let cure = if disk.fs == "xfs" {
            "it is xfs, which must be unmounted and mounted with prjquota, on Linux 5.14 or newer"
        } else {
            "it is ext4, which must be mounted with prjquota, on Linux 5.14 or newer ('tune2fs -O \
             quota,project -Q prjquota' makes it fit for that while it is unmounted)"
        };
        let why = format!(
            "the file system of {root} does not enforce limits: {cure}; or leave size and inodes \
             out"
        );
        for (call, name, body) in [
            ("VolumeDriver.Create", "db", json!({"Name": "db", "Opts": {"size": "8M"}})),
            ("VolumeDriver.Create", "db", json!({"Name": "db", "Opts": {"inodes": "8"}})),
            ("Dirvol.Set", "free", json!({"Name": "free", "Opts": {"size": "8M"}})),
        ] {
            let answer = served.serve().call(call, &body.to_string());
            let said = json!({"Err": format!("volume {name}: {why}")});
            assert_eq!(answer.status, 400, "{disk:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.body).unwrap(), said);
        }
        assert_eq!(tree(&served.setup.root()), before, "{disk:?}");
    }
}

/// A database is not kept from starting.
#[test]
fn a_volume_whose_limit_is_not_kept_any_more_is_mounted_and_says_so() {
    for disk in LIMITING {
        let mut served = disk.serve("root");
        served.create("db", json!({"size": "8M"}));
        served.unplug();
        served.plug_in(if disk.fs == "xfs" { "noquota" } else { "" });
        let root = served.setup.root().display().to_string();
        let why = format!("the file system of {root} does not enforce limits");
        served.serve().ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
        let told = served.status("db")["limit"].as_str().unwrap().to_owned();
        assert!(told.starts_with(&format!("not kept: {why}")), "{told}");
        let log = served.serve().log();
        assert!(log.contains(&format!("its limit is not kept: {why}")), "{log}");
    }
}
