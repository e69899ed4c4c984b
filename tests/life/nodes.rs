//! Trees with a node of every kind, and what can be seen of them.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink,
};
use std::os::unix::net::UnixListener;
use std::path::Path;

use dirvol::sys::xattr;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek, mkfifo};

/// `cap_net_bind_service` may be used, and is in effect: `struct vfs_cap_data`.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// How long the sparse file is.
pub const SPARSE: u64 = 64 << 20;

/// The name of the one socket.
pub const SOCKET: &str = "run/socket";

/// Fills a directory with nodes of every kind, and gives itself what a directory has.
pub fn fill(top: &Path) {
    let at = |name: &str| top.join(name);
    let dir = |name: &str, mode| {
        fs::create_dir(at(name)).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let write = |name: &str, text: &str, mode| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    dir("bin", 0o755);
    dir("lib", 0o2750);
    dir("lib/deeper", 0o1777);
    dir("empty", 0o000);
    dir("run", 0o700);
    write("bin/su", "set-user-id", 0o644);
    chown(at("bin/su"), Some(1000), Some(2000)).unwrap();
    fs::set_permissions(at("bin/su"), fs::Permissions::from_mode(0o6755)).unwrap();
    write("bin/ping", "capable", 0o755);
    extend(&at("bin/ping"), "security.capability", &CAPABILITY);
    write("nothing", "", 0o000);
    write("large", &"0123456789abcdef".repeat(100_000), 0o640);
    chown(at("large"), Some(4_000_000_000), Some(100_000)).unwrap();
    write("noted", "with attributes", 0o400);
    extend(&at("noted"), "user.comment", b"of a user\0and binary");
    extend(&at("noted"), "user.empty", b"");
    extend(&at("noted"), "trusted.overlay.opaque", b"y");
    write("shared", "with a list", 0o640);
    extend(&at("shared"), "system.posix_acl_access", &acl(6));
    extend(&at("lib"), "system.posix_acl_default", &acl(7));
    extend(&at("lib"), "user.of-a-directory", b"x");
    write("one", "three names", 0o644);
    fs::hard_link(at("one"), at("lib/two")).unwrap();
    fs::hard_link(at("one"), at("lib/deeper/three")).unwrap();
    // Another name of this lies outside of the volume.
    write("outside", "a name elsewhere", 0o644);
    symlink("/etc/passwd", at("lib/absolute")).unwrap();
    symlink("../nowhere", at("lib/dangling")).unwrap();
    lchown(at("lib/dangling"), Some(5), Some(6)).unwrap();
    extend(&at("lib/dangling"), "trusted.of-a-link", b"z");
    fs::hard_link(at("lib/dangling"), at("linked-link")).unwrap();
    mkfifo(&at("run/fifo"), Mode::from_bits_truncate(0o622)).unwrap();
    fs::set_permissions(at("run/fifo"), fs::Permissions::from_mode(0o622)).unwrap();
    let node = |name: &str, kind, device| mknod(&at(name), kind, Mode::S_IRUSR, device).unwrap();
    node("run/null", SFlag::S_IFCHR, makedev(1, 3));
    fs::set_permissions(at("run/null"), fs::Permissions::from_mode(0o666)).unwrap();
    node("run/disk", SFlag::S_IFBLK, makedev(259, 200_000));
    drop(UnixListener::bind(at(SOCKET)).unwrap());
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(SPARSE).unwrap();
    sparse.write_all_at(&[7; 4096], 0).unwrap();
    sparse.write_all_at(&[8; 4096], 32 << 20).unwrap();
    write("a name\nof two lines", "x", 0o644);
    fs::write(top.join(OsStr::from_bytes(b"not text \xff")), "y").unwrap();
    for (name, seconds) in [
        ("large", 4_102_444_800),
        ("noted", -1),
        ("lib/dangling", 1_000_000_000),
        ("run/fifo", 1_000_000_001),
        ("run/null", 1_000_000_002),
        ("sparse", 1_000_000_003),
        ("empty", 1_000_000_004),
        ("lib/deeper", 1_000_000_005),
        ("lib", 1_000_000_006),
        ("one", 1_000_000_007),
    ] {
        date(&at(name), seconds);
    }
    chown(top, Some(70), Some(71)).unwrap();
    fs::set_permissions(top, fs::Permissions::from_mode(0o3775)).unwrap();
    extend(top, "user.of-the-top", b"top");
    date(top, 1_000_000_008);
}

/// Gives a node times with nanoseconds.
fn date(path: &Path, seconds: i64) {
    let (read, changed) =
        (TimeSpec::new(seconds, 123_456_789), TimeSpec::new(seconds, 987_654_321));
    utimensat(AT_FDCWD, path, &read, &changed, UtimensatFlags::NoFollowSymlink).unwrap();
}

fn extend(path: &Path, name: &str, value: &[u8]) {
    let name = CString::new(name).unwrap();
    xattr::set(place(path).as_fd(), &name, value).unwrap();
}

/// `struct posix_acl_xattr_header` and five entries: user 1000 may do what `bits` say.
fn acl(bits: u16) -> Vec<u8> {
    let entries = [(1, 6, u32::MAX), (2, bits, 1000), (4, 4, u32::MAX), (16, bits, u32::MAX)];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries.into_iter().chain([(32, 0, u32::MAX)]) {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(bits));
        bytes.extend(u32::to_le_bytes(id));
    }
    bytes
}

