//! Roots with many volumes, made at once; and what a durable Create and Remove cost at
//! least: their system calls, made by this program in the same directories.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::harness::Setup;

/// The volumes' number in a root.
pub const SIZES: [usize; 4] = [0, 1_000, 10_000, 100_000];

fn record(name: &str) -> String {
    format!(
        "{{\"format\":1,\"name\":\"{name}\",\"created\":\"2026-01-01T00:00:00Z\",\"options\":{{}}}}"
    )
}

/// Adds volumes to a root that no driver serves, and to its state directory. Nothing of
/// it is synced before all is there.
pub fn fill(setup: &Setup, from: usize, to: usize) {
    for number in from..to {
        let name = format!("volume-{number}");
        let volume = setup.root().join("volumes").join(&name);
        fs::create_dir_all(volume.join("data")).unwrap();
        fs::write(volume.join("volume.json"), record(&name)).unwrap();
        File::create(setup.state().join("seen").join(&name)).unwrap();
    }
    let root = File::open(setup.root()).unwrap();
    nix::unistd::syncfs(root).unwrap();
}

fn synced(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// The steps of a durable Create, in their order, and nothing else.
pub fn bare_create(setup: &Setup, name: &str) {
    let staging = setup.root().join("staging").join(name);
    fs::create_dir(&staging).unwrap();
    fs::create_dir(staging.join("data")).unwrap();
    synced(&staging.join("data"));
    let path = staging.join("volume.json");
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(record(name).as_bytes()).unwrap();
    file.sync_all().unwrap();
    synced(&staging);
    File::create(setup.state().join("seen").join(name)).unwrap();
    rename(&staging, &setup.root().join("volumes").join(name));
    synced(&setup.root().join("volumes"));
}

/// The steps of a Remove to the trash.
pub fn bare_remove(setup: &Setup, name: &str) {
    let trash = setup.root().join("trash");
    // As an entry is named that was removed in 2096, and is not purged here.
    let entry = format!("{name}~3976214400~0000000000000000");
    rename(&setup.root().join("volumes").join(name), &trash.join(entry));
    synced(&trash);
    synced(&setup.root().join("volumes"));
    fs::remove_file(setup.state().join("seen").join(name)).unwrap();
}

fn rename(from: &Path, to: &Path) {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE).unwrap();
}
