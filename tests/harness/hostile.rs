//! What a container may do to whoever walks over its files: a tree outside of the
//! root that must not change nor be read, and a thread that swaps what is walked over.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::mkfifo;

use super::eventually;

/// What a bind mount needs not to be told.
const NOTHING: Option<&str> = None;

/// What the files of a sentinel hold, and nothing that is made of a volume may.
pub const SECRET: &str = "a secret of the host";

/// A tree outside of the root, with the names that a [`Swapper`] uses.
pub struct Sentinel {
    dir: PathBuf,
    before: Vec<String>,
}

impl Sentinel {
    /// Makes the tree at `dir`, which is made.
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(dir.join("below/further")).unwrap();
        for file in ["precious", "below/precious", "below/further/precious"] {
            fs::write(dir.join(file), SECRET).unwrap();
            fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        // What a volume has a hard link to is the volume's too, and no secret.
        fs::write(dir.join("shared"), "linked into a volume").unwrap();
        let before = state(&dir);
        Self { dir, before }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Plants in `dir` whatever a container can make: names that are not text, links
    /// to the tree and to nowhere, a hard link, fifos, sockets, devices, setuid files.
    pub fn plant(&self, dir: &Path) {
        fs::hard_link(self.dir.join("shared"), dir.join("hard-link")).unwrap();
        symlink(&self.dir, dir.join("link")).unwrap();
        symlink(self.dir.join("precious"), dir.join("link-to-file")).unwrap();
        symlink("../../../../../../../../../../../../etc", dir.join("link-upwards")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        symlink("/proc/self/root", dir.join("magic")).unwrap();
        mkfifo(&dir.join("fifo"), Mode::S_IRWXU).unwrap();
        drop(UnixListener::bind(dir.join("socket")).unwrap());
        let null = nix::libc::makedev(1, 3);
        let device = dir.join("device");
        nix::sys::stat::mknod(&device, nix::sys::stat::SFlag::S_IFCHR, Mode::S_IRWXU, null)
            .unwrap();
        let setuid = dir.join("setuid");
        fs::write(&setuid, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&setuid, fs::Permissions::from_mode(0o6755)).unwrap();
        let longest = [b'x'; 255];
        for name in [&b"\xff\xfe"[..], b"new\nline", b"~", b"...", b"-rf", &longest, b"\x1b[2J"] {
            let name = std::ffi::OsStr::from_bytes(name);
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join(name), "").unwrap();
        }
    }

    /// The tree is as it was: names, kinds, permissions, owners, times, contents.
    pub fn assert_untouched(&self, what: &str) {
        assert_eq!(state(&self.dir), self.before, "{what}");
    }

    /// No file below `dir`, as a copy of a volume or its archive, holds the secret.
    pub fn assert_not_below(&self, dir: &Path, what: &str) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                self.assert_not_below(&path, what);
            } else if meta.is_file() {
                assert!(!self.is_in(&fs::read(&path).unwrap()), "{what}: {}", path.display());
            }
        }
    }

    /// Whether `bytes`, as those of an archive, hold what the tree's files hold.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    }
}

/// As [`super::tree`], with the times of the last change.
fn state(dir: &Path) -> Vec<String> {
    let mut lines = super::tree(dir);
    for file in ["", "precious", "below", "below/precious", "below/further"] {
        let meta = fs::symlink_metadata(dir.join(file)).unwrap();
        lines.push(format!("{file} {}.{}", meta.mtime(), meta.mtime_nsec()));
    }
    lines
}

/// A thread that swaps, without end, directories and files with links to a sentinel:
/// through a descriptor, as a process of a container does that had it open before.
pub struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// How many pairs of each kind there are. The walk takes a while for it.
const PAIRS: usize = 100;

