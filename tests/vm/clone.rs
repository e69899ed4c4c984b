//! Limits of volumes that begin as copies, and of deep trees.

use std::fs;

use dirvol::sys::quota::Amount;
use serde_json::json;

use crate::disk::{LIMITING, MIB, write};
use crate::harness::eventually;

const CLONE: &str = "Dirvol.Clone";

#[test]
fn a_copy_has_the_limit_of_its_original_for_itself() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "8M", "inodes": "20"}));
        assert_eq!(write(&served.inside("db").join("file"), 4), 4 * MIB, "{disk:?}");
        served.leave();
        served.serve().ok(CLONE, &json!({"Name": "copy", "From": "db"}).to_string());
        let [db, copy] = ["db", "copy"].map(|name| served.project(name));
        assert_ne!(db, copy, "{disk:?}");
        let limit = Amount { bytes: 8 * MIB, inodes: 20 };
        assert_eq!([db, copy].map(|project| served.account(project).limit), [limit; 2]);
        // The original and its file, and the same again.
        let used = [db, copy].map(|project| served.account(project).used.inodes);
        assert_eq!(used, [2; 2], "{disk:?}");
        let status = served.status("copy");
        assert_eq!(status["options"]["size"], "8M", "{status}");
        assert!(status["used"]["bytes"].as_u64().unwrap() >= 4 * MIB, "{status}");

        // What is written to one is nothing to the other.
        let more = write(&served.inside("copy").join("more"), 16);
        assert!(more <= 4 * MIB && more > 3 * MIB, "{disk:?}: {more}");
        assert_eq!(write(&served.inside("db").join("more"), 3), 3 * MIB, "{disk:?}");
        served.leave();

        // A copy may have another limit from the beginning.
        let larger = json!({"Name": "larger", "From": "db", "Opts": {"size": "32M"}});
        served.serve().ok(CLONE, &larger.to_string());
        assert_eq!(write(&served.inside("larger").join("again"), 16), 16 * MIB, "{disk:?}");
    }
}

#[test]
fn a_copy_that_is_more_than_its_limit_is_refused_and_leaves_nothing() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({}));
        assert_eq!(write(&served.inside("db").join("file"), 8), 8 * MIB);
        for n in 0..20 {
            fs::write(served.data("db").join(n.to_string()), "").unwrap();
        }
        served.leave();
        for opts in [json!({"size": "4M"}), json!({"inodes": "10"})] {
            let request = json!({"Name": "small", "From": "db", "Opts": opts}).to_string();
            let refused = served.serve().call(CLONE, &request);
            let why = "volume small may not hold as much as volume db does; give it a larger size \
                       or inodes";
            assert_eq!(refused.body, json!({"Err": why}).to_string(), "{disk:?} {opts}");
            assert_eq!(refused.status, 400);
        }
        assert_eq!(served.serve().names(), ["db"]);
        let staging = served.setup.root().join("staging");
        eventually("what was copied is deleted", || {
            fs::read_dir(&staging).unwrap().next().is_none().then_some(())
        });
    }
}

#[test]
fn a_deep_tree_that_was_made_without_limits_is_counted_to_its_bottom() {
    const LEVELS: usize = 1000;
    for disk in LIMITING {
        let mut served = disk.serve("root");
        served.unplug();
        served.plug_in(if disk.fs == "xfs" { "noquota" } else { "" });
        served.create("db", json!({}));
        let bottom = served.data("db").join("d/".repeat(LEVELS));
        fs::create_dir_all(&bottom).unwrap();
        fs::write(bottom.join("file"), vec![1; 1 << 20]).unwrap();
        served.unplug();
        served.plug_in(disk.options);
        served.set("db", json!({"size": "64M"}));
        let used = served.account(served.project("db")).used;
        assert_eq!(used.inodes, LEVELS as u64 + 2, "{disk:?}");
    }
}
