//! What is changed of volumes, each under its lock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::collect::is_short;
use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::holders::{CARRIED, STARTING};
use super::locks::Guard;
use super::name::VolumeName;
use super::options::Options;
use super::read::Volume;
use super::record::Record;
use super::refuse::{refuse_if_not_to_give, refuse_unless_limited};
use crate::store::layout::volume_data;
use crate::store::{self, Amount, Commit, Ownership, Root, TrashName};

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
    /// The volume is in the trash.
    Kept {
        /// Its entry.
        entry: TrashName,
        /// For how long it is kept.
        retain: Duration,
        /// Whether space is low, so that it may have to give way at once.
        space_is_low: bool,
    },
    /// The volume is gone for good.
    Deleted,
    /// There was no such volume.
    Absent,
}

/// What a Mount is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// What containers are given.
    pub mountpoint: PathBuf,
    /// Why the kernel does not keep the volume's limit, if it has one.
    pub unlimited: Option<String>,
}

impl Driver {
    /// Creates the volume `name`. One that is there with the same options is
    /// success, and is not touched.
    ///
    /// # Errors
    /// No root, other options, a damaged volume of that name, an owner that this
    /// driver cannot give it to, or the disk.
    pub fn create(&self, name: &VolumeName, asked: &Options) -> Result<Created, Error> {
        let (_lock, root) = self.enter(name)?;
        if let Some(volume) = self.read(&root, name)? {
            return self.compare(&root, &volume, asked);
        }
        let created = whole_seconds(SystemTime::now());
        let defaults = self.settings.defaults.clone();
        let record = Record { created, stated: asked.clone(), defaults, set: Options::default() };
        let in_force = record.in_force(&self.builtin);
        let owner = Ownership {
            uid: asked.uid.or(record.defaults.uid),
            gid: asked.gid.or(record.defaults.gid),
            mode: in_force.mode,
        };
        refuse_if_not_to_give(name, owner)?;
        let limit = in_force.limit();
        refuse_unless_limited(&root, name, limit)?;
        let bytes = record.to_bytes(name);
        let create = || root.create(name.file(), &bytes, owner, limit);
        let committed = self.with_room(&root, create).map_err(|error| {
            self.give_up_if_unsynced(&root);
            Error::Disk(name.clone(), error)
        })?;
        self.cache().changed(name);
        self.wake_collector_if_low(&root);
        match committed {
            Commit::Done => {
                // The name may have been noted long ago, of a volume that is gone.
                note_use(&root, name);
                Ok(Created::New)
            }
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
        let (_lock, root) = self.enter(name)?;
        let Some(volume) = self.read(&root, name)? else {
            self.verify(&root)?;
            self.forget(&root, name);
            return Ok(Removed::Absent);
        };
        let record = self.usable(&volume)?;
        self.refuse_if_protected(name, record)?;
        let retain = match record.asked().retain {
            None if name.is_anonymous() => Duration::ZERO,
            _ => self.retention(record),
        };
        let known = self.refuse_if_in_use(&root, name, retain)?;
        self.take_away(&root, name, retain, known)
    }

    /// Takes the volume `name` away: to the trash for as long as `retain`, or for
    /// good where that is nothing and it is `known` that nobody uses it.
    pub(super) fn take_away(
        &self,
        root: &Arc<Root>,
        name: &VolumeName,
        retain: Duration,
        known: bool,
    ) -> Result<Removed, Error> {
        let removed = self.with_room(root, || {
            // Nothing is deleted while it cannot be told who uses it: from the
            // trash it goes as soon as it can.
            if retain.is_zero() && known {
                return Ok(if root.discard(name.file())? {
                    Removed::Deleted
                } else {
                    Removed::Absent
                });
            }
            let entry = root.retire(name.file())?;
            let space_is_low = false;
            Ok(entry.map_or(Removed::Absent, |entry| Removed::Kept { entry, retain, space_is_low }))
        });
        let removed = removed.map_err(|error| {
            self.give_up_if_unsynced(root);
            self.cache().changed(name);
            Error::Disk(name.clone(), error)
        })?;
        self.forget(root, name);
        if removed == Removed::Deleted {
            self.collector.wake();
        }
        let low = self.wake_collector_if_low(root);
        Ok(match removed {
            Removed::Kept { entry, retain, .. } => {
                Removed::Kept { entry, retain, space_is_low: low }
            }
            gone => gone,
        })
    }

    /// Remembers that `id` mounts the volume `name`, and returns its mountpoint.
    ///
    /// # Errors
    /// No root, no such volume, a damaged one, or the disk.
    pub fn mount(&self, name: &VolumeName, id: &str) -> Result<Mounted, Error> {
        let (_lock, root) = self.enter(name)?;
        let volume = self.existing(&root, name)?;
        let record = self.usable(&volume)?;
        if let Some(url) = &self.settings.fixture {
            if record.stated.invalid_option {
                return Err(Error::Fixture);
            }
            write_for_fixture(&root, name, url, id)
                .map_err(|error| Error::Disk(name.clone(), error))?;
        }
        let unlimited = enforce(&root, name, self.in_force(record).limit());
        self.note_found(&root, name);
        note_use(&root, name);
        self.holders().mount(name, id);
        self.wake_collector_if_low(&root);
        Ok(Mounted { mountpoint: self.mountpoint(name), unlimited })
    }

    /// Remembers that `id` does not mount the volume `name` any more. It never
    /// waits, and never fails.
    pub fn unmount(&self, name: &VolumeName, id: &str) {
        self.holders().unmount(name, id);
    }

    /// Notes that the volume `name` was in use until now.
    ///
    /// # Errors
    /// No root.
    pub fn note_unmounted(&self, name: &VolumeName) -> Result<(), Error> {
        note_use(&*self.root()?, name);
        Ok(())
    }

    /// Remembers that an engine begins a new life: dockerd activates a driver once
    /// in each. It never waits.
    pub fn activate(&self) {
        self.holders().carry_over();
    }

    /// Takes the lock of the volume `name`, and returns it with the root. Whoever
    /// has the lock may wait for a disk that hangs; that is found out before.
    pub(super) fn enter<'a>(
        &'a self,
        name: &'a VolumeName,
    ) -> Result<(Guard<'a>, Arc<Root>), Error> {
        self.root()?;
        let lock = self.locks.lock(name.file());
        Ok((lock, self.checked_root()?))
    }

