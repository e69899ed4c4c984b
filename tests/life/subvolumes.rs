//! What the kernel does with subvolumes and quota groups, as `sys::btrfs` relies on it.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use dirvol::sys::{btrfs, qgroup};
use nix::errno::Errno;

use crate::disk::{Disk, FileSystem, run};

#[test]
fn a_subvolume_is_made_copied_and_deleted_by_descriptor() {
    let disk = Disk::new(FileSystem::Btrfs);
    let top = File::open(disk.path("")).unwrap();
    assert!(btrfs::is_btrfs(top.as_fd()));
    fs::create_dir(disk.path("plain")).unwrap();
    assert!(!btrfs::is_subvolume(open(&disk.path("plain")).as_fd()).unwrap());

    btrfs::create_subvolume(top.as_fd(), c"one").unwrap();
    let one = open(&disk.path("one"));
    assert!(btrfs::is_subvolume(one.as_fd()).unwrap());
    assert_eq!(one.metadata().unwrap().mode() & 0o7777, 0o777 & !umask());
    assert_eq!(btrfs::subvolume_id(top.as_fd()).unwrap(), 5);
    assert_eq!(btrfs::subvolume_id(one.as_fd()).unwrap(), 256);
    let there = btrfs::create_subvolume(top.as_fd(), c"one").unwrap_err();
    assert_eq!(there.raw_os_error(), Some(Errno::EEXIST as i32));

    fs::write(disk.path("one/file"), "precious").unwrap();
    btrfs::create_subvolume(one.as_fd(), c"inside").unwrap();
    btrfs::snapshot(one.as_fd(), top.as_fd(), c"two").unwrap();
    fs::write(disk.path("one/file"), "changed").unwrap();
    assert_eq!(fs::read_to_string(disk.path("two/file")).unwrap(), "precious");
    assert!(!btrfs::is_subvolume(open(&disk.path("two/inside")).as_fd()).unwrap());
    fs::write(disk.path("two/file"), "written").unwrap();
    let plain = open(&disk.path("plain"));
    let none = btrfs::snapshot(plain.as_fd(), top.as_fd(), c"three").unwrap_err();
    assert_eq!(none.raw_os_error(), Some(Errno::EINVAL as i32));

    let full = btrfs::destroy(top.as_fd(), c"one").unwrap_err();
    assert_eq!(full.raw_os_error(), Some(Errno::ENOTEMPTY as i32));
    btrfs::destroy(one.as_fd(), c"inside").unwrap();
    btrfs::destroy(top.as_fd(), c"one").unwrap();
    btrfs::destroy(top.as_fd(), c"two").unwrap();
    let no_subvolume = btrfs::destroy(top.as_fd(), c"plain").unwrap_err();
    assert!(
        [Errno::EINVAL as i32, Errno::ENOTDIR as i32]
            .contains(&no_subvolume.raw_os_error().unwrap())
    );
    assert_eq!(names(&disk.path("")), ["plain"]);
}

#[test]
fn a_name_is_as_long_as_a_directory_takes_it() {
    let disk = Disk::new(FileSystem::Btrfs);
    let top = File::open(disk.path("")).unwrap();
    let name = |length: usize| CString::new(vec![b'a'; length]).unwrap();
    btrfs::create_subvolume(top.as_fd(), &name(255)).unwrap();
    let error = btrfs::create_subvolume(top.as_fd(), &name(256)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ENAMETOOLONG as i32));
    btrfs::destroy(top.as_fd(), &name(255)).unwrap();
}

#[test]
fn a_read_only_subvolume_is_made_writable() {
    let disk = Disk::new(FileSystem::Btrfs);
    let top = File::open(disk.path("")).unwrap();
    btrfs::create_subvolume(top.as_fd(), c"one").unwrap();
    run(Command::new("btrfs").args(["property", "set"]).arg(disk.path("one")).args(["ro", "true"]));
    assert!(fs::write(disk.path("one/file"), "").is_err());
    btrfs::make_writable(open(&disk.path("one")).as_fd()).unwrap();
    fs::write(disk.path("one/file"), "").unwrap();
}

#[test]
fn a_quota_group_counts_and_is_limited_where_there_are_quotas() {
    let disk = Disk::new(FileSystem::Btrfs);
    let top = File::open(disk.path("")).unwrap();
    btrfs::create_subvolume(top.as_fd(), c"one").unwrap();
    let one = open(&disk.path("one"));
    let id = btrfs::subvolume_id(one.as_fd()).unwrap();
    assert!(!qgroup::has_quotas(top.as_fd()).unwrap());
    assert_eq!(qgroup::usage(top.as_fd(), id).unwrap(), None);
    let none = qgroup::set_limit(top.as_fd(), id, Some(1 << 20)).unwrap_err();
    assert_eq!(none.raw_os_error(), Some(Errno::ENOTCONN as i32));

    run(Command::new("btrfs").args(["quota", "enable"]).arg(disk.path("")));
    assert!(qgroup::has_quotas(one.as_fd()).unwrap());
    assert_eq!(qgroup::limit(top.as_fd(), id).unwrap(), None);
    qgroup::set_limit(top.as_fd(), id, Some(4 << 20)).unwrap();
    assert_eq!(qgroup::limit(one.as_fd(), id).unwrap(), Some(4 << 20));
    let error = fs::write(disk.path("one/file"), vec![1; 8 << 20]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EDQUOT as i32));
    // What is freed is counted so at the next commit.
    fs::remove_file(disk.path("one/file")).unwrap();
    disk.flush();
    fs::write(disk.path("one/file"), vec![1; 2 << 20]).unwrap();
    disk.flush();
    let used = qgroup::usage(one.as_fd(), id).unwrap().unwrap();
    assert!((2 << 20..3 << 20).contains(&used), "{used}");
    qgroup::set_limit(top.as_fd(), id, None).unwrap();
    assert_eq!(qgroup::limit(one.as_fd(), id).unwrap(), None);
    fs::write(disk.path("one/file"), vec![1; 8 << 20]).unwrap();

    assert_eq!(qgroup::limit(top.as_fd(), id + 1).unwrap(), None);
    run(Command::new("btrfs").args(["quota", "disable"]).arg(disk.path("")));
    assert!(!qgroup::has_quotas(top.as_fd()).unwrap());
}

fn open(path: &Path) -> File {
    File::open(path).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}
