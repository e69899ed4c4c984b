//! What a person sees of many volumes without a walk.

use serde_json::{Value, json};

use crate::disk::{LIMITING, MIB, write};
use crate::fifty::{self, documented, printed};

#[test]
fn fifty_volumes_are_told_as_the_document_shows_them() {
    for disk in LIMITING {
        let served = disk.serve("root");
        fifty::make(served.serve(), true);
        assert_eq!(printed(served.serve(), "ls"), documented("dirvol ls"), "{disk:?}");
        // In another order the same.
        let lines = |line: &str| -> Vec<String> {
            printed(served.serve(), line).lines().skip(1).map(str::to_owned).collect()
        };
        let name = |line: &String| line.split_whitespace().next().unwrap().to_owned();
        let by_name = lines("ls");
        let by_age = lines("ls --sort age");
        assert_eq!(by_age, by_name.iter().rev().cloned().collect::<Vec<_>>(), "made in order");
        let by_used: Vec<_> = lines("ls --sort used").iter().map(name).collect();
        let walked: Vec<_> = lines("du").iter().map(name).take(50).collect();
        assert_eq!(by_used, walked, "{disk:?}");
    }
}

#[test]
fn the_kernel_counts_what_a_walk_counts_with_and_without_a_limit() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("limited", json!({"size": "8M"}));
        served.create("free", json!({}));
        for name in ["limited", "free"] {
            write(&served.inside(name).join("file"), 3);
            for n in 0..100 {
                write(&served.inside(name).join(n.to_string()), 0);
            }
        }
        nix::unistd::sync();
        let ls: Value = serde_json::from_str(&served.said("ls --format json")).unwrap();
        for volume in ls.as_array().unwrap() {
            let body = json!({"Name": volume["Name"]}).to_string();
            let walked: Value =
                serde_json::from_str(&served.serve().ok("Dirvol.Usage", &body)).unwrap();
            let told = [&volume["UsedBytes"], &volume["UsedInodes"]];
            assert_eq!(told, [&walked["Bytes"], &walked["Inodes"]], "{disk:?} {volume}");
            assert!(walked["Bytes"].as_u64().unwrap() >= 3 * MIB, "{disk:?} {walked}");
            assert_eq!(walked["Inodes"], 102, "{disk:?}");
        }
        // A Get of a volume without a limit needs no disk, so it does not say.
        assert_eq!(served.status("free")["used"], Value::Null);
        assert_eq!(served.status("limited")["used"]["inodes"], 102);
    }
}
