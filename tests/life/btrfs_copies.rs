//! How people copy what lies on btrfs, and what comes of volumes that are subvolumes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::syncfs;
use serde_json::json;

use crate::disk::run;
use crate::harness::{Setup, tree};
use crate::loops::{Btrfs, Quota};
use crate::served::Served;

fn start(disk: &Btrfs) -> Served {
    let served = disk.serve();
    served.create("db", json!({"uid": "1000", "gid": "1000"}));
    fs::write(served.data("db").join("file"), "precious").unwrap();
    served
}

/// Copies the root with a command that ends in the two paths.
fn copied(served: &Served, command: &[&str], to: &str) -> Vec<String> {
    let from = served.setup.path("disk/root");
    let to = served.setup.path("disk").join(to);
    run(Command::new(command[0]).args(&command[1..]).arg(&from).arg(&to));
    tree(&to)
}

#[test]
fn a_copy_of_the_root_has_it_all_unless_it_is_told_to_stay_on_one_file_system() {
    let disk = Btrfs::new(Quota::None);
    let served = start(&disk);
    let whole = tree(&served.setup.path("disk/root"));
    assert_eq!(copied(&served, &["cp", "-a"], "copy"), whole);
    // A subvolume has a device number of its own, so it is passed over.
    let part = copied(&served, &["cp", "-ax"], "part");
    let lost: Vec<&String> = whole.iter().filter(|line| !part.contains(line)).collect();
    assert_eq!(lost, ["volumes/db/data/file 0644 0:0 \"precious\""]);

    // The copy is a root like any other.
    let other = Setup::new();
    std::os::unix::fs::symlink(served.setup.path("disk/copy"), other.root()).unwrap();
    let serve = other.serve();
    assert_eq!(serve.names(), ["db"]);
    serve.ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
    serve.stop();
}

#[test]
fn a_snapshot_is_of_one_subvolume_and_does_not_hold_the_volumes_in_it() {
    let disk = Btrfs::new(Quota::None);
    let served = start(&disk);
    let at = |name: &str| served.setup.path("disk").join(name);
    let snapshot = |from: &Path, to: &Path| {
        let mut command = Command::new("btrfs");
        run(command.args(["subvolume", "snapshot", "-r"]).arg(from).arg(to))
    };
    snapshot(&at(""), &at("all"));
    assert!(at("all/root/volumes/db/volume.json").exists());
    assert_eq!(fs::read_dir(at("all/root/volumes/db/data")).unwrap().count(), 0);

    // Each volume has its own, and can be sent.
    snapshot(&served.data("db"), &at("one"));
    syncfs(File::open(at("")).unwrap()).unwrap();
    fs::create_dir(at("received")).unwrap();
    let mut send = Command::new("btrfs");
    send.args(["send", "-q"]).arg(at("one")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut sending = send.spawn().unwrap();
    let stream = sending.stdout.take().unwrap();
    run(Command::new("btrfs").arg("receive").arg(at("received")).stdin(stream));
    assert!(sending.wait().unwrap().success());
    assert_eq!(tree(&at("received/one")), tree(&served.data("db")));
}
