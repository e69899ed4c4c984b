//! The exact order of the steps on the disk. A sync that is left out, or that
//! moves, fails a test here, also one that no file system that is cut needs.

use std::fs;
use std::path::Path;

use dirvol::volume::Options;

use crate::disk::{Disk, FileSystem, run};
use crate::harness::{Setup, temporary};
use crate::ledger::{Ledger, Spec};
use crate::revive;
use crate::rig::{self, Rig, make_root};
use crate::trace;
use crate::traced::Traced;

#[test]
fn opening_a_new_root_makes_all_of_it_durable_before_and_after_the_marker_has_its_name() {
    let traced = Traced::new();
    let expected = [
        "open lock",
        "fchmod .",
        "mkdirat volumes",
        "mkdirat staging",
        "mkdirat trash",
        "unlinkat dirvol.json.new",
        "write dirvol.json.new",
        "fsync dirvol.json.new",
        "fsync .",
        "renameat dirvol.json.new",
        "fsync .",
        "fsync .",
        "fsync volumes",
        "fsync trash",
    ];
    assert_eq!(traced.steps(|rig, _| rig.open()), expected);
}

#[test]
fn opening_a_root_that_is_there_syncs_what_is_read_from_it() {
    let Traced { rig, dir, .. } = Traced::opened();
    drop(rig);
    let traced = Traced::on(dir);
    let expected = ["open lock", "fsync .", "fsync volumes", "fsync trash"];
    assert_eq!(traced.steps(|rig, _| rig.open()), expected);
}

#[test]
fn a_create_syncs_what_it_built_then_renames_it_then_syncs_that() {
    let traced = Traced::opened();
    let expected = [
        "mkdirat staging/<token>",
        "mkdirat staging/<token>/data",
        "fchmod staging/<token>/data",
        "fsync staging/<token>/data",
        "write staging/<token>/volume.json",
        "fsync staging/<token>/volume.json",
        "fsync staging/<token>",
        "renameat2 staging/<token>",
        "fsync volumes",
    ];
    assert_eq!(traced.steps(|rig, ledger| rig.create(ledger, "a", &Spec::plain())), expected);
}

#[test]
fn a_create_with_options_syncs_its_data_directory_after_giving_it_away() {
    let traced = Traced::opened();
    let expected = [
        "mkdirat staging/<token>",
        "mkdirat staging/<token>/data",
        "fchown staging/<token>/data",
        "fchmod staging/<token>/data",
        "fsync staging/<token>/data",
        "write staging/<token>/volume.json",
        "fsync staging/<token>/volume.json",
        "fsync staging/<token>",
        "renameat2 staging/<token>",
        "fsync volumes",
    ];
    let spec = Spec { keeps_nothing: true, ..Spec::owned(1000, 2000, 0o2770) };
    assert_eq!(traced.steps(|rig, ledger| rig.create(ledger, "a", &spec)), expected);
}

#[test]
fn a_clone_writes_everything_to_the_disk_before_its_record_and_its_name() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    traced.rig.write(&traced.ledger, "a", "precious");
    let data = traced.rig.root.join("volumes/a/data");
    fs::create_dir(data.join("sub")).unwrap();
    fs::hard_link(data.join("payload"), data.join("sub/again")).unwrap();
    let expected = [
        "mkdirat staging/<token>",
        "mkdirat staging/<token>/data",
        "open staging/<token>/data/payload",
        "fsetattr staging/<token>/data/payload",
        "mkdirat staging/<token>/data/<token>",
        "linkat staging/<token>/data/<token>/<inode>",
        "mkdirat staging/<token>/data/sub",
        "linkat staging/<token>/data/sub/again",
        "fsetattr staging/<token>/data/sub",
        "unlinkat staging/<token>/data/<token>/<inode>",
        "unlinkat staging/<token>/data/<token>",
        "fsetattr staging/<token>/data",
        "syncfs staging/<token>",
        "fsync staging/<token>/data",
        "write staging/<token>/volume.json",
        "fsync staging/<token>/volume.json",
        "fsync staging/<token>",
        "renameat2 staging/<token>",
        "fsync volumes",
    ];
    assert_eq!(traced.steps(|rig, ledger| rig.clone(ledger, "a", "b")), expected);
}

