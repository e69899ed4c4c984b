//! Removing volumes, and what becomes of them.

use std::sync::MutexGuard;

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::account::Account;
use super::delete::{Moved, delete_tree};
use super::dir::Dir;
use super::error::{Error, Result};
use super::layout::{FileName, RECORD, TrashName};
use super::root::Root;
use super::volumes::RECORD_LIMIT;
use crate::order;
use crate::sys::btrfs;

/// What nobody needs any more.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    /// Trees in `staging/`, to be deleted.
    pub(super) trees: Vec<FileName>,
    /// Accounts whose last file is gone, to be closed.
    pub(super) accounts: Vec<Account>,
}

/// How a restoration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The volume is there.
    Done,
    /// There is no such entry any more.
    Absent,
    /// There is a volume of that name; nothing was changed.
    Exists,
}

impl Root {
    /// Moves the volume `name` to the trash, whole, and returns the entry, or
    /// `None` where there is no such volume.
    ///
    /// # Errors
    /// The disk refuses; the volume is then still there, except that a failed
    /// sync leaves it to the disk, and ends this root.
    pub fn retire(&self, name: &FileName) -> Result<Option<TrashName>> {
        let entry = TrashName::new(name, self.now()?).map_err(|source| Error {
            op: "getrandom",
            path: self.trash.path().to_path_buf(),
            source,
        })?;
        if !self.take_out(name, &self.trash, entry.file())? {
            return Ok(None);
        }
        // The new name first: a cut between the two must not lose both.
        self.commit(&self.trash)?;
        self.commit(&self.volumes)?;
        Ok(Some(entry))
    }

    /// Removes the volume `name` for good, and returns whether it was there. Its
    /// bytes are freed by [`Root::sweep`].
    ///
    /// # Errors
    /// As those of [`Root::retire`].
    pub fn discard(&self, name: &FileName) -> Result<bool> {
        let doomed = self.token()?;
        if !self.take_out(name, &self.staging, &doomed)? {
            return Ok(false);
        }
        self.commit(&self.volumes)?;
        self.doom(doomed);
        Ok(true)
    }

    /// Moves the volume `name` to `to` in `target`, and returns whether it was there.
    fn take_out(&self, name: &FileName, target: &Dir, to: &FileName) -> Result<bool> {
        match self.volumes.rename(name, target, to) {
            Ok(()) => Ok(true),
            // Where the volume is there, it is the other directory that is missing.
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                if self.volumes.has_dir(name.as_str())? { Err(error) } else { Ok(false) }
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the entries of the trash, those removed first in front.
    ///
    /// # Errors
    /// `trash/` cannot be read.
    pub fn trash(&self) -> Result<Vec<TrashName>> {
        let names = self.trash.dirs()?;
        let mut entries: Vec<TrashName> =
            names.iter().filter_map(|name| TrashName::parse(name.as_str())).collect();
        order::sort(&mut entries, |a, b| (a.removed(), a.file()).cmp(&(b.removed(), b.file())));
        Ok(entries)
    }

    /// Returns how many entries the trash has.
    ///
    /// # Errors
    /// `trash/` cannot be read.
    pub fn trash_len(&self) -> Result<usize> {
        let mut entries = 0;
        self.trash.each_dir(|name| {
            entries += usize::from(TrashName::parse(name.as_str()).is_some());
        })?;
        Ok(entries)
    }

    /// Returns whether nothing is on its way: no volume is being built, and none is
    /// being deleted or was left half deleted.
    ///
    /// # Errors
    /// `staging/` cannot be read.
    pub fn is_settled(&self) -> Result<bool> {
        self.staging.names().map(|trees| trees.is_empty())
    }

    /// Returns the bytes of the record in an entry of the trash, or `None` where
    /// it has none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn trash_record(&self, entry: &TrashName) -> Result<Option<Vec<u8>>> {
        self.trash.open_dir(entry.file())?.read(RECORD, RECORD_LIMIT)
    }

    /// Moves an entry of the trash back to the volumes, as `name`; its record is
    /// replaced by `record` before, where one is given.
    ///
    /// # Errors
    /// The disk refuses; the entry is then still there, except that a failed sync
    /// leaves it to the disk, and ends this root.
    pub fn restore(
        &self,
        entry: &TrashName,
        name: &FileName,
        record: Option<&[u8]>,
    ) -> Result<Restored> {
        if let Some(record) = record {
            match self.trash.open_dir(entry.file()) {
                Ok(dir) => self.replace_record(&dir, record)?,
                Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(Restored::Absent),
                Err(error) => return Err(error),
            }
        }
        match self.trash.rename(entry.file(), &self.volumes, name) {
            Ok(()) => {}
            Err(error) => {
                return match error.errno() {
                    Some(Errno::ENOENT) => Ok(Restored::Absent),
                    Some(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(Restored::Exists),
                    _ => Err(error),
                };
            }
        }
        // The new name first: a cut between the two must not lose both.
        self.commit(&self.volumes)?;
        self.commit(&self.trash)?;
        Ok(Restored::Done)
    }

    /// Takes an entry out of the trash for good, and returns whether it was
    /// there. Its bytes are freed by [`Root::sweep`].
    ///
    /// # Errors
    /// The disk refuses.
    pub fn purge(&self, entry: &TrashName) -> Result<bool> {
        // What could not be synced before may be gone from the disk's point of view.
        self.refuse_unsynced(&self.trash)?;
        let doomed = self.token()?;
        match self.trash.rename(entry.file(), &self.staging, &doomed) {
            Ok(()) => {}
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.commit(&self.trash)?;
        self.doom(doomed);
        Ok(true)
    }

    /// Has the file system free what was deleted, and returns whether it does that in
    /// the background: what is free is then not known yet.
    pub fn frees_later(&self) -> bool {
        let fd = self.staging.as_fd();
        btrfs::is_btrfs(fd) && btrfs::free_deleted(fd).is_ok()
    }

    /// Deletes everything that is doomed, and returns what could not be deleted.
    /// That is not tried again before the root is opened anew, so that one file
    /// that cannot be deleted is told of once. It ends early on a root that was
    /// given up.
    pub fn sweep(&self) -> Vec<Error> {
        let mut failed = Vec::new();
        let mut later = Vec::new();
        while !self.is_lost() {
            let next = self.doomed().trees.pop();
            let Some(tree) = next else { break };
            let project = self.project_of(&tree);
            let mut moved = Moved::default();
            match delete_tree(self, &tree, &mut moved) {
                Ok(()) => project.into_iter().for_each(|project| self.close(project)),
                // NFS keeps a file that somebody has open under another name, until then.
                Err(error) if self.node.is_some() && error.errno() == Some(Errno::ENOTEMPTY) => {
                    later.push(tree);
                }
                Err(error) if moved.is_empty() => failed.push(error),
                // What was moved out of it goes first, and then the rest.
                Err(_) => self.doom(tree),
            }
            moved.trees.into_iter().for_each(|tree| self.doom(tree));
        }
        later.into_iter().for_each(|tree| self.doom(tree));
        failed.extend(self.close_accounts());
        failed
    }

    /// Leaves a tree in `staging/` to be deleted by [`Root::sweep`].
    pub(super) fn doom(&self, staged: FileName) {
        self.doomed().trees.push(staged);
    }

    pub(super) fn doomed(&self) -> MutexGuard<'_, Doomed> {
        self.doomed.lock().expect("no holder of this lock panics")
    }
}

impl From<Vec<FileName>> for Doomed {
    fn from(trees: Vec<FileName>) -> Self {
        Self { trees, accounts: Vec::new() }
    }
}
