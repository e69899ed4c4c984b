//! A volume that was removed and is taken back, by way of the calls that engines
//! and the command line make.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown, symlink};

use serde_json::{Value, json};

use crate::disk::{LIMITING, MIB, Served, write};
use crate::harness::{DONE, tree};

/// All that there is to say of a volume: its bytes, owners and permissions; how its
/// files are allocated and linked; its options; and what the kernel counts and keeps.
fn all_of(served: &Served, name: &str) -> Value {
    nix::unistd::sync();
    let data = served.data(name);
    let shape = ["linked", "again", "sparse"].map(|file| {
        let stat = fs::metadata(data.join(file)).unwrap();
        (stat.ino(), stat.nlink(), stat.blocks(), stat.mtime(), stat.mtime_nsec())
    });
    let top = fs::metadata(&data).unwrap();
    let account = served.account(served.project(name));
    let status = served.status(name);
    let record = served.setup.root().join("volumes").join(name).join("volume.json");
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    json!({
        "tree": tree(&data),
        "shape": shape,
        "top": [top.uid(), top.gid(), top.mode()],
        "project": served.project(name),
        "used": [account.used.bytes, account.used.inodes],
        "limit": [account.limit.bytes, account.limit.inodes],
        "shown": [status["options"], status["used"], status["created"], status["health"]],
        "stated": [record["options"], record["set"]],
    })
}

#[test]
fn what_is_taken_back_from_the_trash_is_equal_in_all() {
    for disk in LIMITING {
        let served = disk.serve("root");
        let options = json!({"size": "8M", "inodes": "100", "uid": "70", "gid": "71",
            "mode": "0751", "retain": "7d"});
        let body = json!({"Name": "db", "Opts": options}).to_string();
        assert_eq!(served.serve().ok("VolumeDriver.Create", &body), DONE);
        let data = served.data("db");
        fs::create_dir(data.join("dir")).unwrap();
        chown(data.join("dir"), Some(5), Some(6)).unwrap();
        fs::write(data.join("linked"), vec![7; 3 << 20]).unwrap();
        fs::hard_link(data.join("linked"), data.join("again")).unwrap();
        let sparse = fs::File::create(data.join("sparse")).unwrap();
        sparse.write_all_at(b"far away", 1 << 20).unwrap();
        drop(sparse);
        symlink("dir", data.join("link")).unwrap();
        served.set("db", json!({"size": "6M"}));
        let before = all_of(&served, "db");
        assert_eq!(before["limit"], json!([6 * MIB, 100]), "{disk:?}");
        assert!(before["used"][0].as_u64().unwrap() >= 3 * MIB, "{disk:?}: {before}");

        assert_eq!(served.serve().ok("VolumeDriver.Remove", r#"{"Name":"db"}"#), DONE);
        assert!(!data.exists());
        let restored = served.serve().ok("Dirvol.TrashRestore", r#"{"Entry":"db"}"#);
        assert!(restored.starts_with(r#"{"Name":"db","#), "{restored}");
        assert_eq!(all_of(&served, "db"), before, "{disk:?}");

        assert_eq!(served.serve().ok("VolumeDriver.Remove", r#"{"Name":"db"}"#), DONE);
        served.said("trash restore db --as other");
        assert_eq!(all_of(&served, "other"), before, "{disk:?}");
        // The limit is not only told.
        let at = served.inside("other").join("dir");
        nix::unistd::chown(&at, Some(1000.into()), Some(1000.into())).unwrap();
        fs::set_permissions(
            served.inside("other"),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        let more = write(&at.join("more"), 16);
        assert!(more <= 3 * MIB && more > 2 * MIB, "{disk:?}: {more}");
    }
}
