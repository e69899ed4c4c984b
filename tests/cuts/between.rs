//! Cuts in the middle of an operation: before each of its steps, with and
//! without something else that makes the file system write at that moment.

use crate::disk::{Disk, FileSystem};
use crate::knife::{Meanwhile, Where, slice};
use crate::ledger::{Ledger, Spec};
use crate::on_each_file_system;
use crate::revive::examine;
use crate::rig::{Rig, make_root};

on_each_file_system!(
    a_create_that_is_cut_leaves_the_volume_whole_or_absent,
    a_create_with_options_that_is_cut_leaves_the_volume_whole_or_absent,
    a_remove_that_is_cut_leaves_the_volume_or_its_whole_entry,
    a_remove_for_good_that_is_cut_leaves_the_volume_whole_or_absent,
    a_purge_that_is_cut_leaves_the_entry_whole_or_absent,
    a_set_that_is_cut_leaves_a_record_that_is_old_or_new,
    a_restore_that_is_cut_leaves_the_whole_entry_or_the_volume,
    a_clone_that_is_cut_leaves_the_volume_whole_or_absent,
);

/// What is done to a name: before, and under the knife.
struct Operation {
    prepare: fn(&Rig, &Ledger, &str),
    run: fn(&Rig, &Ledger, &str),
}

fn a_create_that_is_cut_leaves_the_volume_whole_or_absent(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |_, _, _| {},
            run: |rig, ledger, name| rig.create(ledger, name, &Spec::plain()),
        },
    );
}

fn a_create_with_options_that_is_cut_leaves_the_volume_whole_or_absent(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |_, _, _| {},
            run: |rig, ledger, name| rig.create(ledger, name, &Spec::owned(1000, 2000, 0o2770)),
        },
    );
}

fn a_remove_that_is_cut_leaves_the_volume_or_its_whole_entry(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |rig, ledger, name| {
                rig.create(ledger, name, &Spec::owned(1000, 2000, 0o2770));
                rig.write(ledger, name, "precious");
            },
            run: |rig, ledger, name| rig.remove(ledger, name),
        },
    );
}

fn a_remove_for_good_that_is_cut_leaves_the_volume_whole_or_absent(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |rig, ledger, name| {
                rig.create(ledger, name, &Spec::keeping_nothing());
                rig.write(ledger, name, "scratch");
            },
            run: |rig, ledger, name| {
                rig.remove(ledger, name);
                rig.collect(ledger, name);
            },
        },
    );
}

fn a_purge_that_is_cut_leaves_the_entry_whole_or_absent(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |rig, ledger, name| {
                rig.create(ledger, name, &Spec::plain());
                rig.write(ledger, name, "precious once");
                rig.remove(ledger, name);
            },
            run: |rig, ledger, name| rig.collect(ledger, name),
        },
    );
}

fn a_set_that_is_cut_leaves_a_record_that_is_old_or_new(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |rig, ledger, name| {
                rig.create(ledger, name, &Spec::owned(1000, 2000, 0o2770));
                rig.write(ledger, name, "precious");
            },
            run: |rig, ledger, name| rig.set_mode(ledger, name, 0o2750),
        },
    );
}

fn a_restore_that_is_cut_leaves_the_whole_entry_or_the_volume(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |rig, ledger, name| {
                rig.create(ledger, name, &Spec::owned(1000, 2000, 0o2770));
                rig.write(ledger, name, "precious");
                rig.remove(ledger, name);
            },
            run: |rig, ledger, name| rig.restore(ledger, name),
        },
    );
}

fn a_clone_that_is_cut_leaves_the_volume_whole_or_absent(fs: FileSystem) {
    cut_everywhere(
        fs,
        &Operation {
            prepare: |rig, ledger, name| {
                let original = format!("of-{name}");
                rig.create(ledger, &original, &Spec::owned(1000, 2000, 0o2770));
                // More than a file system keeps beside a file's name.
                rig.write(ledger, &original, &"precious ".repeat(5000));
            },
            run: |rig, ledger, name| rig.clone(ledger, &format!("of-{name}"), name),
        },
    );
}

/// Cuts an operation before each of its steps; then again, on a name of its own
/// each time, with something else at one of them.
fn cut_everywhere(fs: FileSystem, operation: &Operation) {
    let disk = Disk::new(fs);
    make_root(&disk.path("root"));
    let rig = Rig::new(&disk.path("root"), &disk.path("state"));
    rig.open();
    let ledger = Ledger::default();
    let cut = |name: &str, place: Where| {
        (operation.prepare)(&rig, &ledger, name);
        let slices = slice(&disk, &rig, place, || (operation.run)(&rig, &ledger, name));
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
