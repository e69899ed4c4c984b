//! Disks that are filled to the last block and the last file, by their own users.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::disk::{Disk, FileSystem, fill, fill_with_files, take_an_eighth};
use crate::expect::{done, failed, named, with_options};
use crate::harness::{DONE, Serve, eventually};
use crate::mounts::in_own_mounts;
use crate::on_each_file_system;
use crate::world::in_memory;

/// How an answer ends that could not be given for want of space.
const FULL: &str = "No space left on device (os error 28); free space or inodes on that disk\"}";

on_each_file_system!(
    a_remove_for_good_frees_a_full_disk_at_once_and_takes_nothing_from_the_trash,
    a_remove_to_the_trash_works_on_a_full_disk_and_a_create_is_given_its_room,
);

#[test]
fn a_create_on_a_full_disk_without_trash_says_what_to_do_and_leaves_nothing() {
    // On btrfs a Create needs none of the space that is full.
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        a_create_without_room(fs);
    }
}

/// Serves a root on a small disk of `fs`: `first` and `second` are in the trash and
/// hold an eighth each, so does `third`, which is there; `full` keeps nothing, and
/// takes all that is left, the last file too, but on btrfs: see below.
fn on_a_full_disk(fs: FileSystem, test: impl FnOnce(&Disk, &Serve) + Send) {
    on_a_small_disk(fs, |disk, serve| {
        fill(&data(disk, "full").join("all"));
        if fs != FileSystem::Btrfs {
            fill_with_files(&data(disk, "full"));
        }
        assert_eq!(disk.free(), 0);
        test(disk, serve);
    });
}

fn on_a_small_disk(fs: FileSystem, test: impl FnOnce(&Disk, &Serve) + Send) {
    let setup = in_memory();
    in_own_mounts(|| {
        let disk = Disk::new(fs, setup.path("image"), setup.root());
        let serve = setup.serve();
        for name in ["first", "second", "third"] {
            serve.create(name);
            take_an_eighth(fs, &data(&disk, name));
        }
        for name in ["first", "second"] {
            serve.remove(name);
        }
        let body = with_options("full", &json!({"retain": "0s"}));
        assert_eq!(serve.call("VolumeDriver.Create", &body), done());
        test(&disk, &serve);
        serve.stop();
        disk.take_away();
        disk.check();
    });
}

fn data(disk: &Disk, name: &str) -> PathBuf {
    disk.at.join("volumes").join(name).join("data")
}

/// The volumes that lie in the trash.
fn removed(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("trash")).unwrap();
    let name = |entry: fs::DirEntry| {
        entry.file_name().into_string().unwrap().split('~').next().unwrap().to_owned()
    };
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

fn a_remove_for_good_frees_a_full_disk_at_once_and_takes_nothing_from_the_trash(fs: FileSystem) {
    on_a_full_disk(fs, |disk, serve| {
        serve.remove("full");
        eventually("its space is free", || (disk.free() >= 25).then_some(()));
        // As is looked at by what deleted it.
        serve.create("another");
        assert_eq!(serve.metric("dirvol_trash_purged_total", "\"low_space\""), 0);
        assert_eq!(removed(&disk.at), ["first", "second"]);
        assert_eq!(serve.names(), ["another", "third"]);
    });
}

fn a_remove_to_the_trash_works_on_a_full_disk_and_a_create_is_given_its_room(fs: FileSystem) {
    on_a_full_disk(fs, |disk, serve| {
        serve.remove("third");
        // That which was removed first goes first, and no more than must.
        eventually("the oldest is gone", || {
            (removed(&disk.at) == ["second", "third"] && disk.free() >= 10).then_some(())
        });
        fill(&data(disk, "full").join("more"));
        serve.create("another");
        eventually("the oldest is gone", || (removed(&disk.at) == ["third"]).then_some(()));
        assert_eq!(serve.names(), ["another", "full"]);
        let got = serve.ok("VolumeDriver.Get", &named("another"));
        assert!(got.contains(r#""health":"ok""#), "{got}");
    });
}

fn a_create_without_room(fs: FileSystem) {
    on_a_full_disk(fs, |disk, serve| {
        serve.ok("Dirvol.TrashPurge", r#"{"All":true}"#);
        eventually("nothing is left to delete", || {
            fs::read_dir(disk.at.join("staging")).unwrap().next().is_none().then_some(())
        });
        fill(&data(disk, "third").join("all"));
        fill_with_files(&data(disk, "third"));
        let refused = serve.call("VolumeDriver.Create", &named("another"));
        assert_eq!(refused.status, 500, "{refused:?}");
        assert!(refused.body.starts_with(r#"{"Err":"volume another: "#), "{refused:?}");
        assert!(refused.body.ends_with(FULL), "{refused:?}");
        let none = failed(404, "no such volume: another");
        assert_eq!(serve.call("VolumeDriver.Get", &named("another")), none);
        assert_eq!(serve.names(), ["full", "third"]);
        assert_eq!(serve.ok("VolumeDriver.Remove", &named("full")), DONE);
        eventually("its space is free", || (disk.free() >= 10).then_some(()));
        serve.create("another");
        assert_eq!(serve.names(), ["another", "third"]);
    });
}

#[test]
fn an_ext4_without_a_file_left_is_given_those_of_the_oldest_entry() {
    on_a_small_disk(FileSystem::Ext4, |disk, serve| {
        let all = data(disk, "full").join("all");
        fs::create_dir(&all).unwrap();
        let full = (0..).find(|number| File::create(all.join(format!("{number}"))).is_err());
        assert!(full.is_some());
        serve.remove("third");
        assert_eq!(removed(&disk.at), ["first", "second", "third"]);
        serve.create("another");
        assert_eq!(removed(&disk.at), ["second", "third"]);
        serve.remove("full");
        eventually("its files are gone", || {
            fs::read_dir(disk.at.join("staging")).unwrap().next().is_none().then_some(())
        });
        assert_eq!(removed(&disk.at), ["second", "third"]);
        assert_eq!(serve.names(), ["another"]);
    });
}

/// Its space for the tree of its files is apart from that for what is in them, and a
/// rename asks for some MB of it, whatever it needs. Only deleting works without.
#[test]
fn a_btrfs_that_is_full_of_small_files_says_what_to_do_and_changes_nothing() {
    on_a_small_disk(FileSystem::Btrfs, |disk, serve| {
        fill(&data(disk, "full").join("all"));
        fill_with_files(&data(disk, "full"));
        for (method, name) in [
            ("VolumeDriver.Remove", "full"),
            ("VolumeDriver.Remove", "third"),
            ("VolumeDriver.Create", "another"),
        ] {
            let refused = serve.call(method, &named(name));
            assert_eq!(refused.status, 500, "{method} {refused:?}");
            let start = format!(r#"{{"Err":"volume {name}: "#);
            assert!(refused.body.starts_with(&start), "{refused:?}");
            assert!(refused.body.ends_with(FULL), "{refused:?}");
        }
        assert_eq!(serve.names(), ["full", "third"]);
        assert_eq!(removed(&disk.at), ["first", "second"]);
        // As it says: whoever frees space can go on.
        for file in fs::read_dir(data(disk, "full")).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        serve.remove("full");
        serve.create("another");
        assert_eq!(serve.names(), ["another", "third"]);
    });
}
