//! Who has a directory mounted, as proc_pid_mountinfo(5) shows it.
//!
//! A container that uses a volume has the volume's directory bind-mounted in its
//! own mount namespace. That line names the device and the path *inside the file
//! system*, so it is found by those two, wherever the root is mounted and
//! whatever namespace one looks from. The device comes from the line of our own
//! descriptor's mount and never from `st_dev`: on btrfs the two differ.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::order;

const NOT_THERE: &str = "the mount of the directory is not in /proc/thread-self/mountinfo";

/// Where a directory lies: the file system, and the path from its top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    device: String,
    path: PathBuf,
    /// Where it is mounted, if it is the top of a mount itself.
    mountpoint: Option<PathBuf>,
}

impl Location {
    /// Returns the file system's device, as `major:minor`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Returns whether it is the top of a mount.
    pub fn is_mount_point(&self) -> bool {
        self.mountpoint.is_some()
    }

    /// Returns whether the two are one directory of one file system, or one lies in
    /// the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let nest = self.path.starts_with(&other.path) || other.path.starts_with(&self.path);
        self.device == other.device && nest
    }
}

/// One mount of a [`Location`], or of a directory below it, in the mount namespace of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// A process that lives in the namespace; the lowest such pid.
    pub pid: u32,
    /// Which of the locations that were asked for.
    pub location: usize,
    /// The mounted directory, relative to the location; empty for itself.
    pub path: PathBuf,
    /// Where it is mounted, as that process sees it.
    pub mountpoint: PathBuf,
}

/// Finds where the open directory `dir` lies.
///
/// # Errors
/// `/proc/thread-self` cannot be read, or does not know the descriptor's mount.
pub fn locate(dir: BorrowedFd<'_>) -> io::Result<Location> {
    look(dir).map(|(location, ..)| location)
}

/// Finds where all lies that is seen in the open directory `dir`: itself, and what is
/// mounted below it.
///
/// # Errors
/// As those of [`locate`].
pub fn shown(dir: BorrowedFd<'_>) -> io::Result<Vec<Location>> {
    let (location, path, table) = look(dir)?;
    let below = table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .filter(|mount| mount.mountpoint.starts_with(&path) && mount.mountpoint != path);
    let below = below.map(|mount| Location {
        device: mount.device,
        path: mount.root,
        mountpoint: Some(mount.mountpoint),
    });
    Ok(std::iter::once(location).chain(below).collect())
}

/// Returns where `dir` lies, its path, and the table of mounts that says so.
fn look(dir: BorrowedFd<'_>) -> io::Result<(Location, PathBuf, Vec<u8>)> {
    let path = fs::read_link(format!("/proc/thread-self/fd/{}", dir.as_raw_fd()))?;
    let (id, table) = own_table(dir)?;
    let mount = table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .find(|mount| mount.id == id)
        .ok_or_else(|| io::Error::other(NOT_THERE))?;
    let below = path.strip_prefix(&mount.mountpoint).map_err(|_| {
        io::Error::other(format!("{} is not below {}", path.display(), mount.mountpoint.display()))
    })?;
    let mountpoint = below.as_os_str().is_empty().then_some(mount.mountpoint.clone());
    let location = Location { path: join(&mount.root, below), device: mount.device, mountpoint };
    Ok((location, path, table))
}

/// Returns the kind of the file system on which the open directory `dir` lies, and the
/// options of that file system.
///
/// # Errors
/// As those of [`locate`].
pub fn file_system(dir: BorrowedFd<'_>) -> io::Result<(String, String)> {
    let (id, table) = own_table(dir)?;
    let line = table
        .split(|&byte| byte == b'\n')
        .find(|line| parse(line).is_some_and(|mount| mount.id == id))
        .ok_or_else(|| io::Error::other(NOT_THERE))?;
    let line = String::from_utf8_lossy(line);
    let mut fields = line.split_once(" - ").map_or("", |(_, fields)| fields).split(' ');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    let kind = field();
    let _source = field();
    Ok((kind, field()))
}

/// Returns the number of the mount on which `dir` lies, and the table that has it.
fn own_table(dir: BorrowedFd<'_>) -> io::Result<(u64, Vec<u8>)> {
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", dir.as_raw_fd()))?;
    let id = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .and_then(|id| id.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::other("/proc/thread-self/fdinfo shows no mnt_id"))?;
    Ok((id, fs::read("/proc/thread-self/mountinfo")?))
}

