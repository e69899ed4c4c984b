//! A disk of the bench's own: it goes as a whole, and not one volume after the other.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::harness::{Setup, project, temporary};

/// An ext4 in an image in `target/`, on a loop device, mounted where only this process
/// and those that it starts see it. Dropping it unmounts it, and nothing of it is left.
pub struct LoopDisk {
    at: PathBuf,
    _dir: TempDir,
}

/// Of all this, two gigabytes are written; the image is sparse.
const SIZE: u64 = 16 << 30;
/// A volume has three, and its name one in the state directory.
const INODES: &str = "1000000";

impl LoopDisk {
    /// Makes the disk. The thread gets a mount table of its own, so it must be the one
    /// that starts the processes that work on it.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("the bench needs root, to mount its disk");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let dir = temporary();
        let at = dir.path().to_path_buf();
        let images = tempfile::Builder::new().prefix("bench-").tempdir_in(project("target"));
        let images = images.unwrap();
        let image = images.path().join("image");
        File::create_new(&image).unwrap().set_len(SIZE).unwrap();
        // The kernel shall not write the tables of inodes while something is measured.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-N", INODES, "-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image));
        run(Command::new("mount").args(["-o", "loop,noatime"]).args([&image, &at]));
        // From here on the mount alone holds the image, however this process ends.
        fs::remove_file(&image).unwrap();
        Self { at, _dir: dir }
    }

    /// A driver's directory on this disk, which goes with it.
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::new().log_level("info");
        setup.dir = tempfile::Builder::new().disable_cleanup(true).tempdir_in(&self.at).unwrap();
        setup
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there holds up nothing but the image's end.
        if let Err(error) = umount2(&self.at, MntFlags::MNT_DETACH) {
            eprintln!("{} stays mounted until this ends: {error}", self.at.display());
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{complaint}", output.status);
}
