//! A disk whose power can be cut.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::harness::{self, DEADLINE, eventually};

/// The file systems that volumes commonly lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

/// A file system in an image on a loop device, mounted. The image lies in another
/// file system, of xfs, which can copy a file at one moment and without copying
/// a byte of it, however it is being written to.
pub struct Disk {
    pub fs: FileSystem,
    // Fields are dropped in this order, the inner mount before the outer.
    live: Mount,
    outer: Option<Mount>,
    dir: TempDir,
    copies: AtomicUsize,
}

/// What was on a disk at one moment.
pub struct Cut {
    pub fs: FileSystem,
    /// What said, at that moment, which root it is.
    pub marker: String,
    /// Where in the test it was, for messages.
    pub when: String,
    /// The copy was made between these two.
    pub began: Instant,
    pub ended: Instant,
    image: PathBuf,
    dir: PathBuf,
    /// The copy lies in a file system of this disk; a device lies in none.
    disk: Option<Arc<Disk>>,
}

/// A mounted image. Dropping it unmounts it, which detaches its loop device.
pub struct Mount {
    pub at: PathBuf,
    mounted: bool,
}

/// Far more than any test writes; the images are sparse.
const OUTER_SIZE: u64 = 16 << 30;
/// Below about 300 MB, mkfs.xfs refuses.
const INNER_SIZE: u64 = 1 << 30;

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    fn make(self, image: &Path) {
        let options: &[&str] = match self {
            Self::Ext4 => &["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
            Self::Xfs | Self::Btrfs => &["-q"],
        };
        run(Command::new(format!("mkfs.{}", self.name())).args(options).arg(image));
    }

    /// The options of the mount that is worked on. What the kernel writes by
    /// itself every few seconds is put off, for it would hide a missing sync from
    /// most cuts; and so would the times of reading, which make a directory that
    /// was only read worth syncing.
    fn live_options(self) -> &'static str {
        match self {
            Self::Ext4 => "loop,noatime,commit=3600",
            Self::Xfs => "loop,noatime",
            Self::Btrfs => "loop,noatime,commit=300",
        }
    }

    /// The options of a copy's mount: its original is mounted beside it, and has
    /// the same UUID.
    fn copy_options(self) -> &'static str {
        match self {
            Self::Xfs => "loop,nouuid",
            // btrfs gives a second device of the same UUID a temporary one, from
            // Linux 6.7 on.
            Self::Ext4 | Self::Btrfs => "loop",
        }
    }

    /// Checks an image that is not mounted with the file system's own tool.
    fn check(self, image: &Path) {
        let check: &[&str] = match self {
            Self::Ext4 => &["e2fsck", "-fn"],
            Self::Xfs => &["xfs_repair", "-n"],
            Self::Btrfs => &["btrfs", "check", "--readonly"],
        };
        run(Command::new(check[0]).args(&check[1..]).arg(image));
    }
}

impl Disk {
    pub fn new(fs: FileSystem) -> Arc<Self> {
        keep_mounts_to_ourselves();
        let dir = directory();
        let outer = dir.path().join("outer.img");
        sparse(&outer, OUTER_SIZE);
        run(Command::new("mkfs.xfs").arg("-q").arg(&outer));
        // Discarded blocks are given back to whatever the outer image lies on.
        let outer = Mount::new(&outer, dir.path().join("outer"), "loop,discard");
        let inner = outer.at.join("inner.img");
        sparse(&inner, INNER_SIZE);
        fs.make(&inner);
        let live = Mount::new(&inner, dir.path().join("live"), fs.live_options());
        let (outer, copies) = (Some(outer), AtomicUsize::new(0));
        Arc::new(Self { fs, live, outer, dir, copies })
    }

    /// A device with a file system on it. What is cut of it is made elsewhere.
    #[allow(dead_code, reason = "each tier uses its part of this")]
    pub fn of_device(fs: FileSystem, device: &Path) -> Arc<Self> {
        keep_mounts_to_ourselves();
        let dir = directory();
        let live = Mount::new(device, dir.path().join("live"), fs.live_options());
        Arc::new(Self { fs, live, outer: None, dir, copies: AtomicUsize::new(0) })
    }

    /// A path in the file system that is worked on.
    pub fn path(&self, name: &str) -> PathBuf {
        self.live.at.join(name)
    }

