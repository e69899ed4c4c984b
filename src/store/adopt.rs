//! A directory that becomes a volume's data directory by a rename, which somebody else
//! makes: the driver may not see where the directory lies.
//!
//! ```text
//! adopting/<token>/volume.json   the record, written before anybody may rename
//! adopting/<token>/data/         the directory, from the rename on
//! ```
//!
//! Nothing in here is ever deleted but an empty entry: its record, and then the
//! directory with rmdir(2). An entry that holds data becomes the volume that its record
//! names, if not now then at a later look.

use std::os::fd::AsFd;
use std::time::SystemTime;

use nix::errno::Errno;

use super::account::enroll_tree;
use super::dir::{Dir, Identity};
use super::error::{Error, Result};
use super::layout::{ADOPTING, DATA, FileName, RECORD};
use super::root::Root;
use super::volumes::{Commit, Ownership, RECORD_LIMIT, data_name, give};
use crate::sys::btrfs;
use crate::sys::quota::{self, Amount};

/// An entry that waits for a directory, or holds one.
#[derive(Debug)]
pub struct Adopting {
    /// Its record's bytes, where it has one.
    pub record: Option<Vec<u8>>,
    /// Whether it holds a directory.
    pub has_data: bool,
    /// When something in it changed last.
    pub changed: Option<SystemTime>,
}

/// How a directory becomes a volume.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whom it is given to, where that is stated.
    pub owner: Ownership,
    /// How much it may hold.
    pub limit: Amount,
    /// Whether it is refused where it holds more than that.
    pub strict: bool,
}

impl Root {
    /// Makes an entry that waits for a directory, durably, and returns its token and which
    /// directory it is.
    ///
    /// # Errors
    /// The disk refuses. An entry that is left then is empty.
    pub fn prepare(&self, record: &[u8]) -> Result<(FileName, Identity)> {
        let adopting = self.make_adopting()?;
        let token = self.token()?;
        adopting.make_dir(token.as_str())?;
        let made = (|| {
            let entry = adopting.open_dir(&token)?;
            entry.write_new_synced(RECORD, record)?;
            entry.sync()?;
            self.commit(&adopting)?;
            entry.identity()
        })();
        match made {
            Ok(identity) => Ok((token, identity)),
            Err(error) => {
                // Ignoring: it is empty, and a later look takes it away.
                let _left = self.abandon(&token);
                Err(error)
            }
        }
    }

