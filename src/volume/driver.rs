//! What can be done with volumes.
//!
//! # Locking
//! A change of a volume, from its first look at the disk to its commit, is made
//! under that volume's lock. The mutexes of the cache and of the holders are
//! held for a look-up, never over disk work.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::availability::{Availability, Change};
use super::cache::Cache;
use super::collect::Collector;
use super::error::Error;
use super::evidence::Evidence;
use super::holders::{Holder, Holders};
use super::locks::Locks;
use super::name::VolumeName;
use super::options::{Fixture, Options};
use super::record::Record;
use crate::store::layout::volume_data;
use crate::store::{self, Commit, Ownership, Root, State, TrashName};

/// How a driver behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The root to serve.
    pub root: store::Settings,
    /// How long a removed volume is kept where its options do not say.
    pub retention: Duration,
    /// The options of a Create that does not state them.
    pub defaults: Options,
    /// Where the driver listens, if it is to behave as the reference fixture.
    pub fixture: Option<String>,
}

/// A volume, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Its record, if that can be used.
    pub record: Option<Record>,
    /// Whether it can be used.
    pub health: Health,
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

/// How a Create ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The volume was made.
    New,
    /// It was there already, with the same options.
    Existing,
}

/// How a Remove ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// The volume is in the trash, for so long.
    Kept(TrashName, Duration),
    /// The volume is gone for good.
    Deleted,
    /// There was no such volume.
    Absent,
}

/// The driver: a root, and what is remembered of its volumes.
#[derive(Debug)]
pub struct Driver {
    pub(super) settings: Settings,
    pub(super) availability: Availability,
    pub(super) collector: Collector,
    builtin: Options,
    locks: Locks,
    cache: Mutex<Cache>,
    holders: Mutex<Holders>,
}

impl Driver {
    /// Makes a driver that has no root yet; [`Driver::check`] opens it.
    pub fn new(settings: Settings) -> Self {
        Self {
            builtin: Options::builtin(settings.retention),
            settings,
            availability: Availability::default(),
            collector: Collector::default(),
            locks: Locks::default(),
            cache: Mutex::default(),
            holders: Mutex::default(),
        }
    }

    /// Creates the volume `name`. One that is there with the same options is
    /// success, and is not touched.
    ///
    /// # Errors
    /// No root, other options, a damaged volume of that name, or the disk.
    pub fn create(&self, name: &VolumeName, asked: &Options) -> Result<Created, Error> {
        let _lock = self.locks.lock(name);
        let root = self.checked_root()?;
        if let Some(volume) = self.read(&root, name)? {
            return self.compare(&root, &volume, asked);
        }
        let created = whole_seconds(SystemTime::now());
        let defaults = self.settings.defaults.clone();
        let record = Record { created, stated: asked.clone(), defaults };
        let in_force = record.in_force(&self.builtin);
        let owner = Ownership {
            uid: asked.uid.or(record.defaults.uid),
            gid: asked.gid.or(record.defaults.gid),
            mode: in_force.mode.expect("there is a built-in mode"),
        };
        let bytes = record.to_bytes(name);
        let committed =
            self.with_room(&root, || root.create(name.file(), &bytes, owner)).map_err(|error| {
                self.give_up_if_unsynced(&root);
                Error::Disk(name.clone(), error)
            })?;
        self.cache().changed(name);
        self.wake_collector_if_low(&root);
        match committed {
            Commit::Done => Ok(Created::New),
            Commit::Exists => match self.read(&root, name)? {
                Some(volume) => self.compare(&root, &volume, asked),
                None => Err(Error::NoSuchVolume(name.to_string())),
            },
        }
    }

    /// Removes the volume `name`: to the trash, or for good where nothing is to
    /// be kept. That there is none is success.
    ///
    /// # Errors
    /// No root, a damaged volume, somebody who uses it, or the disk.
    pub fn remove(&self, name: &VolumeName) -> Result<Removed, Error> {
        let _lock = self.locks.lock(name);
        let root = self.checked_root()?;
        let Some(volume) = self.read(&root, name)? else {
            self.verify(&root)?;
            self.forget(&root, name);
            return Ok(Removed::Absent);
        };
        let record = self.usable(&volume)?;
        self.refuse_if_in_use(&root, name)?;
        let retain = match record.stated.retain {
            Some(retain) => retain,
            None if name.is_anonymous() => Duration::ZERO,
            None => record.in_force(&self.builtin).retain.expect("there is a built-in retention"),
        };
        let removed = self.with_room(&root, || {
            if retain.is_zero() {
                return Ok(if root.discard(name.file())? {
                    Removed::Deleted
                } else {
                    Removed::Absent
                });
            }
            let entry = root.retire(name.file())?;
            Ok(entry.map_or(Removed::Absent, |entry| Removed::Kept(entry, retain)))
        });
        let removed = removed.map_err(|error| {
            self.give_up_if_unsynced(&root);
            self.cache().changed(name);
            Error::Disk(name.clone(), error)
        })?;
        self.forget(&root, name);
        if removed == Removed::Deleted {
            self.collector.wake();
        }
        self.wake_collector_if_low(&root);
        Ok(removed)
    }