    /// A directory in the file system that is worked on.
    #[allow(dead_code, reason = "each tier uses its part of this")]
    pub fn directory(&self) -> TempDir {
        tempfile::tempdir_in(&self.live.at).unwrap()
    }

    /// Copies what is on the disk now, as a cut of its power would leave it.
    pub fn cut(self: &Arc<Self>, when: impl Into<String>) -> Cut {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        let outer = &self.outer.as_ref().expect("a device is not cut by copying it").at;
        let (inner, image) = (outer.join("inner.img"), outer.join(format!("cut-{number}.img")));
        let began = Instant::now();
        run(Command::new("cp").arg("--reflink=always").args([&inner, &image]));
        let ended = Instant::now();
        // Some cuts are made before there is a root.
        let marker = fs::read_to_string(self.path("root/dirvol.json")).unwrap_or_default();
        let (fs, when, dir) = (self.fs, when.into(), self.dir.path().to_path_buf());
        Cut { fs, marker, when, began, ended, image, dir, disk: Some(Arc::clone(self)) }
    }

    /// Writes everything to the disk, as the kernel does at moments of its own.
    pub fn flush(&self) {
        nix::unistd::syncfs(File::open(&self.live.at).unwrap()).unwrap();
    }

    /// Writes one file and syncs it, as a neighbour on the same disk does.
    pub fn neighbour_syncs(&self) {
        let dir = self.path("neighbour");
        fs::create_dir_all(&dir).unwrap();
        let number = fs::read_dir(&dir).unwrap().count();
        let mut file = File::create_new(dir.join(number.to_string())).unwrap();
        file.write_all(b"of no interest").unwrap();
        file.sync_all().unwrap();
    }
}

impl Cut {
    /// What a device was at some moment between two others; it is mounted in `dir`.
    #[allow(dead_code, reason = "each tier uses its part of this")]
    pub fn of_device(
        (fs, device): (FileSystem, &Path),
        dir: &Path,
        marker: &str,
        when: String,
        (began, ended): (Instant, Instant),
    ) -> Self {
        let (marker, image, dir) = (marker.into(), device.into(), dir.into());
        Self { fs, marker, when, began, ended, image, dir, disk: None }
    }

    /// Mounts the copy, which replays its journal.
    pub fn mount(&self) -> Mount {
        let at = self.image.with_extension("").file_name().unwrap().to_owned();
        Mount::new(&self.image, self.dir.join(at), self.fs.copy_options())
    }

    /// Checks the copy, which must be unmounted.
    pub fn check(&self) {
        self.fs.check(&self.image);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // A copy is as large as all that is overwritten in its original from here on.
        if self.disk.is_some() {
            let _left = fs::remove_file(&self.image);
        }
    }
}

impl Mount {
    fn new(image: &Path, at: PathBuf, options: &str) -> Self {
        fs::create_dir(&at).unwrap();
        run(Command::new("mount").args(["-o", options]).args([image, &at]));
        Self { at, mounted: true }
    }

    /// Unmounts it.
    pub fn unmount(mut self) {
        eventually("the disk can be unmounted", || self.try_unmount().then_some(()));
        self.mounted = false;
    }

    /// A process that another thread is just starting holds our open files until
    /// it becomes its own program, so this may fail for a moment.
    fn try_unmount(&self) -> bool {
        let output = Command::new("umount").arg(&self.at).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let start = Instant::now();
        while self.mounted && start.elapsed() < DEADLINE / 10 {
            self.mounted = !self.try_unmount();
        }
        if self.mounted {
            // A test that failed has left something open: it goes when that is closed.
            let _left = Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
        let _left = fs::remove_dir(&self.at);
    }
}

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread, and the processes it starts, a mount table of their own.
/// Nobody else's process then keeps a mount of ours busy, and all of them are
/// gone when the thread and its processes are, also when it is killed.
fn keep_mounts_to_ourselves() {
    if OURS.replace(true) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("the cuts need root, to mount their disks");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
}

/// A directory for the images: in memory where there is room, since there the
/// flushes of three file systems cost nothing.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(memory)
        .is_ok_and(|stat| stat.blocks_available() * stat.fragment_size() > 2 << 30);
    if !room {
        return harness::temporary();
    }
    tempfile::Builder::new().prefix("dirvol-test-").tempdir_in(memory).unwrap()
}

fn sparse(path: &Path, size: u64) {
    File::create_new(path).unwrap().set_len(size).unwrap();
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (shown(&output.stdout), shown(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}
