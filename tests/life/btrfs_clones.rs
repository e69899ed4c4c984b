//! Clones on btrfs, which are snapshots, and their limits.

use std::fs;

use serde_json::{Value, json};

use crate::btrfs::{about, commit, told_by_the_tools};
use crate::loops::{Btrfs, Quota};
use crate::served::{MIB, write};

/// A copy of a volume that is full is as full, and is a volume of its own.
#[test]
fn a_clone_counts_whole_and_has_its_own_limit() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    write(&served.inside("db").join("file"), 16);
    commit(&served);
    served.leave();
    served.said("clone db full");
    assert_eq!(served.status("full")["options"]["size"], "8M");
    served.said("clone db new -o size=12M -o uid=1000 -o mode=0700");
    commit(&served);
    for (name, limit) in [("full", 8 * MIB), ("new", 12 * MIB)] {
        let (used, limited) = told_by_the_tools(&served, name);
        assert!(used > 7 * MIB, "{name}: {used}");
        assert_eq!(limited, Some(limit), "{name}");
        let [copy, original] = [name, "db"].map(|name| fs::read(served.data(name).join("file")));
        assert!(copy.unwrap() == original.unwrap(), "{name}");
    }
    assert_eq!(write(&served.inside("full").join("more"), 1), 0);
    about(write(&served.inside("new").join("more"), 16), 4 * MIB);
    // Removing the source leaves them as they are.
    served.leave();
    served.set("db", json!({"retain": "0"}));
    served.serve().remove("db");
    commit(&served);
    assert!(told_by_the_tools(&served, "full").0 <= 8 * MIB);
}

#[test]
fn a_snapshot_that_is_more_than_its_limit_is_refused_and_leaves_nothing() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "16M"}));
    assert_eq!(write(&served.inside("db").join("file"), 8), 8 * MIB);
    served.leave();
    commit(&served);
    let clone = |name: &str, opts: &Value| {
        let request = json!({"Name": name, "From": "db", "Opts": opts}).to_string();
        served.serve().call("Dirvol.Clone", &request)
    };
    let why =
        "volume small may not hold as much as volume db does; give it a larger size or inodes";
    let refused = clone("small", &json!({"size": "4M"}));
    assert_eq!((refused.status, refused.body), (400, json!({"Err": why}).to_string()));
    assert_eq!(served.serve().names(), ["db"]);
    let copied = clone("copy", &json!({}));
    assert!(copied.body.contains(r#""Method":"snapshot""#), "{}", copied.body);
    let (bytes, limit) = told_by_the_tools(&served, "copy");
    assert!(bytes >= 8 * MIB && limit == Some(16 * MIB), "{bytes} {limit:?}");
}
