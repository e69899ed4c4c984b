//! Archives that become volumes: what was acknowledged is there with every byte, and
//! what was cut is there whole or not at all.

use std::fs;
use std::io::Cursor;

use dirvol::volume::Options;

use crate::archived::{archive, import};
use crate::disk::{Disk, FileSystem};
use crate::knife::{Meanwhile, Where, slice};
use crate::ledger::{Change, Ledger, Spec};
use crate::live::Live;
use crate::on_each_file_system;
use crate::revive::examine;
use crate::rig::{Rig, make_root, volume};
use crate::traced::Traced;

on_each_file_system!(
    an_import_that_is_cut_leaves_the_volume_whole_or_absent,
    what_was_imported_is_there_with_every_byte,
);

/// What an archive makes of a volume: more than fits into an inode or a journal.
fn spec() -> Spec {
    Spec { given: Some(0o750), payload: Some("precious ".repeat(20_000)), ..Spec::plain() }
}

fn an_import_that_is_cut_leaves_the_volume_whole_or_absent(fs: FileSystem) {
    let disk = Disk::new(fs);
    make_root(&disk.path("root"));
    let rig = Rig::new(&disk.path("root"), &disk.path("state"));
    rig.open();
    let ledger = Ledger::default();
    let cut = |name: &str, place: Where| {
        let import = || {
            ledger.change(name, Change::Import(spec()), || {
                let mut archive = Cursor::new(archive(&spec()));
                rig.driver.import(&volume(name), &Options::default(), &mut archive).unwrap();
            });
        };
        let slices = slice(&disk, &rig, place, import);
        for cut in &slices.cuts {
            examine(cut, &ledger);
        }
        slices.steps
    };
    let steps = cut("plain", Where::Everywhere);
    assert!(steps > 0, "an operation that is not seen is not cut");
    for step in 0..steps {
        for meanwhile in [Meanwhile::Flush, Meanwhile::NeighbourSyncs] {
            cut(&format!("{meanwhile:?}-{step}"), Where::At(step, meanwhile));
        }
    }
}

fn what_was_imported_is_there_with_every_byte(fs: FileSystem) {
    let live = Live::new(fs);
    let path = live.setup.path("a.tar");
    fs::write(&path, archive(&spec())).unwrap();
    live.ledger.change("a", Change::Import(spec()), || {
        import(&live.serve, "a", &path).unwrap();
    });
    let cut = live.cut("after an import");
    live.examine(&[cut]);
}

#[test]
fn an_import_syncs_the_file_system_before_the_volume_has_its_name() {
    let traced = Traced::opened();
    let spec = Spec { given: Some(0o750), payload: Some("precious".into()), ..Spec::plain() };
    let import = |rig: &Rig, _: &Ledger| {
        let mut archive = Cursor::new(archive(&spec));
        rig.driver.import(&volume("a"), &Options::default(), &mut archive).unwrap();
    };
    let expected = [
        "mkdirat staging/<token>",
        "mkdirat staging/<token>/data",
        "open staging/<token>/data/payload",
        "write staging/<token>/data/payload",
        "fsetattr staging/<token>/data/payload",
        "fsetattr staging/<token>/data",
        "syncfs staging/<token>",
        "fsync staging/<token>/data",
        "write staging/<token>/volume.json",
        "fsync staging/<token>/volume.json",
        "fsync staging/<token>",
        "renameat2 staging/<token>",
        "fsync volumes",
    ];
    assert_eq!(traced.steps(import), expected);
}