    /// Remembers that `id` mounts the volume `name`, and returns its mountpoint.
    ///
    /// # Errors
    /// No root, no such volume, a damaged one, or the disk.
    pub fn mount(&self, name: &VolumeName, id: &str) -> Result<PathBuf, Error> {
        let _lock = self.locks.lock(name);
        let root = self.checked_root()?;
        let Some(volume) = self.read(&root, name)? else {
            self.verify(&root)?;
            return Err(Error::NoSuchVolume(name.to_string()));
        };
        let record = self.usable(&volume)?;
        if let Some(url) = &self.settings.fixture {
            if record.stated.invalid_option {
                return Err(Error::Fixture);
            }
            write_for_fixture(&root, name, url, id)
                .map_err(|error| Error::Disk(name.clone(), error))?;
        }
        self.holders().mount(name, id);
        self.wake_collector_if_low(&root);
        Ok(self.mountpoint(name))
    }

    /// Remembers that `id` does not mount the volume `name` any more. It never
    /// waits, and never fails.
    pub fn unmount(&self, name: &VolumeName, id: &str) {
        self.holders().unmount(name, id);
    }

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
                let volume = Arc::new(volume);
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
            None => self.cache().fresh(name).cloned(),
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
    /// `name`. It asks the state directory, not the root; where that does not
    /// say, the answer is yes.
    pub fn may_have(&self, name: &VolumeName) -> bool {
        let state = State::open(&self.settings.root.state_dir);
        state.and_then(|state| state.has_seen(name.file())).unwrap_or(true)
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

    /// Returns what containers are given of the volume `name`, which need not exist.
    pub fn mountpoint(&self, name: &VolumeName) -> PathBuf {
        store::layout::mountpoint(&self.settings.root.path, name.file())
    }

    /// Returns how many volumes and how many entries of the trash there are, or
    /// `None` without a root.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn counts(&self) -> Result<Option<(usize, usize)>, Error> {
        let Ok(root) = self.root() else { return Ok(None) };
        let volumes = root.names().map_err(Error::Root)?.len();
        let trash = root.trash().map_err(Error::Root)?.len();
        Ok(Some((volumes, trash)))
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

    /// Returns the reason why there is no root, and since when. It never waits.
    pub fn unavailable(&self) -> Option<(String, Instant)> {
        self.availability.unavailable()
    }

    /// Returns whether this is the reference fixture.
    pub fn fixture(&self) -> Fixture {
        if self.settings.fixture.is_some() { Fixture::On } else { Fixture::Off }
    }

    /// Checks the root, or tries to open it, and returns what is new. Meant to
    /// be called every second, by one thread.
    pub fn check(&self) -> Option<Change> {
        let change = self.availability.check(&self.settings.root);
        if let Some(Change::Opened { .. }) = change {
            // It may be another root than before.
            *self.cache() = Cache::default();
            self.collector.wake();
        }
        change
    }

    /// Brings the names in the state directory in line with those in the root,
    /// after it was opened.
    ///
    /// # Errors
    /// The disk refuses; the names are then brought in line by the next call.
    pub fn reconcile(&self) -> Result<(), Error> {
        let Ok(root) = self.root() else { return Ok(()) };
        let seen: HashSet<_> = root.state().seen().map_err(Error::Root)?.into_iter().collect();
        let names: HashSet<_> = root.names().map_err(Error::Root)?.into_iter().collect();
        let differing = seen.symmetric_difference(&names).cloned();
        for name in differing.filter_map(VolumeName::from_file) {
            // Under its lock, for it may be on its way in or out.
            let _lock = self.locks.lock(&name);
            let there = root.read(name.file()).map_err(Error::Root)?.is_some();
            let state = root.state();
            let noted = if there { state.note(name.file()) } else { state.forget(name.file()) };
            noted.map_err(Error::Root)?;
        }
        Ok(())
    }

    pub(super) fn root(&self) -> Result<Arc<Root>, Error> {
        self.availability.root().map_err(Error::Unavailable)
    }

    /// Runs `change`, and once more each time it fails for want of space and
    /// something could be purged.
    fn with_room<T>(
        &self,
        root: &Root,
        change: impl Fn() -> store::dir::Result<T>,
    ) -> store::dir::Result<T> {
        loop {
            match change() {
                // The state directory may be full too, and no purge helps that.
                Err(error)
                    if error.errno() == Some(Errno::ENOSPC)
                        && error.path.starts_with(&self.settings.root.path)
                        && self.make_room(root) => {}
                done => return done,
            }
        }
    }

    fn checked_root(&self) -> Result<Arc<Root>, Error> {
        let root = self.root()?;
        self.verify(&root)?;
        Ok(root)
    }

    fn verify(&self, root: &Arc<Root>) -> Result<(), Error> {
        root.verify().map_err(|error| {
            self.availability.lose(root, &error);
            Error::Unavailable(error.to_string())
        })
    }

    fn give_up_if_unsynced(&self, root: &Arc<Root>) {
        // The operation has failed already, and its own error is the one to tell.
        let _found_out = self.verify(root);
    }

    fn read(&self, root: &Root, name: &VolumeName) -> Result<Option<Volume>, Error> {
        let stored = root.read(name.file()).map_err(|error| Error::Disk(name.clone(), error))?;
        let Some(stored) = stored else { return Ok(None) };
        let record = stored.record.and_then(|bytes| Record::parse(name, &bytes));
        let (record, health) = match record {
            Err(why) => (None, Health::Damaged(why)),
            Ok(record) if stored.has_data => (Some(record), Health::Ok),
            Ok(record) => (Some(record), Health::Damaged("its data directory is missing".into())),
        };
        Ok(Some(Volume { name: name.clone(), record, health }))
    }

    /// Returns the record of a volume that can be used.
    fn usable<'a>(&self, volume: &'a Volume) -> Result<&'a Record, Error> {
        match (&volume.record, &volume.health) {
            (Some(record), Health::Ok) => Ok(record),
            (_, Health::Damaged(why) | Health::Unknown(why)) => {
                let data = self.mountpoint(&volume.name);
                let whole = data.parent().unwrap_or(&data).display().to_string();
                Err(Error::Damaged(volume.name.clone(), why.clone(), whole))
            }
            (None, Health::Ok) => unreachable!("a volume without a record is damaged"),
        }
    }

    fn compare(
        &self,
        root: &Arc<Root>,
        volume: &Volume,
        asked: &Options,
    ) -> Result<Created, Error> {
        let record = self.usable(volume)?;
        match record.difference(asked, &self.builtin) {
            Some(difference) => Err(Error::OptionsDiffer(volume.name.clone(), difference)),
            None => {
                // Somebody may have put it here behind the driver's back.
                let noted = root.state().note(volume.name.file());
                noted.map_err(|error| Error::Disk(volume.name.clone(), error))?;
                Ok(Created::Existing)
            }
        }
    }

    fn refuse_if_in_use(&self, root: &Root, name: &VolumeName) -> Result<(), Error> {
        if let Some(pid) = Evidence::gather(root).user(&volume_data(name.file())) {
            return Err(Error::InUse(name.clone(), format!("process {pid}, which has it mounted")));
        }
        match self.holders().starting(name) {
            None => Ok(()),
            Some(holder) => {
                let since = humantime::format_rfc3339_seconds(holder.since);
                let by = format!("mount ID {:.12}, which asked for it at {since}", holder.id);
                Err(Error::InUse(name.clone(), by))
            }
        }
    }

    fn forget(&self, root: &Root, name: &VolumeName) {
        // Ignoring: a name too many in the state directory does no harm, and the
        // next opening of the root takes it out.
        let _left = root.state().forget(name.file());
        self.holders().forget(name);
        self.cache().changed(name);
    }

    // A panic cannot leave these half changed: each change is one call of a
    // collection's method.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    /// Returns whether the fixture hides the volume.
    pub fn is_ninja(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.stated.ninja)
    }
}

/// The reference plugin writes where it listens and who mounts into the volume.
fn write_for_fixture(
    root: &Root,
    name: &VolumeName,
    url: &str,
    id: &str,
) -> store::dir::Result<()> {
    root.replace_in_data(name.file(), "test", url.as_bytes())?;
    root.replace_in_data(name.file(), "mountID", id.as_bytes())
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
