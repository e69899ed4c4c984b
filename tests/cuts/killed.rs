//! A driver that is killed after a change and before its sync. What the next one
//! then tells of was never synced by the first, and holds nevertheless.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use crate::disk::{Disk, FileSystem, run};
use crate::harness::{Client, Setup, metric};
use crate::ledger::{Change, Spec};
use crate::live::Live;
use crate::on_each_file_system;
use crate::revive::{self, Revived};
use crate::rig::{Rig, make_root};
use crate::trace::{kill_before_sync, run_until_sync};

on_each_file_system!(
    a_volume_that_is_listed_after_a_kill_in_its_create_is_there,
    a_volume_that_is_not_listed_after_a_kill_in_its_remove_is_in_the_trash,
    a_volume_that_is_not_listed_after_a_kill_in_its_remove_for_good_is_gone,
    an_entry_that_is_not_counted_after_a_kill_in_its_purge_is_gone,
    a_root_that_is_served_after_a_kill_in_its_making_is_one,
    a_root_that_init_names_after_a_kill_in_its_making_is_one,
    a_root_that_is_served_after_a_kill_in_noting_its_id_is_known,
);

fn a_volume_that_is_listed_after_a_kill_in_its_create_is_there(fs: FileSystem) {
    let mut live = Live::new(fs);
    let spec = Spec::owned(1000, 2000, 0o2770);
    let body = spec.body("a");
    let change = Change::Create(spec);
    killed_and_served_again(&mut live, "volumes", "VolumeDriver.Create", &body);
    live.ledger.change("a", change, || assert_eq!(live.serve.names(), ["a"]));
    let cut = live.cut("after a list");
    live.examine(&[cut]);
}

fn a_volume_that_is_not_listed_after_a_kill_in_its_remove_is_in_the_trash(fs: FileSystem) {
    for before in ["trash", "volumes"] {
        let mut live = Live::new(fs);
        live.create("a", &Spec::plain());
        live.write("a", "precious");
        let body = json!({"Name": "a"}).to_string();
        killed_and_served_again(&mut live, before, "VolumeDriver.Remove", &body);
        live.ledger.change("a", Change::Remove, || live.serve.remove("a"));
        let cut = live.cut("after a remove of what is removed already");
        live.examine(&[cut]);
    }
}

fn a_volume_that_is_not_listed_after_a_kill_in_its_remove_for_good_is_gone(fs: FileSystem) {
    let mut live = Live::new(fs);
    live.create("a", &Spec::keeping_nothing());
    let body = json!({"Name": "a"}).to_string();
    killed_and_served_again(&mut live, "volumes", "VolumeDriver.Remove", &body);
    live.ledger.change("a", Change::Remove, || live.serve.remove("a"));
    let cut = live.cut("after a remove of what is removed already");
    live.examine(&[cut]);
}

fn an_entry_that_is_not_counted_after_a_kill_in_its_purge_is_gone(fs: FileSystem) {
    let mut live = Live::new(fs);
    live.create("a", &Spec::plain());
    live.remove("a");
    live.stop();
    // The entry is purged in the background: by a driver in this process, which
    // stops before the sync as one that is killed does.
    let rig = Rig::new(&live.disk.path("root"), &live.disk.path("state"));
    rig.open();
    let report = rig.hooked(stop_at_sync_after("renameat2"), || rig.driver.collect());
    assert_eq!(report.purged.len(), 0, "{report:?}");
    drop(rig);
    live.serve_again();
    live.ledger.change("a", Change::Purge, || {
        assert_eq!(metric(&live.serve.socket, "dirvol_trash_entries", ""), 0);
    });
    let cut = live.cut("after a count");
    live.examine(&[cut]);
}

fn a_root_that_is_served_after_a_kill_in_its_making_is_one(fs: FileSystem) {
    let (disk, other) = (Disk::new(fs), Disk::new(fs));
    let (root, state) = (disk.path("root"), other.path("state"));
    make_root_up_to_its_last_sync(&root, &other.path("unused"));
    let setup = Setup::new();
    let _serve = revive::serve(&setup, &root, &state);
    let marker = fs::read_to_string(root.join("dirvol.json")).unwrap();
    let (cut, other) = (disk.cut("after it was served"), other.cut("after it was served"));
    let other_mount = other.mount();
    Revived::with_state(&cut, "root", other_mount.at.join("state")).expect_root(&marker);
}

fn a_root_that_init_names_after_a_kill_in_its_making_is_one(fs: FileSystem) {
    let disk = Disk::new(fs);
    let root = disk.path("root");
    make_root_up_to_its_last_sync(&root, &disk.path("unused"));
    run(&mut revive::init(&root));
    let marker = fs::read_to_string(root.join("dirvol.json")).unwrap();
    let cut = disk.cut("after init");
    Revived::new(&cut, "root", "state").expect_root(&marker);
}

fn a_root_that_is_served_after_a_kill_in_noting_its_id_is_known(fs: FileSystem) {
    let (disk, other) = (Disk::new(fs), Disk::new(fs));
    let (root, state) = (disk.path("root"), other.path("state"));
    run(&mut revive::init(&root));
    // The directory of the names is there, so nothing but the id is synced.
    fs::create_dir_all(state.join("seen")).unwrap();
    other.flush();
    let setup = Setup::new();
    run_until_sync(&revive::command(&setup, &root, &state), &state);
    let _serve = revive::serve(&setup, &root, &state);
    let known = fs::read_to_string(state.join("root-id")).unwrap();
    let cut = other.cut("after it was served");
    let mount = cut.mount();
    assert_eq!(fs::read_to_string(mount.at.join("state/root-id")).unwrap(), known);
    mount.unmount();
    cut.check();
}

/// Makes a call whose driver is killed before it syncs `dir` of its root, and
/// serves the root again.
fn killed_and_served_again(live: &mut Live, dir: &str, method: &str, body: &str) {
    let root = live.disk.path("root");
    let _killer = kill_before_sync(live.serve.pid(), &root.join(dir));
    let answer = Client::connect(&live.serve.socket).call(method, body);
    assert_eq!(answer, None, "the driver did not sync {dir}");
    live.serve.wait();
    live.serve_again();
}

/// Leaves a root as a driver does that is killed when its marker has its name and
/// that is not synced.
fn make_root_up_to_its_last_sync(root: &Path, state: &Path) {
    make_root(root);
    let rig = Rig::new(root, state);
    let change = rig.hooked(stop_at_sync_after("renameat"), || rig.driver.check());
    assert!(root.join("dirvol.json").exists(), "{change:?}");
}

/// A hook that stops an operation, as a kill does, before the first sync that
/// follows a rename.
fn stop_at_sync_after(
    rename: &'static str,
) -> impl FnMut(&dirvol::store::Step<'_>) -> io::Result<()> + Send + 'static {
    let mut renamed = false;
    move |step| {
        renamed |= step.op == rename;
        if renamed && step.op == "fsync" { Err(io::Error::other("killed")) } else { Ok(()) }
    }
}