impl Swapper {
    /// Fills `dir` with what is to be swapped, and begins.
    pub fn start(dir: &Path, sentinel: &Sentinel) -> Self {
        for pair in 0..PAIRS {
            let [tree, link] = Self::names("tree", "link", pair).map(|name| dir.join(name));
            fs::create_dir_all(tree.join("below/further")).unwrap();
            for file in ["precious", "below/precious", "below/further/precious"] {
                fs::write(tree.join(file), "of the volume").unwrap();
            }
            let aim =
                if pair % 2 == 0 { upwards(dir, sentinel.path()) } else { sentinel.path().into() };
            symlink(&aim, link).unwrap();
            let [file, link] = Self::names("file", "point", pair).map(|name| dir.join(name));
            fs::write(file, "of the volume").unwrap();
            symlink(aim.join("precious"), link).unwrap();
            let [fifo, device] = Self::names("fifo", "device", pair).map(|name| dir.join(name));
            mkfifo(&fifo, Mode::S_IRWXU).unwrap();
            // Nobody drives it: who opens it is told so.
            let none = nix::libc::makedev(60, 1);
            let kind = nix::sys::stat::SFlag::S_IFCHR;
            nix::sys::stat::mknod(&device, kind, Mode::S_IRWXU, none).unwrap();
        }
        let dir = File::open(dir).unwrap();
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&swaps));
        let thread = thread::spawn(move || {
            let dir = dir.as_fd();
            // The order is that of a listing at times, and another at others.
            for turn in (0..).map(|turn: usize| turn.wrapping_mul(7)) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                for [one, other] in [
                    Self::names("tree", "link", turn % PAIRS),
                    Self::names("file", "point", turn % PAIRS),
                    // A tree in a file's place, and back.
                    Self::names("tree", "file", turn % PAIRS),
                    // What is waited for, and what does something, when it is opened.
                    Self::names("file", "fifo", turn % PAIRS),
                    Self::names("file", "device", turn % PAIRS),
                    Self::names("tree", "fifo", turn % PAIRS),
                ] {
                    let flags = RenameFlags::RENAME_EXCHANGE;
                    if renameat2(dir, one.as_str(), dir, other.as_str(), flags).is_ok() {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let swapper = Self { stop, swaps, thread: Some(thread) };
        eventually("it swaps", || (swapper.swaps() > PAIRS as u64).then_some(()));
        swapper
    }

    fn names(one: &str, other: &str, pair: usize) -> [String; 2] {
        [format!("{one}-{pair}"), format!("{other}-{pair}")]
    }

    /// How many swaps were made.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It panics nowhere; a test that fails must not wait for a reason.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// A thread that mounts a sentinel in a directory, here and there and without end, as
/// one does that the driver's own mounts reach. For tests in mounts of their own.
pub struct Mounter {
    stop: Arc<AtomicBool>,
    mounts: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Mounter {
    /// Makes the directories in `dir`, and begins.
    pub fn start(dir: &Path, sentinel: &Sentinel) -> Self {
        let places = 8;
        for place in 0..places {
            fs::create_dir_all(dir.join(format!("mount-{place}/below"))).unwrap();
        }
        let (dir, aim) = (File::open(dir).unwrap(), sentinel.path().to_path_buf());
        let (stop, mounts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&mounts));
        let thread = thread::spawn(move || {
            // The directory may be moved meanwhile.
            let at =
                |place| PathBuf::from(format!("/proc/self/fd/{}/mount-{place}", dir.as_raw_fd()));
            for place in (0..places).cycle() {
                // What is deleted can be mounted on no more.
                if mount(Some(&aim), &at(place), NOTHING, MsFlags::MS_BIND, NOTHING).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                let last = (place + places - 2) % places;
                let _unmounted = umount2(&at(last), MntFlags::MNT_DETACH);
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
            (0..places)
                .for_each(|place| while umount2(&at(place), MntFlags::MNT_DETACH).is_ok() {});
        });
        let mounter = Self { stop, mounts, thread: Some(thread) };
        eventually("it mounts", || (mounter.mounts.load(Ordering::Relaxed) > 4).then_some(()));
        mounter
    }
}

impl Drop for Mounter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// The way from `dir` to `aim` by `..`: some rules hold only for a way from the top. It
/// is right in the trash and in `staging/` too, which are as deep as `volumes/`.
fn upwards(dir: &Path, aim: &Path) -> PathBuf {
    let common = dir.ancestors().find(|above| aim.starts_with(above)).unwrap();
    let up = dir.strip_prefix(common).unwrap().components().map(|_| "..");
    up.collect::<PathBuf>().join(aim.strip_prefix(common).unwrap())
}

/// Makes a chain of `depth` directories in `dir`, deeper than any path can name, with
/// a file and a link in each, and the file last in the last.
pub fn make_deep(dir: &Path, depth: usize, sentinel: &Sentinel) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = File::open(dir).unwrap();
    let name = CString::new("d").unwrap();
    for _ in 0..depth {
        mkdirat(&at, name.as_c_str(), Mode::S_IRWXU).unwrap();
        nix::unistd::symlinkat(sentinel.path(), &at, "link").unwrap();
        let made = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        drop(openat(&at, "file", made, Mode::S_IRUSR).unwrap());
        at = openat(&at, name.as_c_str(), flags, Mode::empty()).map(File::from).unwrap();
    }
    assert_eq!(openat(&at, "d", flags, Mode::empty()).err(), Some(Errno::ENOENT));
}

/// Makes `files` empty files in `dir`, a thousand in each directory.
pub fn make_many(dir: &Path, files: usize) {
    for at in 0..files {
        let below = dir.join((at / 1000).to_string());
        if at % 1000 == 0 {
            fs::create_dir(&below).unwrap();
        }
        File::create(below.join(at.to_string())).unwrap();
    }
}
