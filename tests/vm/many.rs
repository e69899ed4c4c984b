//! A thousand volumes with limits.

use serde_json::json;

use crate::disk::{LIMITING, MIB, write};

#[test]
fn a_thousand_volumes_have_a_limit_each() {
    for disk in LIMITING {
        let served = disk.serve("root");
        let mut projects = std::collections::BTreeSet::new();
        for n in 0..1000 {
            served.create(&format!("v{n}"), json!({"size": "1M"}));
            projects.insert(served.project(&format!("v{n}")));
        }
        assert_eq!(projects.len(), 1000, "{disk:?}");
        for n in [0, 500, 999] {
            let written = write(&served.inside(&format!("v{n}")).join("file"), 2);
            assert!(written <= MIB && written > 0, "{disk:?} v{n}: {written}");
        }
        assert_eq!(served.said("ls").lines().count(), 1001, "{disk:?}");
    }
}
