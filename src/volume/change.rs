//! What is changed of volumes, each under its lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::clone::Target;
use super::collect::is_short;
use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::holders::{CARRIED, STARTING};
use super::locks::{Guard, LIMIT};
use super::name::VolumeName;
use super::options::Options;
use super::read::Volume;
use super::record::Record;
use super::refuse::{refuse_if_not_to_give, refuse_unless_limited};
use crate::store::layout::volume_data;
use crate::store::{self, Commit, Contents, Copied, Locked, Ownership, Root, TrashName};

/// How a Create ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The volume was made.
    New,
    /// It was made as a copy of another one, and how.
    Copy(Copied),
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
    /// The volume is forgotten; the directory that it was stays as it is.
    Forgotten(PathBuf),
    /// There was no such volume.
    Absent,
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
        let created = whole_seconds(root.now().map_err(Error::Root)?);
        let source = self.source(&root, name, asked)?;
        let claim = asked.path.as_deref().map(|path| self.claim(&root, name, Path::new(path)));
        let claim = claim.transpose()?;
        let defaults = source.as_ref().map_or(&self.settings.defaults, |source| &source.defaults);
        let (stated, defaults) = (asked.clone(), defaults.clone());
        let record = Record { created, stated, defaults, set: Options::default() };
        let in_force = record.in_force(&self.builtin);
        let stated = asked.or(&record.defaults).that_apply();
        let owner = match &source {
            // A copy has the owner and the mode of its original, but for what is stated.
            Some(_) => Ownership { uid: asked.uid, gid: asked.gid, mode: asked.mode },
            None => Ownership { uid: stated.uid, gid: stated.gid, mode: in_force.mode },
        };
        refuse_if_not_to_give(name, owner)?;
        let limit = in_force.limit();
        refuse_unless_limited(name, limit, |limit| root.can_limit(limit))?;
        let bytes = record.to_bytes(name);
        let committed = match &source {
            Some(source) => {
                let target = Target { name, record: &bytes, owner, limit };
                self.create_copy(&root, source, &target)
            }
            None => {
                let made = self.with_room(&root, || match claim {
                    Some(_) => root.create_placed(name.file(), &bytes),
                    None => root.create(name.file(), &bytes, owner, limit, Contents::Empty),
                });
                made.map(|commit| (commit, None)).map_err(|e| Error::Disk(name.clone(), e))
            }
        };
        let (commit, copied) = committed.inspect_err(|_| self.give_up_if_unsynced(&root))?;
        self.cache().changed(name);
        self.wake_collector_if_low(&root);
        match commit {
            Commit::Done => {
                // The name may have been noted long ago, of a volume that is gone.
                note_use(&root, name);
                Ok(copied.map_or(Created::New, Created::Copy))
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
        let (lock, root) = self.enter(name)?;
        let found = match lock.shared {
            // One that another node has made since then was not there for this call.
            Locked::Absent => None,
            _ => self.read(&root, name)?,
        };
        let Some(volume) = found else {
            self.verify(&root)?;
            self.forget(&root, name);
            return Ok(Removed::Absent);
        };
        if let Some(record) = &volume.record
            && let Some(path) = record.place()
        {
            // To be forgotten, it need not be there.
            self.refuse_if_protected(name, record)?;
            self.refuse_if_placed_in_use(name, path)?;
            return self.forget_placed(&root, name, path);
        }
        let record = self.usable(&volume)?;
        self.refuse_if_protected(name, record)?;
        let retain = match record.asked().retain {
            None if name.is_anonymous() => Duration::ZERO,
            _ => self.retention(record),
        };
        self.refuse_if_held_elsewhere(&root, &lock, name)?;
        let known = self.refuse_if_in_use(&root, name, retain)?;
        let gone = self.with_room(&root, || root.let_go(lock.over_nodes(), name.file(), None));
        gone.map_err(|error| Error::Disk(name.clone(), error))?;
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
        let _changing = self.changing(name);
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
        let start = Instant::now();
        let lock = self.locks.lock(name.file());
        let mut lock = lock.ok_or_else(|| Error::Occupied(name.clone()))?;
        let root = self.checked_root()?;
        lock.shared =
            over_nodes(name, root.lock_volume(name.file(), LIMIT.saturating_sub(start.elapsed())))?;
        Ok((lock, root))
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
            // One that was renamed since may have its own name there, and be the same.
            Some(_) if asked.from.as_ref() == Some(&volume.name) => {
                Err(Error::CopyOfItself(volume.name.clone()))
            }
            Some((difference, settable)) => {
                Err(Error::OptionsDiffer(volume.name.clone(), difference, settable))
            }
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
        self.in_force(record).retain.unwrap_or(self.settings.retention)
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
            return Err(Error::in_use(name, user));
        }
        let carried = if retain.is_zero() { STARTING } else { CARRIED };
        self.refuse_if_starting(name, carried)?;
        Ok(evidence.is_ok())
    }

    /// Refuses to remove a volume that somebody may be about to mount.
    pub(super) fn refuse_if_starting(
        &self,
        name: &VolumeName,
        carried: Duration,
    ) -> Result<(), Error> {
        match self.holders().starting(name, carried) {
            None => Ok(()),
            Some(holder) => {
                let since = humantime::format_rfc3339_seconds(holder.since);
                let by = format!("mount ID {:.12}, which asked for it at {since}", holder.id);
                Err(Error::InUse(name.clone(), by))
            }
        }
    }

    pub(super) fn forget(&self, root: &Root, name: &VolumeName) {
        // Ignoring: a name too many in the state directory does little harm, and
        // the next opening of the root takes it out.
        let _left = root.state().forget(name.file());
        self.holders().forget(name);
        self.cache().changed(name);
    }
}

/// Refuses to wait any longer for a lock that another node has.
pub(super) fn over_nodes(
    name: &VolumeName,
    locked: store::Result<Locked>,
) -> Result<Locked, Error> {
    match locked {
        Ok(Locked::Occupied) => Err(Error::Occupied(name.clone())),
        Ok(locked) => Ok(locked),
        Err(error) => Err(Error::Disk(name.clone(), error)),
    }
}

/// Notes that the volume `name` is in use at this moment.
pub(super) fn note_use(root: &Root, name: &VolumeName) {
    // Ignoring: it is what a prune goes by, which asks the kernel too.
    let _unnoted = root.state().note_use(name.file());
}

pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
