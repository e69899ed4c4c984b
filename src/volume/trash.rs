//! The trash, as a person uses it: what is in it, and what is taken out of it.
//! What goes of itself is in [`super::collect`].

use std::time::SystemTime;

use nix::errno::Errno;

use super::change::{note_use, over_nodes};
use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::locks::LIMIT;
use super::name::VolumeName;
use super::read::Volume;
use super::record::Record;
use crate::store::layout::trash_data;
use crate::store::{Restored, Root, TrashName};

/// A removed volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the trash, with that of the volume and the time of its removal.
    pub name: TrashName,
    /// From when on it may be purged; `None` where that is not known, or later than
    /// there is a time for.
    pub expires: Option<SystemTime>,
    /// Its record; the error says why there is none.
    pub record: Result<Record, String>,
}

/// What to purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This entry; or that of the volume of this name, if there is just one.
    One(String),
    /// Those whose time is up.
    Expired,
    /// All.
    All,
}

impl Driver {
    /// Returns what is in the trash, those removed first in front.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn trash(&self) -> Result<Vec<Entry>, Error> {
        let root = self.checked_root()?;
        let names = root.trash().map_err(Error::Root)?;
        Ok(names.into_iter().map(|name| self.entry(&root, name)).collect())
    }

    /// Moves an entry of the trash back to the volumes: as `name`, or under the
    /// name that it had. Returns the volume as it is then.
    ///
    /// # Errors
    /// No root, no such entry, a volume of that name, or the disk.
    pub fn restore(&self, entry: &str, name: Option<VolumeName>) -> Result<Volume, Error> {
        let entry = find(&*self.checked_root()?, entry)?;
        let old = entry.volume().as_str();
        let name = match name {
            Some(name) => name,
            None => VolumeName::new(old).ok_or_else(|| Error::BadName(old.to_owned()))?,
        };
        // Two who restore one entry would write their names into one record.
        let entry_lock = self.locks.lock(entry.file());
        let mut entry_lock = entry_lock.ok_or_else(|| Error::Occupied(name.clone()))?;
        let (_lock, root) = self.enter(&name)?;
        entry_lock.shared = over_nodes(&name, root.lock_entry(entry.file(), LIMIT))?;
        if self.read(&root, &name)?.is_some() {
            return Err(Error::Exists(name.clone()));
        }
        let bytes = match root.trash_record(&entry) {
            // Somebody else was faster.
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                return Err(no_such(entry.file().as_str()));
            }
            bytes => bytes.map_err(Error::Root)?.unwrap_or_default(),
        };
        let record = Record::parse_any(&bytes);
        let renamed = match &record {
            Ok((said, _)) if said == name.as_str() => None,
            Ok((_, record)) => Some(record.to_bytes(&name)),
            // As it is: whoever mends it there can mend it here.
            Err(_) if name.as_str() == old => None,
            Err(why) => {
                let data = root.path().join(trash_data(&entry));
                let whole = data.parent().unwrap_or(&data).display().to_string();
                return Err(Error::Damaged(name.clone(), why.clone(), whole));
            }
        };
        let failed = |error| {
            self.give_up_if_unsynced(&root);
            Error::Disk(name.clone(), error)
        };
        // Before the volume is there, as in a Create.
        root.state().note(name.file()).map_err(failed)?;
        // On a full disk no room is made for it: the trash is the last to give way to
        // what comes from there, and might give this very entry.
        let restored = root.restore(&entry, name.file(), renamed.as_deref());
        self.cache().changed(&name);
        match restored.map_err(failed)? {
            Restored::Done => {
                note_use(&root, &name);
                self.existing(&root, &name)
            }
            Restored::Exists => Err(Error::Exists(name.clone())),
            Restored::Absent => {
                // Ignoring: a name too many does little harm.
                let _noted = root.state().forget(name.file());
                Err(no_such(entry.file().as_str()))
            }
        }
    }

    /// Returns the entries that a purge of `which` is to delete.
    ///
    /// # Errors
    /// No root, no such entry, or the disk.
    pub fn to_purge(&self, which: &Which) -> Result<Vec<TrashName>, Error> {
        let root = self.checked_root()?;
        let all = || root.trash().map_err(Error::Root);
        Ok(match which {
            Which::One(entry) => vec![find(&root, entry)?],
            Which::All => all()?,
            Which::Expired => {
                let now = root.now().map_err(Error::Root)?;
                all()?.into_iter().filter(|entry| self.is_expired(&root, entry, now)).collect()
            }
        })
    }

    /// Purges an entry of the trash for good, unless somebody has it mounted; returns
    /// why it stays, if it does. Its bytes are freed in the background.
    ///
    /// # Errors
    /// No root, it cannot be told who has it mounted, or the disk.
    pub fn purge(&self, entry: &TrashName) -> Result<Option<String>, Error> {
        let root = self.checked_root()?;
        let evidence = Evidence::needed(&root)?;
        if let Some(user) = evidence.user(&trash_data(entry)) {
            let (pid, at) = (user.pid, user.mountpoint.display());
            return Ok(Some(format!("process {pid} has it mounted at {at}")));
        }
        // That somebody else was faster is no matter.
        root.purge(entry).map_err(|error| {
            self.give_up_if_unsynced(&root);
            Error::Root(error)
        })?;
        self.collector.wake();
        Ok(None)
    }

    fn entry(&self, root: &Root, name: TrashName) -> Entry {
        let retain = self.retention_in_trash(root, &name).ok();
        let expires = retain.and_then(|retain| name.removed().checked_add(retain));
        let record = match root.trash_record(&name) {
            Ok(bytes) => Record::parse_any(&bytes.unwrap_or_default()).map(|(_, record)| record),
            Err(error) => Err(error.to_string()),
        };
        Entry { name, expires, record }
    }
}

/// Finds an entry by its name, or by that of its volume where there is just one.
fn find(root: &Root, wanted: &str) -> Result<TrashName, Error> {
    let entries = root.trash().map_err(Error::Root)?;
    if let Some(entry) = entries.iter().find(|entry| entry.file().as_str() == wanted) {
        return Ok(entry.clone());
    }
    let named: Vec<TrashName> =
        entries.into_iter().filter(|entry| entry.volume().as_str() == wanted).collect();
    match &named[..] {
        [] => Err(no_such(wanted)),
        [entry] => Ok(entry.clone()),
        [.., last] => Err(Error::NoSuchEntry(
            wanted.to_owned(),
            format!("{} are of that volume, {} is the latest", named.len(), last.file()),
        )),
    }
}

fn no_such(wanted: &str) -> Error {
    let wanted = wanted.escape_debug().to_string();
    Error::NoSuchEntry(wanted, "see 'dirvol trash ls'".into())
}
