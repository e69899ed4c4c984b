//! Deleting a tree that a container filled.
//!
//! The tree may hold anything: names that are not text, links to elsewhere,
//! thousands of levels, a mount. Nothing is followed and no mount is crossed.

use std::ffi::{CStr, CString};
use std::io;

use nix::errno::Errno;

use super::dir::{Dir, Kind, Mounts};
use super::error::{Error, Result};
use super::layout::FileName;
use super::root::Root;

/// How deep one descent goes before what lies below is moved up. It bounds the
/// descriptors and the stack that a deep tree takes.
const DEPTH: usize = 64;

/// How many trees one descent moves up. It bounds the memory that a wide one takes.
const MOVED: usize = 1024;

/// Deletes the tree `name` in `staging/`, and adds to `moved` the trees that were
/// moved up into `staging/` from too deep below, to be deleted in their turn.
///
/// # Errors
/// The first failure; whatever else could be deleted is. Where trees were moved
/// up, the failure may be that there were too many of them.
pub(super) fn delete_tree(root: &Root, name: &FileName, moved: &mut Vec<FileName>) -> Result<()> {
    let text = CString::new(name.as_str()).expect("a FileName holds no NUL");
    delete_below(root, &root.staging, &text, 0, moved)
}

fn delete_below(
    root: &Root,
    parent: &Dir,
    name: &CStr,
    depth: usize,
    moved: &mut Vec<FileName>,
) -> Result<()> {
    let ended = |why: &str| {
        let path = parent.path().to_path_buf();
        Err(Error { op: "delete", path, source: io::Error::other(why.to_owned()) })
    };
    if root.is_lost() {
        return ended("the root was given up");
    }
    if depth == DEPTH {
        if moved.len() == MOVED {
            return ended("too many deep directories at once");
        }
        let up = root.token()?;
        parent.rename_read(name, &root.staging, &up)?;
        moved.push(up);
        return Ok(());
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
    let mut first = Ok(());
    dir.each(|name, kind| {
        let deleted = match kind {
            Kind::Dir => delete_below(root, &dir, name, depth + 1, moved),
            Kind::Other => match dir.delete_file(name) {
                Err(error) if error.errno() == Some(Errno::EISDIR) => {
                    delete_below(root, &dir, name, depth + 1, moved)
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
    parent.delete_dir(name)
}
