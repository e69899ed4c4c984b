//! Directories that are moved in: wherever the power is cut, their content is where it was,
//! or waits to be a volume, or is one; and in the end it is one of the two.

use std::fs;
use std::path::{Path, PathBuf};

use dirvol::store::move_dir;
use dirvol::volume::Options;
use dirvol::volume::adopt::Prepared;

use crate::disk::{Cut, Disk, FileSystem};
use crate::knife::{Meanwhile, Where, slice};
use crate::ledger::Ledger;
use crate::on_each_file_system;
use crate::revive::Revived;
use crate::rig::{Rig, make_root, volume};
use crate::traced::Traced;

on_each_file_system!(a_directory_that_is_moved_in_is_never_lost);

/// What the directory holds: more than fits into an inode or a journal.
fn content() -> String {
    "precious ".repeat(20_000)
}

/// Makes a directory, and has it on the disk.
fn directory(disk: &Disk, name: &str) -> PathBuf {
    let dir = disk.path(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("payload"), content()).unwrap();
    disk.flush();
    dir
}

fn prepare(rig: &Rig, name: &str) -> Prepared {
    rig.driver.prepare(&volume(name), &Options::default()).unwrap()
}

fn adopt(rig: &Rig, name: &str, prepared: &Prepared) {
    rig.driver.adopt(&volume(name), &prepared.token, 0).unwrap();
}

/// Where the whole content of the directory is, in what a cut has left.
fn found(top: &Path, name: &str) -> Vec<&'static str> {
    let holds = |dir: &Path| {
        fs::read_to_string(dir.join("payload")).is_ok_and(|payload| payload == content())
    };
    let waiting = fs::read_dir(top.join("root/adopting")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    found.extend(holds(&top.join(name)).then_some("where it was"));
    found.extend(waiting.filter(|entry| holds(&entry.path().join("data"))).map(|_| "waiting"));
    let data = top.join("root/volumes").join(name).join("data");
    found.extend(holds(&data).then_some("a volume"));
    found
}

/// Looks at a cut as it is, and once a driver has served it; returns both.
fn examine(cut: &Cut, name: &str) -> [&'static str; 2] {
    let mount = cut.mount();
    let at_first = found(&mount.at, name);
    mount.unmount();
    let [first] = at_first[..] else { panic!("{}: it is {at_first:?}", cut.when) };
    let revived = Revived::new(cut, "root", "state");
    let top = revived.root.parent().unwrap().to_path_buf();
    let adopting = top.join("root/adopting");
    crate::harness::eventually("nothing waits any more", || {
        (!adopting.exists() || fs::read_dir(&adopting).unwrap().next().is_none()).then_some(())
    });
    let at_last = found(&top, name);
    let [last] = at_last[..] else { panic!("{}: it is {at_last:?}", cut.when) };
    let names = revived.serve.names();
    assert_eq!(names.contains(&name.to_owned()), last == "a volume", "{}", cut.when);
    revived.works();
    revived.stop();
    [first, last]
}

fn a_directory_that_is_moved_in_is_never_lost(fs: FileSystem) {
    let disk = Disk::new(fs);
    make_root(&disk.path("root"));
    let rig = Rig::new(&disk.path("root"), &disk.path("state"));
    rig.open();
    let cut = |name: &str, place: Where| {
        let dir = directory(&disk, name);
        let mut prepared = None;
        let preparing = slice(&disk, &rig, place, || prepared = Some(prepare(&rig, name)));
        let prepared = prepared.unwrap();
        for cut in &preparing.cuts {
            assert_eq!(examine(cut, name), ["where it was"; 2], "{}", cut.when);
        }
        move_dir(&dir, &prepared.path.join("data")).unwrap();
        let moved = disk.cut("when it was moved");
        assert_eq!(examine(&moved, name), ["waiting", "a volume"]);
        let adopting = slice(&disk, &rig, place, || adopt(&rig, name, &prepared));
        for cut in &adopting.cuts {
            assert_eq!(examine(cut, name)[1], "a volume", "{}", cut.when);
        }
        let done = adopting.cuts.last().unwrap();
        assert_eq!(examine(done, name)[0], "a volume");
        preparing.steps.max(adopting.steps)
    };
    let steps = cut("plain", Where::Everywhere);
    assert!(steps > 0, "an operation that is not seen is not cut");
    for step in 0..steps {
        for meanwhile in [Meanwhile::Flush, Meanwhile::NeighbourSyncs] {
            cut(&format!("{meanwhile:?}-{step}"), Where::At(step, meanwhile));
        }
    }
    // A rename that nobody synced is so by what makes the volume of it.
    let dir = directory(&disk, "unsynced");
    let prepared = prepare(&rig, "unsynced");
    fs::rename(&dir, prepared.path.join("data")).unwrap();
    let slices = slice(&disk, &rig, Where::Everywhere, || adopt(&rig, "unsynced", &prepared));
    for cut in &slices.cuts {
        examine(cut, "unsynced");
    }
    assert_eq!(examine(slices.cuts.last().unwrap(), "unsynced")[0], "a volume");
}

#[test]
fn a_place_is_durable_before_it_is_told_and_a_move_before_it_is_a_volume() {
    let traced = Traced::opened();
    let waits = |rig: &Rig, _: &Ledger| {
        let prepared = prepare(rig, "a");
        fs::create_dir(prepared.path.join("data")).unwrap();
    };
    let expected = [
        "mkdirat adopting",
        "fsync .",
        "mkdirat adopting/<token>",
        "write adopting/<token>/volume.json",
        "fsync adopting/<token>/volume.json",
        "fsync adopting/<token>",
        "fsync adopting",
    ];
    assert_eq!(traced.steps(waits), expected);
    let finish = |rig: &Rig, _: &Ledger| {
        let entry = fs::read_dir(rig.root.join("adopting")).unwrap().next().unwrap().unwrap();
        let token = entry.file_name().into_string().unwrap();
        rig.driver.adopt(&volume("a"), &token, 0).unwrap();
    };
    let expected = [
        "syncfs adopting/<token>",
        "fsync adopting/<token>/data",
        "renameat2 adopting/<token>",
        "fsync volumes",
        "fsync adopting",
    ];
    assert_eq!(traced.steps(finish), expected);
}

#[test]
fn a_place_that_nobody_comes_to_is_taken_away_empty() {
    let traced = Traced::opened();
    let cancel = |rig: &Rig, _: &Ledger| {
        let prepared = prepare(rig, "a");
        assert!(rig.driver.cancel(&volume("a"), &prepared.token).unwrap());
    };
    let steps = traced.steps(cancel);
    let expected = ["unlinkat adopting/<token>/volume.json", "unlinkat adopting/<token>"];
    assert_eq!(steps[7..], expected);
    // One that holds something is not touched.
    let stays = |rig: &Rig, _: &Ledger| {
        let prepared = prepare(rig, "a");
        fs::create_dir(prepared.path.join("data")).unwrap();
        assert!(!rig.driver.cancel(&volume("a"), &prepared.token).unwrap());
    };
    assert_eq!(traced.steps(stays).iter().filter(|step| step.starts_with("unlinkat")).count(), 0);
}
