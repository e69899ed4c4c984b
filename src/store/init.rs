//! Making a directory a root.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;

use super::dir::Dir;
use super::error::Error;
use super::layout::{FileName, LOCK, LOST_FOUND, MARKER, MARKER_NEW, STAGING, TRASH, VOLUMES};
use super::marker::{FORMAT, Marker, Scope};
use super::open_error::OpenError;
use super::root::{open_dir, read_marker};
use super::volume_lock::take;

/// Makes the directory at `path` a root, and the directory itself where it is
/// missing, and returns the root's id. A root stays as it is.
///
/// # Errors
/// It is not empty, or served, or the disk refuses; nothing is changed then.
pub fn init(path: &Path, scope: Scope) -> Result<String, OpenError> {
    if !path.exists() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| Error { op: "mkdir", path: path.to_path_buf(), source })?;
        for parent in path.ancestors().skip(1) {
            Dir::open(parent, None)?.sync()?;
        }
    }
    let dir = open_dir(path, None)?;
    if let Some(marker) = read_marker(&dir)? {
        if marker.scope != scope {
            let (path, found) = (path.to_path_buf(), marker.scope);
            return Err(OpenError::Scope { path, found, asked: scope });
        }
        // Whoever made it may have been killed before it was on the disk.
        dir.sync()?;
        return Ok(marker.id);
    }
    if !is_empty(&dir)? {
        return Err(OpenError::Occupied(path.to_path_buf()));
    }
    let _lock = lock_file(&dir)?;
    let _dir_lock = lock_dir(&dir)?;
    make(&dir, scope).map(|marker| marker.id)
}

/// Takes the lock of the root's file `lock` with flock(2), which the kernel gives back
/// however its holder ends.
pub(super) fn lock_file(dir: &Dir) -> Result<File, OpenError> {
    let file = dir.open_file(LOCK)?;
    take_lock(&file, dir)?;
    Ok(file)
}

/// Takes it, or again what is held already.
pub(super) fn take_lock(lock: &File, root: &Dir) -> Result<(), OpenError> {
    if take(lock, root)? { Ok(()) } else { Err(OpenError::Busy(root.path().to_path_buf())) }
}

/// Takes the lock of the directory itself: a file can be deleted.
pub(super) fn lock_dir(dir: &Dir) -> Result<File, OpenError> {
    dir.lock()?.ok_or_else(|| OpenError::Busy(dir.path().to_path_buf()))
}

/// Makes the directories that are missing.
pub(super) fn make_dirs(dir: &Dir, names: &[&str]) -> Result<(), Error> {
    for name in names {
        if !dir.has_dir(name)? {
            match dir.make_dir(name) {
                // Another node was faster.
                Err(error) if error.errno() == Some(Errno::EEXIST) => {}
                made => made?,
            }
        }
    }
    Ok(())
}

/// Makes an empty directory a root. The marker comes last, so a root that has
/// one is whole; what an interrupted attempt left does not count as something
/// in [`is_empty`].
pub(super) fn make(dir: &Dir, scope: Scope) -> Result<Marker, OpenError> {
    // Another process may have made it before we had the lock.
    if let Some(marker) = read_marker(dir)? {
        return Ok(marker);
    }
    dir.set_mode(0o700)?;
    match scope {
        Scope::Local => make_dirs(dir, &[VOLUMES, STAGING, TRASH])?,
        // Each node has a staging of its own.
        Scope::Global => make_dirs(dir, &[VOLUMES, TRASH])?,
    }
    let id = crate::sys::random::uuid().map_err(|source| Error {
        op: "getrandom",
        path: dir.path().to_path_buf(),
        source,
    })?;
    let marker = Marker { format: FORMAT, id, scope };
    dir.delete_file(MARKER_NEW)?;
    dir.write_new_synced(MARKER_NEW, &marker.to_bytes())?;
    dir.sync()?;
    dir.replace(MARKER_NEW, MARKER)?;
    dir.sync()?;
    Ok(marker)
}

/// Returns whether there is nothing here but what mkfs or an interrupted
/// [`make`] leaves.
pub(super) fn is_empty(dir: &Dir) -> Result<bool, Error> {
    let mut empty = true;
    dir.each(|name, _| {
        empty &= match name.to_str() {
            Ok(LOST_FOUND | LOCK | MARKER_NEW) => true,
            Ok(name @ (VOLUMES | STAGING | TRASH)) => {
                let inside = dir.open_dir(&FileName::new(name).expect("it is one component"))?;
                let mut entries = 0;
                inside.each(|_, _| {
                    entries += 1;
                    Ok(())
                })?;
                entries == 0
            }
            _ => false,
        };
        Ok(())
    })?;
    Ok(empty)
}
