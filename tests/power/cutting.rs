//! The record of a load, cut at many places.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::chance::Chance;
use crate::clients::work;
use crate::disk::{Cut, Disk, FileSystem, run};
use crate::live::Live;
use crate::mapper::Mapped;
use crate::recorded::Record;
use crate::revive::examine;

const CLIENTS: usize = 4;
/// What each of them changes.
const CHANGES: usize = 30;

/// Where the writes are recorded, and where the changes of a cut go.
const LOG: &str = "/dev/vdb";
const CHANGED: &str = "/dev/vdc";

/// The file systems with their disks: one that is worked on, and one that is as that was
/// at first.
const DISKS: [(FileSystem, &str, &str); 3] = [
    (FileSystem::Xfs, "/dev/vdd", "/dev/vde"),
    (FileSystem::Ext4, "/dev/vdf", "/dev/vdg"),
    (FileSystem::Btrfs, "/dev/vdh", "/dev/vdi"),
];

#[test]
fn what_was_acknowledged_is_there_wherever_the_record_ends() {
    let cuts: usize = setting("DIRVOL_CUTS");
    let seed: usize = setting("DIRVOL_SEED");
    let mut failed = 0;
    for (number, disks) in DISKS.into_iter().enumerate() {
        let share = cuts / DISKS.len() + usize::from(number < cuts % DISKS.len());
        failed += cut_one(disks, share, seed * DISKS.len() + number);
    }
    assert_eq!(failed, 0, "cuts that failed");
}

/// Cuts one of them so many times, and returns how many of the cuts failed.
fn cut_one((fs, live, first): (FileSystem, &str, &str), share: usize, seed: usize) -> usize {
    let mut chance = Chance(seed as u64);
    let recorded = Mapped::recorded("recorded", Path::new(live), Path::new(LOG));
    let marks = recorded.marks();
    let mut live = Live::on(Disk::of_device(fs, &recorded.path()));
    let marker = fs::read_to_string(live.disk.path("root/dirvol.json")).unwrap();
    // Before this there is nothing that was acknowledged.
    marks.put();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let chance = Chance(chance.below(usize::MAX) as u64);
            let (live, marks) = (&live, &marks);
            scope.spawn(move || work(client, CHANGES, live, marks, chance));
        }
    });
    live.stop();
    let Live { serve, setup: _setup, disk, ledger } = live;
    drop((serve, disk));
    drop(recorded);
    let (record, marks) = (Record::read(Path::new(LOG)), marks.all());
    let flushes = record.entries.iter().filter(|entry| entry.is_flush()).count();
    let target = File::options().read(true).write(true).open(first).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut from, mut sick, mut wrong) = (0, 0, 0);
    for place in places(&record, share, &mut chance) {
        record.replay(from..place, &target);
        from = place;
        forget();
        let snapshot = Mapped::snapshot("cut", Path::new(first), Path::new(CHANGED));
        let when = format!("after {place} entries of {}", record.entries.len());
        let between = around(&record, place, &marks);
        let cut =
            Cut::of_device((fs, &snapshot.path()), dir.path(), &marker, when.clone(), between);
        // A mount replays the journal, without which no check is of use.
        let check = || {
            cut.mount().unmount();
            cut.check();
        };
        sick += usize::from(told(fs, &when, check));
        forget();
        let judge = || examine(&cut, &ledger);
        wrong += usize::from(told(fs, &when, judge));
    }
    forget();
    println!("cuts: {} {share} {flushes} {sick} {wrong}", fs.name());
    sick + wrong
}

/// Where the record is cut, in order: half of the places are right after an
/// acknowledgement, a quarter after a flush, and a quarter anywhere.
fn places(record: &Record, share: usize, chance: &mut Chance) -> Vec<usize> {
    let entries = &record.entries;
    let start = entries.iter().position(|entry| entry.mark.is_some()).unwrap();
    let those = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (start..entries.len()).filter(|index| wanted(*index)).map(|index| index + 1).collect()
    };
    let marks = those(&|index| entries[index].mark.is_some());
    let flushes = those(&|index| entries[index].is_flush());
    let all = those(&|_| true);
    assert!(marks.len() > share && flushes.len() > share, "a record that is too short");
    let mut places = BTreeSet::new();
    while places.len() < share {
        let kind = [&marks, &flushes, &marks, &all][places.len() % 4];
        places.insert(kind[chance.below(kind.len())]);
    }
    places.into_iter().collect()
}

/// The moments between which a record had so many entries.
fn around(record: &Record, place: usize, marks: &[(Instant, Instant)]) -> (Instant, Instant) {
    let mark = |entry: &crate::recorded::Entry| entry.mark.map(|number| marks[number]);
    let (before, after) = record.entries.split_at(place);
    let began = before.iter().rev().find_map(mark).expect("there is a mark at the start").0;
    (began, after.iter().find_map(mark).map_or_else(Instant::now, |mark| mark.1))
}

/// Says what a cut failed of, and whether it did.
fn told(fs: FileSystem, when: &str, judge: impl FnOnce()) -> bool {
    let failed = catch_unwind(AssertUnwindSafe(judge)).is_err();
    if failed {
        println!("cuts: {} failed {when}", fs.name());
    }
    failed
}

/// Has the kernel forget the devices with btrfs that it has seen: it takes one for
/// another that has the same UUID.
fn forget() {
    run(Command::new("btrfs").args(["device", "scan", "--forget"]));
}

fn setting(name: &str) -> usize {
    std::env::var(name).unwrap().parse().unwrap()
}