#[test]
fn a_create_of_what_is_there_syncs_it_whoever_put_it_there() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    let again = traced.steps(|rig, ledger| rig.create(ledger, "a", &Spec::plain()));
    assert_eq!(again, ["fsync volumes"]);
}

#[test]
fn a_remove_syncs_the_new_name_before_the_old_one() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    let expected = ["renameat2 volumes/a", "fsync trash", "fsync volumes"];
    assert_eq!(traced.steps(|rig, ledger| rig.remove(ledger, "a")), expected);
}

#[test]
fn a_remove_for_good_syncs_before_it_is_answered_and_deletes_afterwards() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::keeping_nothing());
    traced.rig.write(&traced.ledger, "a", "scratch");
    let expected = ["renameat2 volumes/a", "fsync volumes"];
    assert_eq!(traced.steps(|rig, ledger| rig.remove(ledger, "a")), expected);
    assert_eq!(traced.steps(|rig, ledger| rig.collect(ledger, "a")), DELETING);
}

#[test]
fn a_purge_syncs_before_it_deletes_anything() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    traced.rig.write(&traced.ledger, "a", "precious once");
    traced.rig.remove(&traced.ledger, "a");
    let mut expected = vec!["renameat2 trash/a~<time>~<token>", "fsync trash"];
    expected.extend(DELETING);
    assert_eq!(traced.steps(|rig, ledger| rig.collect(ledger, "a")), expected);
}

#[test]
fn a_set_syncs_the_owner_then_the_record_and_then_its_name() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    let expected = [
        "fchmod volumes/a/data",
        "fsync volumes/a/data",
        "unlinkat volumes/a/volume.json.new",
        "write volumes/a/volume.json.new",
        "fsync volumes/a/volume.json.new",
        "renameat volumes/a/volume.json.new",
        "fsync volumes/a",
    ];
    assert_eq!(traced.steps(|rig, ledger| rig.set_mode(ledger, "a", 0o700)), expected);
    // What is not a matter of the data directory leaves it alone.
    let protect = Options { protect: Some(true), ..Options::default() };
    let set = |rig: &Rig, _: &Ledger| {
        rig.driver.set(&rig::volume("a"), &protect).unwrap();
    };
    assert_eq!(traced.steps(set), expected[2..]);
}

#[test]
fn a_restore_syncs_the_new_name_before_the_old_one() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    traced.rig.remove(&traced.ledger, "a");
    let expected = ["renameat2 trash/a~<time>~<token>", "fsync volumes", "fsync trash"];
    assert_eq!(traced.steps(|rig, ledger| rig.restore(ledger, "a")), expected);
}

#[test]
fn a_restore_under_another_name_has_its_record_durable_before_it_is_there() {
    let traced = Traced::opened();
    traced.rig.create(&traced.ledger, "a", &Spec::plain());
    traced.rig.remove(&traced.ledger, "a");
    let expected = [
        "unlinkat trash/a~<time>~<token>/volume.json.new",
        "write trash/a~<time>~<token>/volume.json.new",
        "fsync trash/a~<time>~<token>/volume.json.new",
        "renameat trash/a~<time>~<token>/volume.json.new",
        "fsync trash/a~<time>~<token>",
        "renameat2 trash/a~<time>~<token>",
        "fsync volumes",
        "fsync trash",
    ];
    let restore =
        |rig: &Rig, _: &Ledger| drop(rig.driver.restore("a", Some(rig::volume("b"))).unwrap());
    assert_eq!(traced.steps(restore), expected);
}

/// Deleting a tree with one file in its data directory. The order is that of
/// [`in_order`], but that a directory is deleted when it is empty.
const DELETING: [&str; 4] = [
    "unlinkat staging/<token>/volume.json",
    "unlinkat staging/<token>/data/payload",
    "unlinkat staging/<token>/data",
    "unlinkat staging/<token>",
];