    /// Runs `change`, and once more each time it fails for want of space and
    /// something could be purged. A change whose commit could not be synced is
    /// not run again: it would find itself done, and prove nothing.
    pub(super) fn with_room<T>(
        &self,
        root: &Root,
        change: impl Fn() -> store::Result<T>,
    ) -> store::Result<T> {
        let mut swept = false;
        // Where space is not what is short, one entry is the most to be given
        // for an error that no purge may ever mend.
        let mut last = false;
        loop {
            let error = match change() {
                // The state directory may be full too, and no purge helps that.
                Err(error)
                    if !last
                        && error.errno() == Some(Errno::ENOSPC)
                        && error.path.starts_with(&self.settings.root.path)
                        && root.verify().is_ok() =>
                {
                    error
                }
                done => return done,
            };
            let short = root.space().is_ok_and(is_short);
            if !swept {
                // What was discarded may be all the space that is needed.
                swept = true;
                let _told_by_the_collector = root.sweep();
                continue;
            }
            last = !short;
            if !self.make_room(root) {
                return Err(error);
            }
        }
    }

    pub(super) fn give_up_if_unsynced(&self, root: &Arc<Root>) {
        // The operation has failed already, and its own error is the one to tell.
        let _found_out = self.verify(root);
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
                noted.and_then(|()| root.sync_volumes()).map_err(|error| {
                    self.give_up_if_unsynced(root);
                    Error::Disk(volume.name.clone(), error)
                })?;
                Ok(Created::Existing)
            }
        }
    }

    pub(super) fn refuse_if_protected(
        &self,
        name: &VolumeName,
        record: &Record,
    ) -> Result<(), Error> {
        match record.in_force(&self.builtin).protect {
            Some(true) => Err(Error::Protected(name.clone())),
            _ => Ok(()),
        }
    }

    /// Returns for how long a volume with `record` is kept in the trash.
    pub(super) fn retention(&self, record: &Record) -> Duration {
        self.in_force(record).retain.expect("there is a built-in retention")
    }

    /// Refuses to remove a volume that somebody uses, and returns whether the kernel
    /// could be asked. What is kept for `retain` can be taken back, so of an engine's
    /// earlier life less is waited for.
    pub(super) fn refuse_if_in_use(
        &self,
        root: &Root,
        name: &VolumeName,
        retain: Duration,
    ) -> Result<bool, Error> {
        let evidence = Evidence::gather(root);
        if let Ok(evidence) = &evidence
            && let Some(user) = evidence.user(&volume_data(name.file()))
        {
            let (pid, at) = (user.pid, user.mountpoint.display());
            let by = format!("process {pid}, which has it mounted at {at}");
            return Err(Error::InUse(name.clone(), by));
        }
        let carried = if retain.is_zero() { STARTING } else { CARRIED };
        match self.holders().starting(name, carried) {
            None => Ok(evidence.is_ok()),
            Some(holder) => {
                let since = humantime::format_rfc3339_seconds(holder.since);
                let by = format!("mount ID {:.12}, which asked for it at {since}", holder.id);
                Err(Error::InUse(name.clone(), by))
            }
        }
    }

    fn forget(&self, root: &Root, name: &VolumeName) {
        // Ignoring: a name too many in the state directory does little harm, and
        // the next opening of the root takes it out.
        let _left = root.state().forget(name.file());
        self.holders().forget(name);
        self.cache().changed(name);
    }
}

/// Sees to it that the kernel keeps the `limit` of the volume `name`, or returns why
/// it does not. A database is not kept from starting for that.
fn enforce(root: &Root, name: &VolumeName, limit: Amount) -> Option<String> {
    if limit == Amount::default() {
        return None;
    }
    match root.can_limit() {
        Ok(()) => root.enforce(name.file(), limit).err().map(|error| error.to_string()),
        Err(why) => Some(why.to_string()),
    }
}

/// Notes that the volume `name` is in use at this moment.
pub(super) fn note_use(root: &Root, name: &VolumeName) {
    // Ignoring: it is what a prune goes by, which asks the kernel too.
    let _unnoted = root.state().note_use(name.file());
}

/// The reference plugin writes where it listens and who mounts into the volume.
fn write_for_fixture(root: &Root, name: &VolumeName, url: &str, id: &str) -> store::Result<()> {
    root.replace_in_data(name.file(), "test", url.as_bytes())?;
    root.replace_in_data(name.file(), "mountID", id.as_bytes())
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
