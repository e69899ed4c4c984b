//! Deleting a tree that a container filled.
//!
//! The tree may hold anything: names that are not text, links to elsewhere,
//! thousands of levels, a mount. Nothing is followed and no mount is crossed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::account::Account;
use super::dir::{Dir, Kind, Mounts};
use super::error::{Error, Result};
use super::layout::FileName;
use super::root::Root;
use crate::sys::{btrfs, mountinfo};

/// How deep one descent goes before what lies below is moved up. It bounds the
/// descriptors and the stack that a deep tree takes.
const DEPTH: usize = 64;

/// How many trees one descent moves up. It bounds the memory that a wide one takes.
const MOVED: usize = 1024;

/// What one descent moved up out of the depth, because it was too deep below.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The trees that lie in `staging/` now, to be deleted in their turn.
    pub(super) trees: Vec<FileName>,
    /// How many were moved to the top of the subvolume that they lie in, which a
    /// rename cannot leave; they go when the tree is deleted again.
    within: usize,
}

impl Moved {
    /// Returns whether nothing was moved.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.trees.len() + self.within
    }
}

/// Deletes the tree `name` in `staging/`, and notes in `moved` what was moved up from
/// too deep below.
///
/// # Errors
/// The first failure; whatever else could be deleted is. Where trees were moved
/// up, the failure may be that there were too many of them.
pub(super) fn delete_tree(root: &Root, name: &FileName, moved: &mut Moved) -> Result<()> {
    let text = CString::new(name.as_str()).expect("a FileName holds no NUL");
    delete_below(root, &At { dir: &root.staging, top: &root.staging, depth: 0 }, &text, moved)
}

/// Where a descent has come to.
struct At<'a> {
    dir: &'a Dir,
    /// What trees are moved up to: `staging/`, or the innermost subvolume.
    top: &'a Dir,
    depth: usize,
}

fn delete_below(root: &Root, at: &At<'_>, name: &CStr, moved: &mut Moved) -> Result<()> {
    let parent = at.dir;
    let ended = |why: &str| {
        let path = parent.path().to_path_buf();
        Err(Error { op: "delete", path, source: io::Error::other(why.to_owned()) })
    };
    if root.is_lost() {
        return ended("the root was given up");
    }
    let dir = match parent.open_dir_read(name, Mounts::Stay) {
        Ok(dir) => dir,
        Err(error) => {
            return match error.errno() {
                Some(Errno::ENOENT) => Ok(()),
                // A process that still has the tree open has swapped it.
                Some(Errno::ENOTDIR | Errno::ELOOP) => parent.delete_file(name),
                _ => Err(error),
            };
        }
    };
    let subvolume = subvolume(&dir);
    if let Some(account) = subvolume
        && delete_whole(&dir, parent, name)
    {
        return subvolume_is_gone(root, account, parent);
    }
    if at.depth == DEPTH {
        if moved.len() == MOVED {
            return ended("too many deep directories at once");
        }
        let up = root.token()?;
        parent.rename_read(name, at.top, &up)?;
        if std::ptr::eq(at.top, &raw const root.staging) {
            moved.trees.push(up);
        } else {
            moved.within += 1;
        }
        return Ok(());
    }
    let top = if subvolume.is_some() { &dir } else { at.top };
    let below = At { dir: &dir, top, depth: at.depth + 1 };
    let mut first = Ok(());
    dir.each(|name, kind| {
        let deleted = match kind {
            Kind::Dir => delete_below(root, &below, name, moved),
            Kind::Other => match dir.delete_file(name) {
                Err(error) if error.errno() == Some(Errno::EISDIR) => {
                    delete_below(root, &below, name, moved)
                }
                other => other,
            },
        };
        if first.is_ok() {
            first = deleted;
        }
        Ok(())
    })?;
    first?;
    parent.delete_dir(name)?;
    subvolume.map_or(Ok(()), |account| subvolume_is_gone(root, account, parent))
}

/// Sees to what follows when a subvolume in `parent` is gone. That is written before
/// `parent` goes itself: btrfs (seen on Linux 6.18) cannot be mounted after a power cut
/// whose log has a directory deleted that held a subvolume at the last commit, for it
/// looks for an inode with the subvolume's number.
fn subvolume_is_gone(root: &Root, account: Account, parent: &Dir) -> Result<()> {
    root.close(account);
    parent.sync_file_system()
}

/// Returns the account of `dir` where it is a subvolume of btrfs: a volume's data
/// directory, or one that a container made in it.
fn subvolume(dir: &Dir) -> Option<Account> {
    btrfs::is_subvolume(dir.as_fd()).is_ok_and(|is| is).then(|| Account::of(dir)).flatten()
}

/// Deletes the subvolume `dir`, which is `name` in `parent`, at once, and returns
/// whether it could be. It cannot without a capability, nor where other subvolumes are
/// in it; and what is mounted inside would be unmounted. It can then be deleted as any
/// tree, when it can be written to.
fn delete_whole(dir: &Dir, parent: &Dir, name: &CStr) -> bool {
    let alone = mountinfo::has_mounts_below(dir.as_fd()).is_ok_and(|has| !has);
    if alone && parent.delete_subvolume(name).is_ok() {
        return true;
    }
    // Ignoring: what cannot be deleted then says why.
    let _as_it_was = dir.make_writable();
    false
}
