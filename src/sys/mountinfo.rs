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

/// Where a directory lies: the file system, and the path from its top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    device: String,
    path: PathBuf,
}

impl Location {
    /// Returns the file system's device, as `major:minor`.
    pub fn device(&self) -> &str {
        &self.device
    }
}

/// One mount of a directory below a [`Location`], in the mount namespace of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// A process that lives in the namespace; the lowest such pid.
    pub pid: u32,
    /// The mounted directory, relative to the location.
    pub path: PathBuf,
    /// Where it is mounted, as that process sees it.
    pub mountpoint: PathBuf,
}

/// Finds where the open directory `dir` lies.
///
/// # Errors
/// `/proc/thread-self` cannot be read, or does not know the descriptor's mount.
pub fn locate(dir: BorrowedFd<'_>) -> io::Result<Location> {
    let fd = dir.as_raw_fd();
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{fd}"))?;
    let id = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .and_then(|id| id.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::other("/proc/thread-self/fdinfo shows no mnt_id"))?;
    let path = fs::read_link(format!("/proc/thread-self/fd/{fd}"))?;
    let table = fs::read("/proc/thread-self/mountinfo")?;
    let mount = table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .find(|mount| mount.id == id)
        .ok_or_else(|| {
        io::Error::other(format!("mount {id} is not in /proc/thread-self/mountinfo"))
    })?;
    let below = path.strip_prefix(&mount.mountpoint).map_err(|_| {
        io::Error::other(format!("{} is not below {}", path.display(), mount.mountpoint.display()))
    })?;
    Ok(Location { device: mount.device, path: join(&mount.root, below) })
}

/// Lists what is mounted from below `location`, in every mount namespace that
/// has a process we may look at. The location itself does not count.
///
/// Where the host's `/proc` is not visible (inside a managed plugin) only the
/// namespaces of the visible processes are seen.
///
/// # Errors
/// `/proc` itself cannot be listed. A process that ends while it is looked at
/// is passed over.
pub fn uses(location: &Location) -> io::Result<Vec<Use>> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
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
        for mount in mounts.filter(|mount| mount.device == location.device) {
            match mount.root.strip_prefix(&location.path) {
                Ok(path) if !path.as_os_str().is_empty() => {
                    let path = path.to_path_buf();
                    found.push(Use { pid, path, mountpoint: mount.mountpoint.clone() });
                }
                _ => {}
            }
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
    fn a_directory_that_nobody_mounted_has_no_uses() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::File::open(dir.path()).unwrap();
        assert_eq!(uses(&locate(dir.as_fd()).unwrap()).unwrap(), []);
    }
}
