//! The state directory: what must be known while the root is not there.
//!
//! It lies outside the root, on a disk that is there when the root's is not. It
//! says which root was served last, so that another one, or the empty mountpoint
//! of a disk that is not mounted, is not taken for it; and which names that root
//! has, so that "no such volume" is never said of one of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;

use super::dir::{Dir, Stamp, identity_at};
use super::error::{Error, Result};
use super::layout::{FileName, ROOT_ID, ROOT_ID_NEW, SEEN};

/// Far more than a UUID needs.
const ROOT_ID_LIMIT: u64 = 256;

/// The state directory. What is in it is found by its path each time, so that
/// one that was deleted is made again.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    dir: Dir,
}

/// What a state directory remembers.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The id of the root that was served last, if one was.
    pub root_id: Option<String>,
    /// The names that it has, or had.
    pub seen: Vec<FileName>,
}

impl State {
    /// Reads the state directory at `path`, and makes nothing; what is missing
    /// remembers nothing.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn remembered(path: &Path) -> Result<Remembered> {
        let absent = |error: &Error| error.errno() == Some(Errno::ENOENT);
        let dir = match Dir::open(path, None) {
            Err(error) if absent(&error) => return Ok(Remembered::default()),
            opened => opened?,
        };
        let state = Self { path: path.to_path_buf(), dir };
        let root_id = state.root_id()?;
        let seen = match Dir::open(&path.join(SEEN), None) {
            Err(error) if absent(&error) => Vec::new(),
            opened => opened.and_then(|names| names.names())?,
        };
        Ok(Remembered { root_id, seen })
    }

    /// Opens the state directory at `path`, making it where it is missing.
    ///
    /// # Errors
    /// It can be neither opened nor made.
    pub fn open(path: &Path) -> Result<Self> {
        make(path)?;
        let dir = Dir::open(path, None)?;
        if !dir.has_dir(SEEN)? {
            make(&path.join(SEEN))?;
            dir.sync()?;
        }
        Ok(Self { path: path.to_path_buf(), dir })
    }

    /// Returns the path of the state directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the directory at the path still is the one that is held.
    pub(super) fn is_in_place(&self) -> Result<bool> {
        Ok(identity_at(&self.path)? == Some(self.dir.identity()?))
    }

    /// Takes the state directory for one driver, for as long as the returned
    /// file lives, or returns `None` where another one has it.
    pub(super) fn lock(&self) -> Result<Option<File>> {
        self.dir.lock()
    }

    /// Returns the id of the root that was served last, if one was.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn root_id(&self) -> Result<Option<String>> {
        let Some(bytes) = self.dir.read(ROOT_ID, ROOT_ID_LIMIT)? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Notes durably that the root `id` is served from now on.
    ///
    /// # Errors
    /// The disk refuses; the old id then stays.
    pub(super) fn set_root_id(&self, id: &str) -> Result<()> {
        if self.root_id()?.as_deref() == Some(id) {
            // Whoever wrote it may have been killed before it was on the disk.
            return self.dir.sync();
        }
        self.dir.delete_file(ROOT_ID_NEW)?;
        self.dir.write_new_synced(ROOT_ID_NEW, format!("{id}\n").as_bytes())?;
        self.dir.replace(ROOT_ID_NEW, ROOT_ID)?;
        self.dir.sync()
    }

    /// Notes that the root has a volume `name`. It is not synced: the root's own
    /// syncs take it along where both lie on one file system, and elsewhere the
    /// kernel writes it within seconds.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn note(&self, name: &FileName) -> Result<()> {
        self.names()?.open_file(name.as_str()).map(drop)
    }

    /// Notes that the volume `name` is in use, for [`State::last_used`]. One that
    /// is not noted stays so.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn note_use(&self, name: &FileName) -> Result<()> {
        self.names()?.touch(name)
    }

    /// Returns when each volume that is noted was in use last, in whole seconds;
    /// of one that never was, when it was noted first. It is not synced: after a
    /// power cut, a use of the last seconds may be missing.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn last_used(&self) -> Result<HashMap<FileName, SystemTime>> {
        let names = self.names()?;
        let mut used = HashMap::new();
        for name in self.seen()? {
            if let Some(time) = names.modified(&name)? {
                used.insert(name, time);
            }
        }
        Ok(used)
    }

    /// Returns the same of one volume, or `None` where that is not noted.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn last_used_of(&self, name: &FileName) -> Result<Option<SystemTime>> {
        self.names()?.modified(name)
    }

    /// Returns the same as exactly as the file system has it, to tell whether there was
    /// a use in between.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn last_used_exactly(&self, name: &FileName) -> Result<Option<Stamp>> {
        self.names()?.stamp(name)
    }

    /// Notes that the root has no volume `name`.
    ///
    /// # Errors
    /// The disk refuses. A name too many does little harm: while the root is not
    /// there, a Get of it is answered as of a volume that cannot be read.
    pub fn forget(&self, name: &FileName) -> Result<()> {
        self.names()?.delete_file(name)
    }

    /// Returns whether the root has, or had, a volume `name`.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn has_seen(&self, name: &FileName) -> Result<bool> {
        Ok(self.names()?.read(name.as_str(), 0)?.is_some())
    }

    /// Returns all the names that are noted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn seen(&self) -> Result<Vec<FileName>> {
        self.names()?.names()
    }

    /// Opens the directory of the names.
    fn names(&self) -> Result<Dir> {
        let path = self.path.join(SEEN);
        match Dir::open(&path, None) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                make(&path)?;
                Dir::open(&path, None)
            }
            opened => opened,
        }
    }
}

fn make(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error { op: "mkdir", path: path.to_path_buf(), source })
}
