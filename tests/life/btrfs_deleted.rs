//! What becomes of a volume's subvolume, and of those that a container made in it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use dirvol::sys::btrfs;
use nix::mount::{MsFlags, mount, umount2};
use serde_json::json;

use crate::btrfs::{commit, groups};
use crate::disk::run;
use crate::harness::eventually;
use crate::loops::{Btrfs, Quota};
use crate::served::Served;

/// Fills a volume as a container with an engine of its own does: subvolumes in
/// subvolumes, some read-only, snapshots; and directories that are deeper than one
/// descent goes, in a subvolume and outside of one.
fn fill(data: &Path) {
    let subvolume =
        |path: &Path| run(Command::new("btrfs").args(["subvolume", "create"]).arg(path));
    let read_only = |path: &Path| {
        run(Command::new("btrfs").args(["property", "set"]).arg(path).args(["ro", "true"]))
    };
    subvolume(&data.join("layer"));
    fs::write(data.join("layer/file"), "of a layer").unwrap();
    subvolume(&data.join("layer/inside"));
    fs::write(data.join("layer/inside/file"), "deeper").unwrap();
    let mut snapshot = Command::new("btrfs");
    snapshot.args(["subvolume", "snapshot", "-r"]);
    run(snapshot.arg(data.join("layer")).arg(data.join("snapshot")));
    read_only(&data.join("layer/inside"));
    read_only(&data.join("layer"));
    subvolume(&data.join("deep"));
    for top in [data.join("deep"), data.to_owned()] {
        let mut below = top;
        for _ in 0..150 {
            below.push("d");
        }
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("bottom"), "").unwrap();
    }
}

/// Returns the paths of all subvolumes on the disk.
fn subvolumes(served: &Served) -> Vec<String> {
    let list =
        run(Command::new("btrfs").args(["subvolume", "list"]).arg(served.setup.path("disk")));
    list.lines().map(|line| line.rsplit_once(" path ").unwrap().1.to_owned()).collect()
}

fn wait_until_nothing_is_left(served: &Served) {
    eventually("nothing is left of the volumes", || {
        let staging = fs::read_dir(served.setup.root().join("staging")).unwrap().count();
        (staging == 0 && subvolumes(served).is_empty()).then_some(())
    });
}

#[test]
fn a_volume_is_a_subvolume_and_goes_with_all_that_a_container_made_in_it() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "64M", "retain": "0"}));
    assert_eq!(subvolumes(&served), ["root/volumes/db/data"]);
    fill(&served.data("db"));
    assert_eq!(subvolumes(&served).len(), 5);
    commit(&served);
    assert_eq!(groups(&served).len(), 6);
    served.serve().remove("db");
    wait_until_nothing_is_left(&served);
    // Newer kernels remove the groups of what they have freed, older ones let us.
    eventually("their quota groups are gone", || {
        let groups: Vec<String> = groups(&served).into_iter().map(|line| line[0].clone()).collect();
        (groups == ["0/5"]).then_some(())
    });
    let log = served.serve().log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// It deletes as anybody may: file by file.
#[test]
fn a_driver_without_the_capability_deletes_them_too_and_limits_nothing() {
    let disk = Btrfs::new(Quota::Full);
    let mut served = disk.serve();
    served.serve.take().unwrap().stop();
    let mut without = Command::new("setpriv");
    let serve = served.setup.command();
    without.args(["--bounding-set", "-sys_admin", "--"]).arg(serve.get_program());
    without.args(serve.get_args());
    let driver = served.setup.start_with(without);
    driver.wait_available();
    served.serve = Some(driver);

    let body = json!({"Name": "db", "Opts": {"size": "8M"}}).to_string();
    let answer = served.serve().call("VolumeDriver.Create", &body);
    let err = "volume db: the driver may not set limits: give it CAP_SYS_ADMIN, as root on the \
               host has it; or leave size and inodes out";
    assert_eq!(answer.status, 400);
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(said, json!({"Err": err}));

    served.create("db", json!({"retain": "0"}));
    assert_eq!(subvolumes(&served), ["root/volumes/db/data"]);
    fill(&served.data("db"));
    served.serve().remove("db");
    wait_until_nothing_is_left(&served);
    let log = served.serve().log();
    let (_, after) = log.split_once("deleted for good").unwrap();
    assert!(!after.contains("WARN") && !after.contains("ERROR"), "{log}");
}

#[test]
fn a_volume_is_not_removed_while_it_or_a_subvolume_in_it_is_mounted() {
    let disk = Btrfs::new(Quota::None);
    let served = disk.serve();
    served.create("db", json!({}));
    let data = File::open(served.data("db")).unwrap();
    btrfs::create_subvolume(data.as_fd(), c"layer").unwrap();
    drop(data);
    for source in [served.data("db"), served.data("db").join("layer")] {
        let at = served.setup.path("elsewhere");
        fs::create_dir(&at).unwrap();
        mount(Some(&source), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let answer = served.serve().call("VolumeDriver.Remove", r#"{"Name":"db"}"#);
        assert!(answer.body.contains("volume is in use"), "{answer:?}");
        umount2(&at, nix::mount::MntFlags::empty()).unwrap();
        fs::remove_dir(&at).unwrap();
    }
    served.serve().remove("db");
}

/// Deleting a subvolume at once would unmount what is mounted inside.
#[test]
fn what_is_mounted_in_a_volume_that_is_deleted_stays_mounted_and_whole() {
    let disk = Btrfs::new(Quota::None);
    let served = disk.serve();
    served.create("db", json!({"retain": "0"}));
    fs::write(served.data("db").join("file"), "").unwrap();
    let at = served.data("db").join("other");
    fs::create_dir(&at).unwrap();
    // The driver has a mount table of its own if it is started in one: it has ours.
    mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(at.join("file"), "of somebody else").unwrap();
    served.serve().remove("db");
    let left = eventually("the rest is deleted", || {
        let tree = fs::read_dir(served.setup.root().join("staging")).unwrap().next()?.unwrap();
        (!tree.path().join("data/file").exists()).then_some(tree.path())
    });
    assert_eq!(fs::read_to_string(left.join("data/other/file")).unwrap(), "of somebody else");
    umount2(&left.join("data/other"), nix::mount::MntFlags::empty()).unwrap();
}
