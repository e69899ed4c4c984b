//! What is read of volumes.

use std::collections::BinaryHeap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::Driver;
use super::error::Error;
use super::holders::Holder;
use super::name::VolumeName;
use super::options::Options;
use super::record::Record;
use crate::store::{self, Amount, Root, Space, State, Stored, Usage};

/// A volume, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Its record, if that can be used.
    pub record: Option<Record>,
    /// Whether it can be used.
    pub health: Health,
    /// Why SELinux keeps containers from it, where it does.
    pub mislabelled: Option<String>,
    /// What it holds, of a volume with a limit; or why its limit is not kept. Only
    /// [`Driver::get`] asks for it.
    pub holds: Option<Result<Usage, String>>,
}

/// Whether a volume can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ok,
    /// It is damaged, and how.
    Damaged(String),
    /// It is not known: this is what was known before the disk went.
    Unknown(String),
}

/// What a look over the whole root found.
#[derive(Debug)]
pub struct Survey {
    /// How many volumes there are.
    pub volumes: usize,
    /// How many entries of the trash there are.
    pub trash_entries: usize,
    /// The space of the root's file system.
    pub space: Space,
    /// The first volumes by name, those that an engine named left out.
    pub first: Vec<Volume>,
}

impl Driver {
    /// Reads the volume `name`. A damaged one is no error.
    ///
    /// # Errors
    /// [`Error::NoSuchVolume`] where that is known; every other error means that
    /// it cannot be told.
    pub fn get(&self, name: &VolumeName) -> Result<Arc<Volume>, Error> {
        let root = self.root()?;
        let changes = self.cache().changes();
        match self.read(&root, name)? {
            Some(volume) => {
                self.note_found(&root, name);
                let record = volume.record.as_ref();
                let holds = record.and_then(|record| self.holds(&root, name, record));
                let volume = Arc::new(Volume { holds, ..volume });
                self.cache().put(Arc::clone(&volume), changes);
                Ok(volume)
            }
            None => {
                self.verify(&root)?;
                self.cache().changed(name);
                Err(Error::NoSuchVolume(name.to_string()))
            }
        }
    }

    /// Returns what was read of the volume `name` a moment ago; or, where there
    /// is no root, whenever it was. It never waits for the disk.
    pub fn cached(&self, name: &VolumeName) -> Option<Arc<Volume>> {
        match self.availability.unavailable() {
            // Another node may have changed it.
            None if self.settings.root.node.is_some() => None,
            // How full it is is asked for, not remembered.
            None => self.cache().fresh(name).filter(|volume| volume.holds.is_none()).cloned(),
            Some((reason, _)) => self.remembered(name, &reason),
        }
    }

    /// Returns what was last read of the volume `name`, with the reason why it
    /// cannot be read now. It never waits for the disk.
    pub fn remembered(&self, name: &VolumeName, reason: &str) -> Option<Arc<Volume>> {
        let last = self.cache().last(name).cloned()?;
        let health = Health::Unknown(reason.to_owned());
        Some(Arc::new(Volume { health, ..Volume::clone(&last) }))
    }