/// Returns whether something is mounted below the open directory `dir`, in the mount
/// namespace of this process.
///
/// # Errors
/// `/proc/thread-self` cannot be read.
pub fn has_mounts_below(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let path = fs::read_link(format!("/proc/thread-self/fd/{}", dir.as_raw_fd()))?;
    let table = fs::read("/proc/thread-self/mountinfo")?;
    let mut mounts = table.split(|&byte| byte == b'\n').filter_map(parse);
    Ok(mounts.any(|mount| mount.mountpoint != path && mount.mountpoint.starts_with(&path)))
}

/// Lists what is mounted of `locations` and from below them, in every mount namespace
/// that has a process we may look at. Of a location that is the top of a mount, that
/// mount at that path does not count, wherever it is seen: it is how the host has it.
///
/// Where the host's `/proc` is not visible (inside a managed plugin) only the
/// namespaces of the visible processes are seen.
///
/// # Errors
/// `/proc` itself cannot be listed. A process that ends while it is looked at
/// is passed over.
pub fn uses(locations: &[Location]) -> io::Result<Vec<Use>> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    order::sort(&mut pids, Ord::cmp);
    let mut namespaces = HashSet::new();
    let mut found = Vec::new();
    for pid in pids {
        // Most processes share a namespace, and its table needs reading once.
        if let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/mnt"))
            && !namespaces.insert(namespace)
        {
            continue;
        }
        let Ok(table) = fs::read(format!("/proc/{pid}/mountinfo")) else { continue };
        let mounts = table.split(|&byte| byte == b'\n').filter_map(parse);
        for mount in mounts {
            let of_mount = |(at, location): (usize, &Location)| {
                let path = (mount.device == location.device)
                    .then(|| mount.root.strip_prefix(&location.path).ok())??;
                let own = location.mountpoint.as_ref() == Some(&mount.mountpoint);
                if own && path.as_os_str().is_empty() {
                    return None;
                }
                let (path, mountpoint) = (path.to_path_buf(), mount.mountpoint.clone());
                Some(Use { pid, location: at, path, mountpoint })
            };
            found.extend(locations.iter().enumerate().filter_map(of_mount));
        }
    }
    Ok(found)
}

/// One line of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    id: u64,
    device: String,
    /// What is mounted: its path in the file system.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
}

/// Reads one line: `id parent major:minor root mountpoint options ...`, or returns
/// `None` where it is none.
pub fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
    let root = unescape(fields.next()?);
    let mountpoint = unescape(fields.next()?);
    Some(Mount { id, device, root, mountpoint })
}

/// The kernel writes blank, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Like `Path::join`, without a trailing slash for an empty tail.
fn join(head: &Path, tail: &Path) -> PathBuf {
    if tail.as_os_str().is_empty() { head.to_path_buf() } else { head.join(tail) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_line_is_read_with_its_escapes() {
        let line = br"36 35 98:0 /srv/my\040root/volumes /mnt/a\011b rw,noatime master:1 - ext4 /dev/root rw";
        let expected = Mount {
            id: 36,
            device: "98:0".into(),
            root: "/srv/my root/volumes".into(),
            mountpoint: "/mnt/a\tb".into(),
        };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn a_line_that_is_none_is_passed_over() {
        for line in [&b""[..], b"36", b"36 35 98:0", b"x 35 98:0 / /", b"36 35 98:0 /"] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_backslash_without_three_octal_digits_stays() {
        assert_eq!(unescape(br"a\9b\04"), PathBuf::from(r"a\9b\04"));
    }

    #[test]
    fn a_directory_is_located_at_its_path_in_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let outer = fs::File::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let inner = fs::File::open(dir.path().join("below")).unwrap();
        let (outer, inner) = (locate(outer.as_fd()).unwrap(), locate(inner.as_fd()).unwrap());
        assert_eq!(inner.device, outer.device);
        assert_eq!(inner.path, outer.path.join("below"));
    }

    #[test]
    fn two_locations_overlap_where_they_are_of_one_file_system_and_nest() {
        let at = |device: &str, path: &str| Location {
            device: device.into(),
            path: path.into(),
            mountpoint: None,
        };
        let cases = [
            ("8:1", "/a", "8:1", "/a", true),
            ("8:1", "/", "8:1", "/a", true),
            ("8:1", "/a/b", "8:1", "/a", true),
            ("8:1", "/a", "8:1", "/ab", false),
            ("8:1", "/a", "8:2", "/a", false),
        ];
        for (device, path, other, below, overlap) in cases {
            let (one, two) = (at(device, path), at(other, below));
            assert_eq!(one.overlaps(&two), overlap, "{one:?} {two:?}");
            assert_eq!(two.overlaps(&one), overlap, "{one:?} {two:?}");
        }
    }

    #[test]
    fn a_directory_that_nobody_mounted_has_no_uses() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::File::open(dir.path()).unwrap();
        assert_eq!(uses(&[locate(dir.as_fd()).unwrap()]).unwrap(), []);
    }
}
