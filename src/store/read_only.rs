//! A root that is looked at and not served: nothing is locked, made or changed.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::adopt::{self, Adopting};
use super::dir::{Dir, Kind};
use super::error::{Error, Result};
use super::layout::{ADOPTING, FileName, LOCK, NODES, STAGING, TRASH, TrashName, VOLUMES};
use super::marker::Marker;
use super::open_error::OpenError;
use super::quota::{NoLimits, can_limit};
use super::root::{open_dir, read_marker};
use super::space::Space;
use super::volumes::{self, Stored};
use crate::order;
use crate::sys::lock;
use crate::sys::quota::Amount;

/// A root that is looked at. Whoever serves it goes on changing it.
#[derive(Debug)]
pub struct ReadOnly {
    dir: Dir,
    marker: Marker,
}

/// Something that lies in a directory of a root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, where that can be one of ours.
    pub name: Option<FileName>,
    /// Its name as it can be shown.
    pub shown: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl ReadOnly {
    /// Opens the root at `path` for reading.
    ///
    /// # Errors
    /// It is missing, is not a directory, has no marker or one that cannot be used,
    /// or cannot be read.
    pub fn open(path: &Path) -> std::result::Result<Self, OpenError> {
        let dir = open_dir(path, None)?;
        match read_marker(&dir)? {
            Some(marker) => Ok(Self { dir, marker }),
            None => Err(OpenError::Unmarked(path.to_path_buf())),
        }
    }

    /// Returns the root's id.
    pub fn id(&self) -> &str {
        &self.marker.id
    }

    /// Returns who holds the root's lock, or where nodes share the root one of theirs: the
    /// processes that the kernel shows.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn lock_holders(&self) -> std::io::Result<Vec<u32>> {
        let mut holders = lock::holders(self.dir.as_fd())?;
        for node in self.nodes().unwrap_or_default() {
            holders.extend(lock::holders(node.as_fd())?);
        }
        Ok(holders)
    }

    /// Opens the lock of each node.
    fn nodes(&self) -> Result<Vec<File>> {
        let component = |name| FileName::new(name).expect("it is one component");
        let nodes = self.dir.open_dir(&component(NODES))?;
        let locks = nodes.dirs()?.into_iter().map(|node| {
            let lock = CString::new(LOCK).expect("it holds no NUL");
            nodes.open_dir(&node)?.open_regular(&lock)
        });
        Ok(locks.filter_map(|lock| lock.ok()?).collect())
    }

    /// Returns the space of the root's file system.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn space(&self) -> Result<Space> {
        self.dir.space()
    }

    /// Returns what the root's file system is called, if it is one whose files are
    /// gone at the next boot, or with a container.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn fleeting(&self) -> Result<Option<&'static str>> {
        self.dir.fleeting()
    }

    /// Returns what lies in the directory of the volumes, in the order of its names;
    /// `None` where the root has lost that.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn volumes(&self) -> Result<Option<Vec<Entry>>> {
        self.entries(VOLUMES)
    }

    /// Reads what is on the disk of a volume, as [`super::Root::read`] does.
    ///
    /// # Errors
    /// It cannot be told whether there is such a volume.
    pub fn read(&self, name: &FileName) -> Result<Option<Stored>> {
        match self.below(VOLUMES)? {
            Some(dir) => volumes::read(&dir, name),
            None => Ok(None),
        }
    }

    /// Returns whether volumes of the root can have this `limit`, as
    /// [`super::Root::can_limit`] does.
    ///
    /// # Errors
    /// They cannot, and why.
    pub fn can_limit(&self, limit: Amount) -> std::result::Result<(), NoLimits> {
        can_limit(self.dir.path(), &self.dir, limit)
    }

    /// Returns what lies in the trash and is no entry of it.
    ///
    /// # Errors
    /// The trash cannot be read.
    pub fn foreign_in_trash(&self) -> Result<Vec<Entry>> {
        let mut entries = self.entries(TRASH)?.unwrap_or_default();
        let is_ours = |entry: &Entry| entry.is_dir && TrashName::parse(&entry.shown).is_some();
        entries.retain(|entry| !is_ours(entry));
        Ok(entries)
    }

    /// Returns what is being built or deleted, or was left so.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn staged(&self) -> Result<Vec<Entry>> {
        self.entries(STAGING).map(Option::unwrap_or_default)
    }

    /// Returns what was moved in, or is to be, to become volumes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn adopting(&self) -> Result<Vec<(FileName, Adopting)>> {
        let Some(dir) = self.below(ADOPTING)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for token in dir.dirs()? {
            found.extend(adopt::read(&dir, &token)?.map(|entry| (token, entry)));
        }
        Ok(found)
    }

    fn entries(&self, name: &str) -> Result<Option<Vec<Entry>>> {
        let Some(dir) = self.below(name)? else { return Ok(None) };
        let mut entries = Vec::new();
        dir.each(|name, kind| {
            let shown = name.to_string_lossy().into_owned();
            let name = name.to_str().ok().and_then(FileName::new);
            entries.push(Entry { name, shown, is_dir: kind == Kind::Dir });
            Ok(())
        })?;
        order::sort(&mut entries, Ord::cmp);
        Ok(Some(entries))
    }

    fn below(&self, name: &str) -> Result<Option<Dir>> {
        let absent = |error: &Error| error.errno() == Some(nix::errno::Errno::ENOENT);
        match self.dir.open_dir(&FileName::new(name).expect("it is one component")) {
            Err(error) if absent(&error) => Ok(None),
            opened => opened.map(Some),
        }
    }
}
