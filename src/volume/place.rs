//! Volumes that are a directory where it is, outside the root: option `path`. Of such
//! a volume the root has the record alone. Nothing here changes the directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::change::Removed;
use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::holders::CARRIED;
use super::name::VolumeName;
use super::options::BadOption;
use super::read::{Health, Volume};
use super::record::Record;
use crate::store::{Footprint, NoPlace, Place, Root};

/// The places of the volumes that are being created, each until its record is there.
pub(super) type Claims = Vec<(VolumeName, Arc<Footprint>)>;

/// A place that nobody else can claim as long as this lives.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    driver: &'a Driver,
    footprint: Arc<Footprint>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.driver.claims().retain(|(_, other)| !Arc::ptr_eq(other, &self.footprint));
    }
}

impl Driver {
    /// Returns the volumes that are directories elsewhere, and where. It reads no
    /// record but theirs.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn places(&self) -> Result<BTreeMap<VolumeName, PathBuf>, Error> {
        self.places_in(&*self.root()?)
    }

    fn places_in(&self, root: &Root) -> Result<BTreeMap<VolumeName, PathBuf>, Error> {
        let mut places = BTreeMap::new();
        let names = root.placed().map_err(Error::Root)?;
        for name in names.into_iter().filter_map(VolumeName::from_file) {
            let stored = root.read(name.file());
            let stored = stored.map_err(|error| Error::Disk(name.clone(), error))?;
            let Some(stored) = stored else { continue };
            if let Some(path) = Volume::new(&name, stored).place() {
                places.insert(name, path.to_path_buf());
            }
        }
        Ok(places)
    }

    /// Opens the directory at `path`, as one that volumes may be.
    pub(super) fn place(&self, path: &Path) -> Result<Place, NoPlace> {
        Place::open(&self.settings.bind_roots, path)
    }

    /// Claims the directory at `path` for the volume `name`, which is to be created.
    ///
    /// # Errors
    /// It cannot be a volume; or it would share files with another one, or with the
    /// driver's own directories.
    pub(super) fn claim(
        &self,
        root: &Root,
        name: &VolumeName,
        path: &Path,
    ) -> Result<Claim<'_>, Error> {
        let refuse = |why: String| {
            let why = format!("option \"path\": {why}");
            Error::BadOption(name.to_string(), BadOption(why))
        };
        if self.settings.root.plugin {
            let why = "a managed plugin sees no directory of the host but its root: run the driver \
                       as a service for that";
            return Err(refuse(why.into()));
        }
        let footprint = self.place(path).map_err(|why| match why {
            NoPlace::Missing(_) => refuse(format!("{why}: make it, or mount its disk")),
            why => refuse(why.to_string()),
        })?;
        let footprint = footprint.footprint().map_err(|why| refuse(why.to_string()))?;
        let refuse_if_shared = |other: &Footprint, whose: &str| {
            if !footprint.overlaps(other) {
                return Ok(());
            }
            let (path, other) = (path.display(), other.path().display());
            let what = "are one directory, or one lies in the other: give one apart";
            Err(refuse(format!("{path} and {other}, which is {whose}, {what}")))
        };
        let own = [(root.path(), "the driver's root"), (root.state().path(), "its state")];
        for (own, whose) in own {
            let own = Footprint::at(own).map_err(|why| refuse(why.to_string()))?;
            refuse_if_shared(&own, whose)?;
        }
        let footprint = {
            let mut claims = self.claims();
            for (other, claimed) in claims.iter() {
                refuse_if_shared(claimed, &format!("volume {other}"))?;
            }
            let footprint = Arc::new(footprint.clone());
            claims.push((name.clone(), Arc::clone(&footprint)));
            footprint
        };
        let claim = Claim { driver: self, footprint };
        // Whoever claimed it before and has let it go has his record there by now.
        for (other, path) in self.places_in(root)? {
            // Of one that is not there now, its path is all that is known.
            let there = self.place(&path).ok().and_then(|place| place.footprint().ok());
            let there = there.unwrap_or_else(|| Footprint::of_path(&path));
            refuse_if_shared(&there, &format!("volume {other}"))?;
        }
        Ok(claim)
    }

    /// Sees to what a volume that is a directory elsewhere needs to be known by.
    pub(super) fn with_place(&self, root: &Root, volume: Volume) -> Volume {
        let Some(path) = volume.place() else { return volume };
        // Ignoring: it is noted already, but for one that was put into the root behind
        // the driver's back.
        let _unnoted = root.note_placed(volume.name.file());
        match self.place(path) {
            Ok(_) => volume,
            Err(why) => Volume { health: Health::Damaged(why.to_string()), ..volume },
        }
    }

    /// Forgets the volume `name`, which is the directory at `path`. That stays as it
    /// is, whether it is there or not.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn forget_placed(
        &self,
        root: &Arc<Root>,
        name: &VolumeName,
        path: &Path,
    ) -> Result<Removed, Error> {
        let _changing = self.changing(name);
        let forgotten = self.with_room(root, || root.discard(name.file()));
        let forgotten = forgotten.map_err(|error| {
            self.give_up_if_unsynced(root);
            Error::Disk(name.clone(), error)
        })?;
        // Ignoring: a name too many is passed over.
        let _left = root.forget_placed(name.file());
        self.forget(root, name);
        self.collector.wake();
        Ok(if forgotten { Removed::Forgotten(path.to_path_buf()) } else { Removed::Absent })
    }

    /// Refuses to forget a volume whose directory at `path` somebody uses, and returns
    /// whether it could be told.
    pub(super) fn refuse_if_placed_in_use(
        &self,
        name: &VolumeName,
        path: &Path,
    ) -> Result<bool, Error> {
        let evidence = self.evidence_at(path);
        if let Some(user) = evidence.as_ref().and_then(Evidence::any) {
            return Err(Error::in_use(name, user));
        }
        // Nothing is lost, so no more is waited for than for what the trash keeps.
        self.refuse_if_starting(name, CARRIED)?;
        Ok(evidence.is_some())
    }

    /// Returns who has the directory at `path` mounted, where it can be told.
    pub(super) fn evidence_at(&self, path: &Path) -> Option<Evidence> {
        let location = self.place(path).ok()?.location().ok()?;
        Evidence::of(&[location]).ok()
    }

    /// Returns how often each volume that is a directory elsewhere is mounted, as far
    /// as it can be told.
    pub(super) fn placed_in_use(&self) -> BTreeMap<VolumeName, usize> {
        let places = self.places().unwrap_or_default();
        let located = places.into_iter().filter_map(|(name, path)| {
            let location = self.place(&path).ok()?.location().ok()?;
            Some((name, location))
        });
        let (names, locations): (Vec<_>, Vec<_>) = located.unzip();
        if names.is_empty() {
            return BTreeMap::new();
        }
        let Ok(evidence) = Evidence::of(&locations) else { return BTreeMap::new() };
        let used = evidence.by_location(names.len());
        let mut in_use = BTreeMap::new();
        for (name, mounts) in names.into_iter().zip(used) {
            if mounts > 0 {
                in_use.insert(name, mounts);
            }
        }
        in_use
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    /// Returns the directory outside the root that the volume is, if it is one.
    pub fn place(&self) -> Option<&Path> {
        self.record.as_ref().and_then(Record::place)
    }
}

impl Record {
    /// Returns the directory outside the root that the volume is, if it is one.
    pub fn place(&self) -> Option<&Path> {
        self.stated.path.as_deref().map(Path::new)
    }
}
