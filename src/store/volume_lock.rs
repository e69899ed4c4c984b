//! The lock of one volume, over all nodes that share a root. What it rests on is told in
//! [`super::nodes`].

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::dir::Dir;
use super::error::{Error, Result};
use super::layout::{FileName, LOCK};
use super::root::Root;
use super::verbs::overwrite;

/// How long it is waited between two attempts to take a lock. A lock of NFS tells nobody
/// that it is free.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// The lock of a volume, over all nodes; dropping it releases it.
#[derive(Debug)]
pub struct VolumeLock {
    file: File,
    dir: Dir,
}

/// How an attempt to take it ended.
#[derive(Debug)]
pub enum Locked {
    /// There is nothing to be ordered: no other node serves this root, or what has the name
    /// is no directory.
    Alone,
    /// It was taken.
    Held(VolumeLock),
    /// There was no such volume.
    Absent,
    /// Another node has it, and had it for as long as was waited.
    Occupied,
}

impl VolumeLock {
    fn take(dir: Dir, limit: Duration) -> Result<Option<Self>> {
        let start = Instant::now();
        // Open for writing: NFS makes of it a lock of bytes.
        let file = dir.open_file(LOCK)?;
        while !take(&file, &dir)? {
            if start.elapsed() >= limit {
                return Ok(None);
            }
            thread::sleep(AGAIN);
        }
        Ok(Some(Self { file, dir }))
    }

    /// Returns the nodes that hold the volume.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn nodes(&self) -> Result<Vec<FileName>> {
        let fail = |source| Error { op: "read", path: self.dir.path().join(LOCK), source };
        let mut bytes =
            vec![0; usize::try_from(self.file.metadata().map_err(fail)?.len()).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).map_err(fail)?;
        Ok(named(&bytes))
    }

    pub(super) fn write(&self, nodes: &[FileName]) -> Result<()> {
        let text: String = nodes.iter().flat_map(|node| [node.as_str(), "\n"]).collect();
        overwrite(&self.dir, LOCK, &self.file, text.as_bytes())
    }
}

impl Root {
    /// Takes the lock of the volume `name` over all nodes, and waits for it for as long as
    /// `limit`.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn lock_volume(&self, name: &FileName, limit: Duration) -> Result<Locked> {
        self.lock_in(&self.volumes, name, limit)
    }

    /// Takes that of an entry of the trash.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn lock_entry(&self, entry: &FileName, limit: Duration) -> Result<Locked> {
        self.lock_in(&self.trash, entry, limit)
    }

    fn lock_in(&self, parent: &Dir, name: &FileName, limit: Duration) -> Result<Locked> {
        if self.node.is_none() {
            return Ok(Locked::Alone);
        }
        loop {
            let dir = match parent.open_dir(name) {
                Ok(dir) => dir,
                Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(Locked::Absent),
                // It is no volume, and is told of by who reads it.
                Err(error) if matches!(error.errno(), Some(Errno::ENOTDIR | Errno::ELOOP)) => {
                    return Ok(Locked::Alone);
                }
                Err(error) => return Err(error),
            };
            let lock = match VolumeLock::take(dir, limit) {
                Ok(Some(lock)) => lock,
                Ok(None) => return Ok(Locked::Occupied),
                // Another node deletes it.
                Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ESTALE)) => {
                    return Ok(Locked::Absent);
                }
                Err(error) => return Err(error),
            };
            // It may have been moved away before it was locked.
            if is_still(parent, name, &lock.dir)? {
                return Ok(Locked::Held(lock));
            }
        }
    }
}

/// Takes the lock of `file` in `dir`, unless somebody else has it.
pub(super) fn take(file: &File, dir: &Dir) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => {
            Err(Error { op: "flock", path: dir.path().join(LOCK), source })
        }
    }
}

/// Returns whether `name` in `parent` still is the directory `dir`.
pub(super) fn is_still(parent: &Dir, name: &FileName, dir: &Dir) -> Result<bool> {
    match parent.open_dir(name) {
        Ok(now) => Ok(now.identity()? == dir.identity()?),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads which nodes a volume's lock names.
pub(super) fn named(bytes: &[u8]) -> Vec<FileName> {
    String::from_utf8_lossy(bytes).lines().filter_map(FileName::new).collect()
}
