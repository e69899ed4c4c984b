//! The trash, as a person uses it: what is in it, and what is taken out of it.
//! What goes of itself is in [`super::collect`].

use std::time::SystemTime;

use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::name::VolumeName;
use super::options::Options;
use super::record::Record;
use crate::store::layout::trash_data;
use crate::store::{Restored, Root, TrashName};

/// A removed volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the trash, with that of the volume and the time of its removal.
    pub name: TrashName,
    /// From when on it may be purged; `None` is later than there is a time for.
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

/// What a purge did.
#[derive(Debug, Default)]
pub struct Purged {
    /// What is gone.
    pub purged: Vec<TrashName>,
    /// What is still there, and why.
    pub kept: Vec<(TrashName, String)>,
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
    /// name that it had. Returns that name, and the options that were stated at its
    /// Create: those that engines knew.
    ///
    /// # Errors
    /// No root, no such entry, a volume of that name, or the disk.
    pub fn restore(
        &self,
        entry: &str,
        name: Option<VolumeName>,
    ) -> Result<(VolumeName, Options), Error> {
        let entry = find(&*self.checked_root()?, entry)?;
        let old = entry.volume().as_str();
        let name = match name {
            Some(name) => name,
            None => VolumeName::new(old).ok_or_else(|| Error::BadName(old.to_owned()))?,
        };
        let (_lock, root) = self.enter(&name)?;
        if self.read(&root, &name)?.is_some() {
            return Err(Error::Exists(name.clone()));
        }
        let bytes = root.trash_record(&entry).map_err(Error::Root)?.unwrap_or_default();
        let record = Record::parse_any(&bytes);
        let (options, renamed) = match &record {
            Ok((said, record)) if said == name.as_str() => (record.stated.clone(), None),
            Ok((_, record)) => (record.stated.clone(), Some(record.to_bytes(&name))),
            // As it is: whoever mends it there can mend it here.
            Err(_) if name.as_str() == old => (Options::default(), None),
            Err(why) => {
                let whole = root.path().join(trash_data(&entry)).display().to_string();
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
            Restored::Done => Ok((name.clone(), options)),
            Restored::Exists => Err(Error::Exists(name.clone())),
            Restored::Absent => Err(no_such(entry.file().as_str())),
        }
    }

    /// Purges entries of the trash for good, but for those that somebody has
    /// mounted. Their bytes are freed in the background.
    ///
    /// # Errors
    /// No root, no such entry, it cannot be told who has them mounted, or the disk.
    pub fn purge(&self, which: &Which) -> Result<Purged, Error> {
        let root = self.checked_root()?;
        let entries = match which {
            Which::One(entry) => vec![find(&root, entry)?],
            Which::All => root.trash().map_err(Error::Root)?,
            Which::Expired => {
                let entries = root.trash().map_err(Error::Root)?;
                entries.into_iter().filter(|entry| self.is_expired(&root, entry)).collect()
            }
        };
        let mut done = Purged::default();
        for entry in entries {
            let evidence = Evidence::needed(&root)?;
            if let Some(user) = evidence.user(&trash_data(&entry)) {
                let (pid, at) = (user.pid, user.mountpoint.display());
                done.kept.push((entry, format!("process {pid} has it mounted at {at}")));
                continue;
            }
            match root.purge(&entry) {
                Ok(true) => done.purged.push(entry),
                // Somebody else was faster.
                Ok(false) => {}
                Err(error) => {
                    self.give_up_if_unsynced(&root);
                    done.kept.push((entry, error.to_string()));
                }
            }
        }
        self.collector.wake();
        Ok(done)
    }

    fn entry(&self, root: &Root, name: TrashName) -> Entry {
        let expires = name.removed().checked_add(self.retention_in_trash(root, &name));
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