    /// Returns whether the root is known to have, or to have had, a volume
    /// `name`. It asks the state directory, not the root.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn has_seen(&self, name: &VolumeName) -> Result<bool, Error> {
        let state = State::open(&self.settings.root.state_dir);
        state.and_then(|state| state.has_seen(name.file())).map_err(Error::Root)
    }

    /// Returns the names of all volumes, in order.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn list(&self) -> Result<Vec<VolumeName>, Error> {
        let root = self.checked_root()?;
        let names = root.names().map_err(Error::Root)?;
        let mut names: Vec<VolumeName> =
            names.into_iter().filter_map(VolumeName::from_file).collect();
        if self.settings.fixture.is_some() {
            names.retain(|name| !self.get(name).is_ok_and(|volume| volume.is_ninja()));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns what containers are given of `volume`.
    pub fn mountpoint_of(&self, volume: &Volume) -> PathBuf {
        volume.place().map_or_else(|| self.mountpoint(&volume.name), Path::to_path_buf)
    }

    /// Returns where the data of a volume `name` is that is not a directory elsewhere.
    pub fn mountpoint(&self, name: &VolumeName) -> PathBuf {
        store::layout::mountpoint(&self.settings.root.path, name.file())
    }

    /// Looks over the whole root, and reads the first `limit` volumes. What it
    /// reads is not kept: nobody asked for those volumes.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn survey(&self, limit: usize) -> Result<Survey, Error> {
        let root = self.checked_root()?;
        let space = root.space().map_err(Error::Root)?;
        let trash_entries = root.trash_len().map_err(Error::Root)?;
        let mut volumes = 0;
        // The last of the first ones is on top, and goes when a better one comes.
        let mut first = BinaryHeap::new();
        let mut look_at = |name: VolumeName| {
            volumes += 1;
            if !name.is_anonymous() {
                first.push(name);
            }
            if first.len() > limit {
                first.pop();
            }
        };
        let names = root.each_name(|name| {
            VolumeName::from_file(name).into_iter().for_each(&mut look_at);
        });
        names.map_err(Error::Root)?;
        let described =
            first.into_sorted_vec().into_iter().filter_map(|name| match self.read(&root, &name) {
                Ok(volume) => volume,
                // It is there, and it cannot be told how it is: that is not well.
                Err(error) => {
                    let health = Health::Damaged(error.to_string());
                    Some(Volume::only(name, health))
                }
            });
        Ok(Survey { volumes, trash_entries, space, first: described.collect() })
    }

    /// Returns the options in force of a volume with `record`.
    pub fn in_force(&self, record: &Record) -> Options {
        record.in_force(&self.builtin)
    }

    /// Returns who mounted the volume `name` and did not unmount it. It never
    /// waits for the disk.
    pub fn holders_of(&self, name: &VolumeName) -> Vec<Holder> {
        self.holders().of(name).to_vec()
    }

    /// Returns how many mount IDs hold the volume `name`. It never waits for the
    /// disk.
    pub fn mounts_of(&self, name: &VolumeName) -> usize {
        self.holders().of(name).len()
    }

    /// Notes in the state directory that there is a volume `name`, which may
    /// have been put into the root behind the driver's back.
    pub(super) fn note_found(&self, root: &Root, name: &VolumeName) {
        // Ignoring: the volume is there, whatever is the matter with the state
        // directory. A Create says it.
        let _unnoted = root.state().note(name.file());
    }

    /// Reads the volume `name` from `root`, or `None` where there is none. What it
    /// holds is not asked for.
    pub(super) fn read(&self, root: &Root, name: &VolumeName) -> Result<Option<Volume>, Error> {
        let stored = root.read(name.file()).map_err(|error| Error::Disk(name.clone(), error))?;
        Ok(stored.map(|stored| self.with_place(root, Volume::new(name, stored))))
    }

    /// Asks the kernel what a volume with a limit holds.
    fn holds(
        &self,
        root: &Root,
        name: &VolumeName,
        record: &Record,
    ) -> Option<Result<Usage, String>> {
        let limit = self.in_force(record).limit();
        if limit == Amount::default() {
            return None;
        }
        let can = root.can_limit_volume(name.file(), limit).map_err(|why| why.to_string());
        Some(can.and_then(|()| root.usage(name.file()).ok_or_else(|| "mount it once".to_owned())))
    }

    /// Reads the volume `name` from `root`, where there is one. That there is none
    /// is said only of a root that still is in its place.
    pub(super) fn existing(&self, root: &Arc<Root>, name: &VolumeName) -> Result<Volume, Error> {
        if let Some(volume) = self.read(root, name)? {
            return Ok(volume);
        }
        self.verify(root)?;
        Err(Error::NoSuchVolume(name.to_string()))
    }

    /// Returns the record of a volume that can be used.
    pub(super) fn usable<'a>(&self, volume: &'a Volume) -> Result<&'a Record, Error> {
        match (&volume.record, &volume.health) {
            (Some(record), Health::Ok) => Ok(record),
            (Some(record), Health::Damaged(why)) if record.place().is_some() => {
                Err(Error::NoPlace(volume.name.clone(), why.clone()))
            }
            (_, Health::Damaged(why) | Health::Unknown(why)) => {
                let data = self.mountpoint(&volume.name);
                let whole = data.parent().unwrap_or(&data).display().to_string();
                Err(Error::Damaged(volume.name.clone(), why.clone(), whole))
            }
            (None, Health::Ok) => unreachable!("a volume without a record is damaged"),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl Volume {
    /// Makes of what is on the disk of the volume `name` what can be said of it.
    pub fn new(name: &VolumeName, stored: Stored) -> Self {
        let record = stored.record.and_then(|bytes| Record::parse(name, &bytes));
        let (record, health) = match record {
            Err(why) => (None, Health::Damaged(why)),
            // Who forgets such a volume must not lose bytes by it.
            Ok(record) if stored.has_data && record.place().is_some() => {
                let why = "its record says that it is a directory elsewhere, and it has one here";
                (None, Health::Damaged(why.into()))
            }
            Ok(record) if stored.has_data || record.place().is_some() => (Some(record), Health::Ok),
            Ok(record) => (Some(record), Health::Damaged("its data directory is missing".into())),
        };
        Self { name: name.clone(), record, health, mislabelled: stored.mislabelled, holds: None }
    }

    /// Describes a volume of which only this is known.
    pub fn only(name: VolumeName, health: Health) -> Self {
        Self { name, record: None, health, mislabelled: None, holds: None }
    }

    /// Returns whether the fixture hides the volume.
    pub fn is_ninja(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.stated.ninja)
    }
}
