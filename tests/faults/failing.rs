//! Disks that fail while they are served, and are there again later: every call is
//! answered, nothing that was acknowledged is lost, and no volume that there is, is
//! said not to be.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::disk::{Disk, FileSystem, fill, run};
use crate::expect::{named, with_id};
use crate::harness::{Client, DONE, Serve};
use crate::mounts::{in_own_mounts, mount_memory};
use crate::on_each_file_system;
use crate::world::in_memory;

on_each_file_system!(a_disk_that_cannot_be_written_any_more_loses_nothing_that_was_acknowledged);

/// Serves a root on a disk of `fs`, whose image is in `memory`, which is small.
fn on_a_disk(fs: FileSystem, test: impl FnOnce(&Disk, &Serve, &Path) + Send) {
    let setup = in_memory();
    let memory = setup.path("memory");
    in_own_mounts(|| {
        mount_memory(&memory, "size=192m");
        let disk = Disk::new(fs, memory.join("image"), setup.root());
        let serve = setup.serve();
        for name in ["known", "removed"] {
            serve.create(name);
            // Its user makes durable what is in it; the rest is the driver's to do.
            let data = disk.at.join("volumes").join(name).join("data");
            fs::write(data.join("file"), name).unwrap();
            File::open(data.join("file")).unwrap().sync_all().unwrap();
            File::open(data).unwrap().sync_all().unwrap();
        }
        test(&disk, &serve, &memory);
        disk.mend();
        disk.mount();
        serve.wait_available();
        assert!(serve.names().contains(&"known".to_owned()));
        let file = disk.at.join("volumes/known/data/file");
        assert_eq!(fs::read_to_string(file).unwrap(), "known");
        for name in serve.names() {
            let got = serve.ok("VolumeDriver.Get", &named(&name));
            assert!(got.contains(r#""health":"ok""#), "{got}");
        }
        serve.create("new");
        serve.stop();
        disk.take_away();
        disk.check();
    });
}

/// Calls a method whose answer is success, or one line that says what failed; returns
/// whether it was success.
fn call(serve: &Serve, method: &str, name: &str) -> bool {
    let answer = serve.call(method, &with_id(name, "id"));
    if answer.status != 200 {
        let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let why = said["Err"].as_str().unwrap();
        assert!(!why.is_empty() && !why.contains('\n'), "{method} {name}: {answer:?}");
        assert_ne!(answer.status, 404, "{method} {name}: {answer:?}");
    }
    answer.status == 200
}

/// Asks for the volume `known`, which must not be said not to be there.
fn get(serve: &Serve) {
    let answer = Client::connect(&serve.socket).call("VolumeDriver.Get", &named("known"));
    if let Some(answer) = answer {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn a_disk_that_becomes_read_only_says_so_and_is_written_when_it_can_be() {
    on_a_disk(FileSystem::Ext4, |disk, serve, _| {
        let before = serve.names();
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", disk.device());
        fs::write(trigger, "1").unwrap();
        for (method, name) in [("VolumeDriver.Create", "new"), ("VolumeDriver.Remove", "known")] {
            let refused = serve.call(method, &named(name));
            assert_eq!(refused.status, 500, "{refused:?}");
            let cure = "Read-only file system (os error 30); mount that disk writable\"}";
            assert!(refused.body.ends_with(cure), "{refused:?}");
        }
        // Whatever only reads goes on.
        get(serve);
        assert!(call(serve, "VolumeDriver.Mount", "known"));
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("known", "id")), DONE);
        assert_eq!(serve.names(), before);
        disk.take_away();
        get(serve);
    });
}

fn a_disk_that_cannot_be_written_any_more_loses_nothing_that_was_acknowledged(fs: FileSystem) {
    on_a_disk(fs, |disk, serve, memory| {
        // What it writes to is full: a write fails as one to a broken disk does.
        let ballast = memory.join("ballast");
        fill(&ballast);
        let mut there = vec!["known".to_owned()];
        let mut failed = 0;
        for number in 0.. {
            let name = format!("v{number}");
            if call(serve, "VolumeDriver.Create", &name) {
                there.push(name);
            } else {
                failed += 1;
            }
            get(serve);
            if failed == 3 {
                break;
            }
            assert!(number < 5000, "it goes on being written");
        }
        let removed = call(serve, "VolumeDriver.Remove", "removed");
        call(serve, "VolumeDriver.Mount", "known");
        disk.take_away();
        get(serve);
        fs::remove_file(ballast).unwrap();
        disk.mend();
        disk.mount();
        serve.wait_available();
        let names = serve.names();
        let lost: Vec<&String> = there.iter().filter(|name| !names.contains(name)).collect();
        assert_eq!(lost, [""; 0], "of {names:?}");
        assert!(!removed || !names.contains(&"removed".to_owned()));
        disk.take_away();
    });
}

#[test]
fn a_disk_that_vanishes_and_is_there_again_has_what_it_had() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        on_a_disk(fs, |disk, serve, _| {
            let names = serve.names();
            run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&disk.at));
            get(serve);
            assert!(!call(serve, "VolumeDriver.Create", "new"));
            assert!(!call(serve, "VolumeDriver.Remove", "known"));
            get(serve);
            disk.take_away();
            get(serve);
            disk.mount();
            serve.wait_available();
            assert_eq!(serve.names(), names);
            disk.take_away();
        });
    }
}
