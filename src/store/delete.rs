//! Deleting a tree that a container filled.
//!
//! The tree may hold anything: names that are not text, links to elsewhere,
//! thousands of levels, a mount. Nothing is followed and no mount is crossed.

use std::ffi::CStr;

use nix::errno::Errno;

use super::dir::{Dir, Kind, Mounts, Result};
use super::layout::FileName;

/// How deep one descent goes before what lies below is moved up. It bounds the
/// descriptors and the stack that a deep tree takes.
const DEPTH: usize = 64;

/// Deletes the tree `name` in `staging`, and adds to `moved` the trees that were
/// moved up into `staging` from too deep below, to be deleted in their turn.
///
/// # Errors
/// The first failure; whatever else could be deleted is.
pub(super) fn delete_tree(staging: &Dir, name: &FileName, moved: &mut Vec<FileName>) -> Result<()> {
    let text = std::ffi::CString::new(name.as_str()).expect("a FileName holds no NUL");
    delete_below(staging, staging, &text, 0, moved)
}

fn delete_below(
    staging: &Dir,
    parent: &Dir,
    name: &CStr,
    depth: usize,
    moved: &mut Vec<FileName>,
) -> Result<()> {
    if depth == DEPTH {
        let up = FileName::random().map_err(|source| super::Error {
            op: "getrandom",
            path: parent.path().to_path_buf(),
            source,
        })?;
        parent.rename_read(name, staging, &up)?;
        moved.push(up);
        return Ok(());
    }
    let dir = match parent.open_dir_read(name, Mounts::Stay) {
        Ok(dir) => dir,
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut first = Ok(());
    dir.each(|name, kind| {
        let deleted = match kind {
            Kind::Dir => delete_below(staging, &dir, name, depth + 1, moved),
            Kind::Other => dir.delete_file(name),
        };
        if first.is_ok() {
            first = deleted;
        }
        Ok(())
    })?;
    first?;
    parent.delete_dir(name)
}
