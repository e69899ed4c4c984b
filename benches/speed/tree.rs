//! Roots with many volumes, made at once; and what a durable Create and Remove cost at
//! least: their system calls, made by this program in the same directories.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::fsync;

use crate::harness::Setup;

/// The volumes' number in a root.
pub const SIZES: [usize; 4] = [0, 1_000, 10_000, 100_000];

fn record(name: &str) -> String {
    format!(
        "{{\"format\":1,\"name\":\"{name}\",\"created\":\"2026-01-01T00:00:00Z\",\"options\":{{}}}}\n"
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

/// The directories of a root, held open as a driver holds them.
pub struct Bare {
    staging: OwnedFd,
    volumes: OwnedFd,
    trash: OwnedFd,
    seen: OwnedFd,
}

impl Bare {
    pub fn new(setup: &Setup) -> Self {
        let held = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        Self {
            staging: held(&setup.root().join("staging")),
            volumes: held(&setup.root().join("volumes")),
            trash: held(&setup.root().join("trash")),
            seen: held(&setup.state().join("seen")),
        }
    }

    /// The steps of Create in the table of the crash protocol, in their order, and nothing
    /// else.
    pub fn create(&self, name: &str) {
        let staged = made(&self.staging, name);
        let data = made(&staged, "data");
        fchmod(&data, Mode::from_bits_truncate(0o755)).unwrap();
        fsync(&data).unwrap();
        let mut file = File::from(new_file(&staged, "volume.json"));
        file.write_all(record(name).as_bytes()).unwrap();
        fsync(&file).unwrap();
        fsync(&staged).unwrap();
        new_file(&self.seen, name);
        renamed(&self.staging, name, &self.volumes, name);
        fsync(&self.volumes).unwrap();
    }

    /// The steps of Remove in that table.
    pub fn remove(&self, name: &str) {
        // As an entry is named that was removed in 2096, and is not purged here.
        let entry = format!("{name}~3976214400~0000000000000000");
        renamed(&self.volumes, name, &self.trash, &entry);
        fsync(&self.trash).unwrap();
        fsync(&self.volumes).unwrap();
    }
}

fn made(at: impl AsFd, name: &str) -> OwnedFd {
    mkdirat(&at, name, Mode::S_IRWXU).unwrap();
    openat(&at, name, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

fn new_file(at: impl AsFd, name: &str) -> OwnedFd {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).unwrap()
}

fn renamed(from: impl AsFd, name: &str, to: impl AsFd, new: &str) {
    renameat2(from, name, to, new, RenameFlags::RENAME_NOREPLACE).unwrap();
}