fn place(path: &Path) -> OwnedFd {
    open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

/// All that can be seen of a tree, a line for each node; names of one file are told by
/// the first of them.
pub fn seen(top: &Path) -> Vec<String> {
    let mut paths = vec![top.to_path_buf()];
    let mut at = 0;
    while at < paths.len() {
        if fs::symlink_metadata(&paths[at]).unwrap().is_dir() {
            paths.extend(fs::read_dir(&paths[at]).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    paths.sort();
    let mut first: HashMap<(u64, u64), String> = HashMap::new();
    paths.iter().map(|path| line(path, path.strip_prefix(top).unwrap(), &mut first)).collect()
}

fn line(path: &Path, below: &Path, first: &mut HashMap<(u64, u64), String>) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let what = if kind.is_symlink() {
        format!("-> {:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        format!("{} bytes at {:?}, {:x}", meta.len(), data(path), digest(path))
    } else if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_socket() {
        "socket".to_owned()
    } else {
        format!("{} {}", if kind.is_char_device() { "char" } else { "block" }, meta.rdev())
    };
    let names = first.entry((meta.dev(), meta.ino())).or_insert_with(|| format!("{below:?}"));
    let links = if kind.is_dir() { 0 } else { meta.nlink() };
    let (mode, owner) = (meta.mode() & 0o7777, (meta.uid(), meta.gid()));
    let times = (meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec());
    let fd = place(path);
    let mut extended: Vec<String> = xattr::names(fd.as_fd())
        .unwrap()
        .iter()
        .map(|name| {
            let value = xattr::value(fd.as_fd(), name).unwrap().unwrap();
            format!("{}={value:?}", name.to_string_lossy())
        })
        .collect();
    extended.sort();
    format!("{below:?} ({links}: {names}) {what} {mode:04o} {owner:?} {times:?} {extended:?}")
}

/// Where there are bytes in a file, and no holes.
fn data(path: &Path) -> Vec<(i64, i64)> {
    let file = File::open(path).unwrap();
    let mut found = Vec::new();
    let mut end = 0;
    while let Ok(start) = lseek(&file, end, Whence::SeekData) {
        end = lseek(&file, start, Whence::SeekHole).unwrap();
        found.push((start, end));
    }
    found
}

fn digest(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    fs::read(path).unwrap().hash(&mut hasher);
    hasher.finish()
}