#[test]
fn init_syncs_the_root_and_the_directory_that_it_lies_in() {
    let dir = temporary();
    let output = dir.path().join("trace");
    let init = revive::init(&dir.path().join("root"));
    run(&mut trace::tracing(&init, &output));
    let expected = [
        "fsync ",
        "fsync root/dirvol.json.new",
        "fsync root",
        "renameat root/dirvol.json.new",
        "fsync root",
    ];
    assert_eq!(trace::calls(&output, dir.path()), expected);
    let again = dir.path().join("trace-again");
    run(&mut trace::tracing(&init, &again));
    assert_eq!(trace::calls(&again, dir.path()), ["fsync root"]);
}

#[test]
fn the_first_serve_of_a_root_notes_its_id_durably_when_the_root_is_durable() {
    let dir = temporary();
    let (root, state) = (dir.path().join("root"), dir.path().join("state"));
    make_root(&root);
    let expected = [
        "fsync state",
        "fsync root/dirvol.json.new",
        "fsync root",
        "renameat root/dirvol.json.new",
        "fsync root",
        "fsync root",
        "fsync root/volumes",
        "fsync root/trash",
        "fsync state/root-id.new",
        "renameat state/root-id.new",
        "fsync state",
    ];
    assert_eq!(calls_of_serving(dir.path(), &root, &state), expected);
    // What is read from either may have been left by one that was killed.
    let expected = ["fsync root", "fsync root/volumes", "fsync root/trash", "fsync state"];
    assert_eq!(calls_of_serving(dir.path(), &root, &state), expected);
}

/// What is made durable by a driver that serves a root, and ends.
fn calls_of_serving(top: &Path, root: &Path, state: &Path) -> Vec<String> {
    let setup = Setup::new();
    let output = setup.path("trace");
    let serve = setup.start_with(trace::tracing(&revive::command(&setup, root, state), &output));
    serve.wait_available();
    serve.stop();
    trace::calls(&output, top)
}

/// On btrfs a data directory is a subvolume: it is made and deleted by another call, and
/// its deletion is synced.
#[test]
fn on_btrfs_a_subvolume_is_made_and_its_deletion_is_written_before_its_directory_goes() {
    let disk = Disk::new(FileSystem::Btrfs);
    make_root(&disk.path("root"));
    let rig = Rig::new(&disk.path("root"), &disk.path("state"));
    let traced = Traced::of(rig, temporary());
    traced.rig.open();
    let expected = [
        "mkdirat staging/<token>",
        "BTRFS_IOC_SUBVOL_CREATE_V2 staging/<token>/data",
        "fchown staging/<token>/data",
        "fchmod staging/<token>/data",
        "fsync staging/<token>/data",
        "write staging/<token>/volume.json",
        "fsync staging/<token>/volume.json",
        "fsync staging/<token>",
        "renameat2 staging/<token>",
        "fsync volumes",
    ];
    let spec = Spec { keeps_nothing: true, ..Spec::owned(1000, 2000, 0o2770) };
    assert_eq!(traced.steps(|rig, ledger| rig.create(ledger, "a", &spec)), expected);
    traced.rig.write(&traced.ledger, "a", "scratch");
    let expected = ["renameat2 volumes/a", "fsync volumes"];
    assert_eq!(traced.steps(|rig, ledger| rig.remove(ledger, "a")), expected);
    let mut deleting = traced.steps(|rig, ledger| rig.collect(ledger, "a"));
    let at = |step: &str| deleting.iter().position(|made| made == step);
    // Between the two, or a cut may leave a log that cannot be replayed.
    assert!(at("BTRFS_IOC_SNAP_DESTROY staging/<token>/data") < at("syncfs staging/<token>"));
    assert!(at("syncfs staging/<token>") < at("unlinkat staging/<token>"));
    deleting.sort();
    let expected = [
        "BTRFS_IOC_SNAP_DESTROY staging/<token>/data",
        "syncfs staging/<token>",
        "unlinkat staging/<token>",
        "unlinkat staging/<token>/volume.json",
    ];
    assert_eq!(deleting, expected);
}
