//! Counting what a volume holds, where the kernel does not: a walk through a tree
//! that a container filled, and may be changing.
//!
//! Nothing is followed and no mount is crossed. Of the directories above the one that
//! is looked at, only the names of what is still to be looked at are remembered.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::{FileStat, fstat, fstatat};

use super::descent::Descent;
use super::dir::{self, Dir, Identity, Kind, Mounts};
use super::error::{Error, Result};
use super::layout::FileName;
use super::root::Root;

/// The unit of `st_blocks`, whatever the file system's own is: stat(3type).
const BLOCK: u64 = 512;

/// The operation of an error that ended a walk and is not the kernel's.
pub const WALK: &str = "walk";

/// What a volume holds, its own directory with it. Each file counts once, however
/// many names it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes that are allocated, which is what `du` counts.
    pub bytes: u64,
    /// How long its regular files are together, holes included.
    pub apparent: u64,
    /// Files, directories and whatever else there is.
    pub inodes: u64,
}

/// What was counted.
#[derive(Default)]
struct Count {
    held: Held,
    /// The files with more than one name that were counted.
    linked: HashSet<Identity>,
}

impl Root {
    /// Walks through the volume `name`, and returns what it holds. What is made or
    /// goes in the meantime may be counted or not. It ends early when the root is
    /// given up, or `stop` is set.
    ///
    /// # Errors
    /// The disk refuses, the walk was ended, or a directory was moved away while it
    /// was looked at.
    pub fn walk(&self, name: &FileName, stop: &AtomicBool) -> Result<Held> {
        let data = self.open_data(name)?;
        let mut count = Count::default();
        let mut at = Descent::new(data)?;
        let mut below = vec![count.add_dir(at.here(), || self.goes_on(stop))?];
        while let Some(names) = below.last_mut() {
            let Some(name) = pop(names) else {
                below.pop();
                at.up()?;
                continue;
            };
            match at.here().open_dir_read(&name, Mounts::Stay) {
                // It went in the meantime, is no directory any more, or another file
                // system is mounted there.
                Err(error) if is_gone(&error) => {}
                opened => {
                    at.down(opened?)?;
                    below.push(count.add_dir(at.here(), || self.goes_on(stop))?);
                }
            }
        }
        Ok(count.held)
    }

    fn goes_on(&self, stop: &AtomicBool) -> io::Result<()> {
        if self.is_lost() {
            return Err(io::Error::other("the root was given up"));
        }
        match stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("nobody waits for it any more")),
            false => Ok(()),
        }
    }
}

impl Count {
    /// Counts a directory and what is in it but directories, and returns their
    /// names.
    fn add_dir(&mut self, dir: &Dir, goes_on: impl Fn() -> io::Result<()>) -> Result<Vec<u8>> {
        self.add(&fstat(dir).map_err(|errno| dir::error("fstat", dir.path(), errno))?);
        let mut dirs = Vec::new();
        dir.each(|name, kind| {
            goes_on().map_err(|source| Error { op: WALK, path: dir.path().into(), source })?;
            if kind == Kind::Dir {
                dirs.extend_from_slice(name.to_bytes_with_nul());
                return Ok(());
            }
            match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => self.add(&stat),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(dir::error("fstatat", dir.path(), errno)),
            }
            Ok(())
        })?;
        Ok(dirs)
    }

    fn add(&mut self, stat: &FileStat) {
        let kind = stat.st_mode & libc::S_IFMT;
        // Every directory has more names than one, and is met once.
        let may_be_met_again = kind != libc::S_IFDIR && stat.st_nlink > 1;
        if may_be_met_again && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return;
        }
        self.held.inodes += 1;
        self.held.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        if kind == libc::S_IFREG {
            self.held.apparent += u64::try_from(stat.st_size).unwrap_or(0);
        }
    }
}

/// Takes the last name off.
fn pop(names: &mut Vec<u8>) -> Option<CString> {
    let end = names.len().checked_sub(1)?;
    let start = names[..end].iter().rposition(|&byte| byte == 0).map_or(0, |nul| nul + 1);
    let name = CStr::from_bytes_with_nul(&names[start..]).map(CStr::to_owned).ok();
    names.truncate(start);
    name
}

fn is_gone(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_off_from_the_end() {
        let mut names = b"a\0bc\0\xff\0".to_vec();
        let taken: Vec<_> = std::iter::from_fn(|| pop(&mut names)).collect();
        assert_eq!(taken, [c"\xff", c"bc", c"a"].map(CStr::to_owned));
        assert_eq!(names, b"");
    }
}
