//! A tree with one of every kind of file, and everything that there is to say of a tree.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dirvol::sys::xattr;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;

use crate::harness::{Serve, eventually};

/// An ACL that gives user 1000 all rights, as the kernel keeps it.
const ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x07\0\xff\xff\xff\xff\
    \x02\0\x07\0\xe8\x03\0\0\
    \x04\0\x05\0\xff\xff\xff\xff\
    \x10\0\x07\0\xff\xff\xff\xff\
    \x20\0\x00\0\xff\xff\xff\xff";

/// Makes the tree in `dir`, which is there.
pub fn make(dir: &Path) {
    let at = |name: &str| dir.join(name);
    fs::write(at("file"), "of some bytes").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::hard_link(at("file"), at("hard")).unwrap();
    fs::write(at("odd \u{fc}\n name"), "text").unwrap();
    symlink("/etc/passwd", at("symlink")).unwrap();
    symlink(format!("{}/x", "t".repeat(200)), at("long symlink")).unwrap();
    let mode = Mode::from_bits_truncate(0o640);
    mknod(&at("fifo"), SFlag::S_IFIFO, mode, 0).unwrap();
    mknod(&at("char"), SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
    mknod(&at("block"), SFlag::S_IFBLK, mode, makedev(7, 200)).unwrap();
    fs::create_dir_all(at("dir/empty")).unwrap();
    let deep = at("dir").join("n".repeat(200)).join("m".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("deep"), "deep").unwrap();
    fs::hard_link(at("file"), deep.join("hard too")).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(&[b'a'; 5000], 1 << 20).unwrap();
    sparse.write_all_at(b"b", 9 << 20).unwrap();
    sparse.set_len(20 << 20).unwrap();
    let hole = File::create(at("hole")).unwrap();
    hole.set_len(3 << 20).unwrap();
    let big: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(at("big"), big).unwrap();
    chown(at("file"), Some(1234), Some(3_000_000)).unwrap();
    chown(at("dir"), Some(5), Some(6)).unwrap();
    nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        &at("symlink"),
        Some(7.into()),
        Some(8.into()),
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .unwrap();
    let set = |name: &str, attribute: &CStr, value: &[u8]| {
        let file = File::open(at(name)).unwrap();
        xattr::set(file.as_fd(), attribute, value).unwrap();
    };
    set("file", c"user.note", b"\0of\nbytes\xff");
    set("file", c"user.a=b%3D", b"");
    set("file", c"trusted.mine", b"t");
    set("dir", c"user.dir", b"d");
    set("file", c"system.posix_acl_access", ACL);
    set("dir", c"system.posix_acl_default", ACL);
    for (name, mode) in [("file", 0o4750), ("dir/empty", 0o1777), ("dir", 0o2750)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // The innermost first: what is made in a directory changes its time.
    let times = ["dir/empty", "dir", "file", "symlink", "fifo", "char", "sparse"];
    for (second, name) in (0..).zip(times) {
        let time = TimeSpec::new(981_173_106 + second, 123_456_789);
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, &at(name), &time, &time, flags).unwrap();
    }
    let before_1970 = TimeSpec::new(-100, 5);
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, &at("empty"), &before_1970, &before_1970, flags).unwrap();
}

/// Everything there is to say of a tree but where it lies: a line for each file.
pub fn described(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut links = HashMap::new();
    describe(dir, dir, &mut lines);
    lines.sort();
    // Which names are of one file, by the first of them.
    for line in &mut lines {
        let (path, inode) = (line.0.clone(), line.1);
        let first = links.entry(inode).or_insert_with(|| path.clone());
        line.2 += &format!(" = {first:?}");
    }
    lines.into_iter().map(|(path, _, line)| format!("{path:?} {line}")).collect()
}

fn describe(top: &Path, path: &Path, lines: &mut Vec<(String, u64, String)>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let shown = path.strip_prefix(top).unwrap().display().to_string();
    let kind = meta.file_type();
    let what = if kind.is_symlink() {
        format!("-> {:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        let bytes = fs::read(path).unwrap();
        let holes = meta.blocks() * 512 < meta.len();
        // FNV-1a: enough to tell two apart.
        let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{} bytes {sum:x} holes: {holes}", meta.len())
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("device {:x}", meta.rdev())
    } else {
        String::new()
    };
    let node = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()).unwrap();
    let mut attributes: Vec<String> = xattr::names(node.as_fd())
        .unwrap()
        .into_iter()
        .filter(|name| name.as_c_str() != c"security.selinux")
        .map(|name| {
            let value = xattr::value(node.as_fd(), &name).unwrap().unwrap();
            format!("{name:?}={}", value.escape_ascii())
        })
        .collect();
    attributes.sort();
    let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
    let (seconds, nanoseconds) = (meta.mtime(), meta.mtime_nsec());
    let line = format!("{mode:o} {uid}:{gid} {seconds}.{nanoseconds:09} {what} {attributes:?}");
    lines.push((shown, meta.ino(), line));
    if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            describe(top, &entry.unwrap().path(), lines);
        }
    }
}

/// Runs `dirvol` with `input` and arguments, and returns how it ended.
pub fn dirvol(serve: &Serve, input: Option<&Path>, args: &[&str]) -> Output {
    let stdin = match input {
        Some(path) => File::open(path).unwrap().into(),
        None => Stdio::null(),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).args(args).stdin(stdin);
    command.output().unwrap()
}

/// As [`dirvol`], and it must succeed; returns what it said, and what beside that.
pub fn said(serve: &Serve, args: &[&str]) -> (String, String) {
    let ended = dirvol(serve, None, args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(ended.status.success(), "{args:?}: {}", text(&ended.stderr));
    (text(&ended.stdout), text(&ended.stderr))
}

/// Waits until nothing is left of what was given up, and returns the names of the
/// volumes and of what the trash has.
pub fn left(root: &Path) -> (Vec<String>, Vec<String>) {
    eventually("nothing is left to delete", || {
        fs::read_dir(root.join("staging")).unwrap().next().is_none().then_some(())
    });
    (names(&root.join("volumes")), names(&root.join("trash")))
}

/// The names in a directory, in order.
pub fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
