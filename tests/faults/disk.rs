//! A small disk of a real file system, which can be filled and can fail.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::harness::eventually;

/// The file systems that volumes commonly lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    /// How small a disk of it may be.
    pub fn size(self) -> u64 {
        match self {
            Self::Ext4 => 64 << 20,
            // What mkfs.xfs accepts.
            Self::Xfs => 300 << 20,
            Self::Btrfs => 256 << 20,
        }
    }

    fn mkfs(self) -> Command {
        let (mkfs, options): (_, &[&str]) = match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0", "-e", "remount-ro"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f"]),
        };
        let mut command = Command::new(mkfs);
        command.args(options);
        command
    }
}

/// An image of a file system, and where it is mounted. The mounts are the test's own,
/// and go with it.
pub struct Disk {
    pub fs: FileSystem,
    pub at: PathBuf,
    image: PathBuf,
}

impl Disk {
    /// Makes a file system in the file `image`, and mounts it at `at`.
    pub fn new(fs: FileSystem, image: PathBuf, at: PathBuf) -> Self {
        File::create_new(&image).unwrap().set_len(fs.size()).unwrap();
        run(fs.mkfs().arg(&image));
        fs::create_dir_all(&at).unwrap();
        let disk = Self { fs, at, image };
        disk.mount();
        disk
    }

    pub fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.at]));
    }

    /// The loop device that it is mounted from: `loop3`.
    pub fn device(&self) -> String {
        let source = run(Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(&self.at));
        source.trim().trim_start_matches("/dev/").to_owned()
    }

    /// Takes it from its place at once, and waits until nobody holds it any more.
    pub fn take_away(&self) {
        let device = self.device();
        run(Command::new("umount").arg("--lazy").arg(&self.at));
        let backing = format!("/sys/block/{device}/loop/backing_file");
        eventually("the disk is let go", || (!Path::new(&backing).exists()).then_some(()));
    }

    /// Mends it, while it is not mounted, as is done at a boot.
    pub fn mend(&self) {
        if self.fs == FileSystem::Ext4 {
            // It exits with 1 where it mended something.
            let mended = Command::new("e2fsck").arg("-fy").arg(&self.image).output().unwrap();
            assert!(matches!(mended.status.code(), Some(0 | 1)), "{mended:?}");
        }
    }

    /// Checks it, while it is not mounted, with the file system's own tool.
    pub fn check(&self) {
        let check: &[&str] = match self.fs {
            FileSystem::Ext4 => &["e2fsck", "-fn"],
            FileSystem::Xfs => &["xfs_repair", "-n"],
            FileSystem::Btrfs => &["btrfs", "check", "--readonly"],
        };
        run(Command::new(check[0]).args(&check[1..]).arg(&self.image));
    }

    /// The share of free space, in percent.
    pub fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.at).unwrap();
        stat.blocks_available() * 100 / stat.blocks()
    }
}

/// Fills the disk with one new file until there is room for no block.
pub fn fill(file: &Path) {
    let bytes = File::create_new(file).unwrap();
    let (mut at, mut step) = (0, 16 << 20);
    while step >= 4096 {
        match fallocate(bytes.as_fd(), FallocateFlags::empty(), at, step) {
            Ok(()) => at += step,
            Err(Errno::ENOSPC) => step /= 2,
            Err(errno) => panic!("{}: {errno}", file.display()),
        }
    }
    bytes.sync_all().unwrap();
}

/// Takes an eighth of a disk of `fs` for a file below `dir`.
pub fn take_an_eighth(fs: FileSystem, dir: &Path) {
    let bytes = File::create(dir.join("bytes")).unwrap();
    let size = i64::try_from(fs.size() / 8).unwrap();
    fallocate(bytes.as_fd(), FallocateFlags::empty(), 0, size).unwrap();
}

/// Makes files below `dir` until there is room for none.
pub fn fill_with_files(dir: &Path) {
    let mut number = 0;
    // Some keep back for a moment what they turn out not to need.
    loop {
        let before = number;
        for size in [2000, 0] {
            while write(&dir.join(format!("{number:0100}")), size).is_ok() {
                number += 1;
            }
        }
        if number == before {
            break;
        }
        nix::unistd::syncfs(File::open(dir).unwrap()).unwrap();
    }
}

fn write(path: &Path, size: usize) -> std::io::Result<()> {
    File::create(path)?.write_all(&vec![1; size])
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (shown(&output.stdout), shown(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}
