//! Cuts while a directory becomes a root, and after it did.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::disk::{Disk, FileSystem, run};
use crate::harness::{Setup, temporary};
use crate::knife::{Meanwhile, Slices, Where, slice};
use crate::on_each_file_system;
use crate::revive::{self, Revived};
use crate::rig::{Rig, make_root};

on_each_file_system!(
    a_root_that_was_served_is_that_root,
    a_root_that_init_named_is_that_root,
    the_id_of_a_root_that_was_served_is_known,
    a_root_that_is_cut_while_it_is_made_can_be_served,
    a_root_that_is_cut_while_it_is_made_can_be_served_by_a_driver_that_never_saw_it,
);

fn a_root_that_was_served_is_that_root(fs: FileSystem) {
    let (disk, elsewhere) = (Disk::new(fs), temporary());
    let (root, state) = (disk.path("root"), elsewhere.path().join("state"));
    make_root(&root);
    let setup = Setup::new();
    let _serve = revive::serve(&setup, &root, &state);
    let marker = fs::read_to_string(root.join("dirvol.json")).unwrap();
    let cut = disk.cut("after it was served");
    let state = copy(&state);
    Revived::with_state(&cut, "root", state.path().join("state")).expect_root(&marker);
}

fn a_root_that_init_named_is_that_root(fs: FileSystem) {
    for path in ["root", "one/two/root"] {
        let disk = Disk::new(fs);
        let root = disk.path(path);
        let said = run(&mut revive::init(&root));
        let marker = fs::read_to_string(root.join("dirvol.json")).unwrap();
        let id = serde_json::from_str::<Value>(&marker).unwrap()["id"].clone();
        assert_eq!(said, format!("{} is root {}\n", root.display(), id.as_str().unwrap()));
        let cut = disk.cut("after init");
        Revived::new(&cut, path, "state").expect_root(&marker);
    }
}

fn the_id_of_a_root_that_was_served_is_known(fs: FileSystem) {
    let (disk, elsewhere) = (Disk::new(fs), temporary());
    let root = elsewhere.path().join("root");
    make_root(&root);
    let setup = Setup::new();
    let _serve = revive::serve(&setup, &root, &disk.path("state"));
    let known = fs::read_to_string(disk.path("state/root-id")).unwrap();
    let cut = disk.cut("after it was served");
    let mount = cut.mount();
    assert_eq!(fs::read_to_string(mount.at.join("state/root-id")).unwrap(), known);
    mount.unmount();
    cut.check();
}

fn a_root_that_is_cut_while_it_is_made_can_be_served(fs: FileSystem) {
    let disk = Disk::new(fs);
    let state = |name: &str| format!("state-{name}");
    let cut = |name: &str, place: Where| {
        let slices = make_and_slice(&disk, name, &disk.path(&state(name)), place);
        for cut in &slices.cuts {
            Revived::new(cut, name, &state(name)).expect_sound();
        }
        slices.steps
    };
    for step in 0..cut("plain", Where::Everywhere) {
        let place = Where::At(step, Meanwhile::NeighbourSyncs);
        cut(&format!("neighbour-{step}"), place);
    }
}

fn a_root_that_is_cut_while_it_is_made_can_be_served_by_a_driver_that_never_saw_it(fs: FileSystem) {
    let (disk, elsewhere) = (Disk::new(fs), temporary());
    let state = elsewhere.path().join("state");
    for cut in &make_and_slice(&disk, "root", &state, Where::Everywhere).cuts {
        let state = temporary();
        Revived::with_state(cut, "root", state.path().to_owned()).expect_sound();
    }
}

/// Makes a root in a directory that is on the disk, and cuts it meanwhile.
fn make_and_slice(disk: &Arc<Disk>, name: &str, state: &Path, place: Where) -> Slices {
    let root = disk.path(name);
    make_root(&root);
    fs::create_dir(state).unwrap();
    disk.flush();
    let rig = Rig::new(&root, state);
    slice(disk, &rig, place, || rig.open())
}

/// Copies a state directory, as that of a disk which was not cut.
fn copy(state: &Path) -> TempDir {
    let copied = temporary();
    run(Command::new("cp").arg("-a").arg(state).arg(copied.path().join("state")));
    copied
}