    /// Returns the tokens of all entries, in no order.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn adopting(&self) -> Result<Vec<FileName>> {
        self.open_adopting()?.map_or(Ok(Vec::new()), |adopting| adopting.dirs())
    }

    /// Reads the entry `token`, or returns `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_adopting(&self, token: &FileName) -> Result<Option<Adopting>> {
        match self.open_adopting()? {
            Some(adopting) => read(&adopting, token),
            None => Ok(None),
        }
    }

    /// Takes the entry `token` away, where it holds no directory, and returns whether it is
    /// gone.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn abandon(&self, token: &FileName) -> Result<bool> {
        let Some(adopting) = self.open_adopting()? else { return Ok(true) };
        match read(&adopting, token)? {
            None => return Ok(true),
            Some(found) if found.has_data => return Ok(false),
            Some(_) => {}
        }
        let entry = adopting.open_dir(token)?;
        let record = entry.read(RECORD, RECORD_LIMIT)?;
        entry.delete_file(RECORD)?;
        match adopting.delete_dir(token) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.errno(), Some(Errno::ENOTEMPTY | Errno::EEXIST)) => {
                // A directory came at this moment, and is to become what was asked for.
                if let Some(record) = record {
                    entry.write_new_synced(RECORD, &record)?;
                    entry.sync()?;
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the volume `name` of the entry `token`, whose directory is its data from then
    /// on; `None` where there is no such entry, or no directory in it.
    ///
    /// # Errors
    /// The disk refuses, or it holds more than it may. The directory is then where it was;
    /// except that a failure to sync after the rename leaves that to the disk, and ends this
    /// root.
    pub fn adopt(&self, token: &FileName, name: &FileName, terms: Terms) -> Result<Option<Commit>> {
        let Some(adopting) = self.open_adopting()? else { return Ok(None) };
        let absent = |error: &Error| error.errno() == Some(Errno::ENOENT);
        let entry = match adopting.open_dir(token) {
            Err(error) if absent(&error) => return Ok(None),
            opened => opened?,
        };
        let data = match entry.open_dir(&data_name()) {
            Err(error) if absent(&error) => return Ok(None),
            opened => opened?,
        };
        let before = quota::project(data.as_fd()).ok();
        let renamed = self.make_fit(&data, terms).and_then(|()| {
            // Somebody else's renames and bytes, as all user bytes: ours counts only when
            // theirs is on the disk. They cannot be thrown away and made anew, so a sync
            // that failed is final here too.
            self.refuse_unsynced(&entry)?;
            entry.sync_file_system().inspect_err(|error| {
                let _first_stays = self.unsynced.set(error.to_string());
            })?;
            self.commit(&data)?;
            self.state().note(name)?;
            adopting.rename(token, &self.volumes, name)
        });
        if let Err(error) = renamed {
            if let Some(project) = before
                && quota::project(data.as_fd()).ok() != before
            {
                // Ignoring: the first error is the one to tell.
                let _left = enroll_tree(&data, project);
            }
            return match error.errno() {
                Some(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(Some(Commit::Exists)),
                _ => Err(error),
            };
        }
        // The new name first: a cut between the two must not lose both.
        self.commit(&self.volumes)?;
        self.commit(&adopting)?;
        Ok(Some(Commit::Done))
    }

    /// Returns whether the data directory of the volume `name` is the file with this
    /// `inode`, durably.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn has_adopted(&self, name: &FileName, inode: u64) -> Result<bool> {
        let is_it = match self.open_data(name) {
            Ok(data) => data.identity()?.1 == inode,
            Err(error) if error.errno() == Some(Errno::ENOENT) => false,
            Err(error) => return Err(error),
        };
        if is_it {
            // Whoever renamed it may have been killed before it was on the disk.
            self.commit(&self.volumes)?;
        }
        Ok(is_it)
    }

    /// Gives it what every volume has: its label, its owner, an account and a limit.
    fn make_fit(&self, data: &Dir, terms: Terms) -> Result<()> {
        // Ignoring: not every file system has labels, and the volume's Status says that
        // it has none.
        let _unlabelled = data.label_for_containers();
        // A project that it is in already may be another tree's too.
        if !btrfs::is_btrfs(data.as_fd()) && self.can_limit(Amount::default()).is_ok() {
            enroll_tree(data, self.free_project()?)?;
        }
        if terms.limit != Amount::default() {
            self.limit(data, terms.limit)?;
            if terms.strict {
                self.refuse_beyond(data, terms.limit)?;
            }
        }
        give(data, terms.owner)
    }

    fn open_adopting(&self) -> Result<Option<Dir>> {
        match self.dir.open_dir(&FileName::new(ADOPTING).expect("it is one component")) {
            Ok(adopting) => Ok(Some(adopting)),
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory of all entries, and makes it where it is missing.
    fn make_adopting(&self) -> Result<Dir> {
        if let Some(adopting) = self.open_adopting()? {
            return Ok(adopting);
        }
        match self.dir.make_dir(ADOPTING) {
            Err(error) if error.errno() != Some(Errno::EEXIST) => return Err(error),
            _ => self.commit(&self.dir)?,
        }
        self.dir.open_dir(&FileName::new(ADOPTING).expect("it is one component"))
    }
}

/// Reads an entry of the directory `adopting`, as [`Root::read_adopting`] does.
pub(super) fn read(adopting: &Dir, token: &FileName) -> Result<Option<Adopting>> {
    let entry = match adopting.open_dir(token) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
        opened => opened?,
    };
    Ok(Some(Adopting {
        record: entry.read(RECORD, RECORD_LIMIT)?,
        has_data: entry.has_dir(DATA)?,
        changed: adopting.modified(token)?,
    }))
}
