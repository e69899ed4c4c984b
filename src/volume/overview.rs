//! All volumes at a glance, and who has one.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::name::VolumeName;
use super::options::Options;
use super::read::{Health, Volume};
use crate::store::layout::volume_data;
use crate::store::{self, Held, Usage};
use crate::sys::mountinfo::Use;
use crate::sys::process;

/// What is known of a volume without a look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Its name.
    pub name: VolumeName,
    /// What containers are given.
    pub mountpoint: PathBuf,
    /// When it was created, if its record says so.
    pub created: Option<SystemTime>,
    /// When it was in use last.
    pub used: Option<SystemTime>,
    /// In how many places it is mounted; where none is seen, how many mount IDs
    /// were mounted and not unmounted.
    pub holders: usize,
    /// Whether it can be used.
    pub health: Health,
    /// The options in force, if its record says so.
    pub options: Option<Options>,
    /// What it holds, where the kernel counts that.
    pub holds: Option<Usage>,
}

/// One mount of a volume, or of a directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The lowest pid of those that see it.
    pub pid: u32,
    /// The id of the container in which that process runs.
    pub container: Option<String>,
    /// When that process was started.
    pub since: Option<SystemTime>,
    /// Where that process sees it.
    pub mountpoint: PathBuf,
}

impl Driver {
    /// Returns all volumes, in the order of their names.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn overview(&self) -> Result<Vec<Overview>, Error> {
        let names = self.list()?;
        let root = self.checked_root()?;
        let used = root.state().last_used().map_err(Error::Root)?;
        // Ignoring: who asks for all volumes may be told less.
        let mounted =
            Evidence::gather(&root).map(|evidence| evidence.volumes()).unwrap_or_default();
        let placed = self.placed_in_use();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let volume = match self.read(&root, &name) {
                Ok(Some(volume)) => volume,
                // It was removed in the meantime.
                Ok(None) => continue,
                // One that cannot be read is no reason not to tell of the others.
                Err(error) => {
                    let health = Health::Unknown(error.to_string());
                    Volume::only(name.clone(), health)
                }
            };
            let held = self.mounts_of(&name);
            all.push(Overview {
                mountpoint: self.mountpoint_of(&volume),
                created: volume.record.as_ref().map(|record| record.created),
                used: used.get(name.file()).copied(),
                holders: mounted
                    .get(name.file())
                    .or_else(|| placed.get(&name))
                    .copied()
                    .unwrap_or(held),
                health: volume.health,
                holds: root.usage(name.file()),
                options: volume.record.map(|record| self.in_force(&record)),
                name,
            });
        }
        Ok(all)
    }

    /// Walks through the volume `name`, whatever its record says, and returns what it
    /// holds. It may take minutes, and ends early when `stop` is set.
    ///
    /// # Errors
    /// No root, no such volume, it was ended, or the disk.
    pub fn walk(&self, name: &VolumeName, stop: &AtomicBool) -> Result<Held, Error> {
        let root = self.checked_root()?;
        let volume = self.existing(&root, name)?;
        let disk = |error| Error::Disk(name.clone(), error);
        let data = match volume.place() {
            Some(path) => {
                let missing = |why: store::NoPlace| Error::NoPlace(name.clone(), why.to_string());
                Some(self.place(path).map_err(missing)?.into_dir())
            }
            None => root.data(name.file()).map_err(disk)?,
        };
        let Some(data) = data else {
            // It is said as it is of a volume that was to be mounted.
            self.usable(&volume)?;
            return Err(Error::NoSuchVolume(name.to_string()));
        };
        root.walk(data, stop).map_err(disk)
    }

    /// Returns where the volume `name` is mounted, as far as the processes there
    /// are visible.
    ///
    /// # Errors
    /// No root, no such volume, it cannot be told, or the disk.
    pub fn who_has(&self, name: &VolumeName) -> Result<Vec<Mount>, Error> {
        let root = self.checked_root()?;
        let volume = self.existing(&root, name)?;
        let mount = |held: &Use| Mount {
            pid: held.pid,
            container: process::container(held.pid),
            since: process::started(held.pid),
            mountpoint: held.mountpoint.clone(),
        };
        if let Some(path) = volume.place() {
            let evidence = self.evidence_at(path);
            return Ok(evidence.iter().flat_map(Evidence::all).map(mount).collect());
        }
        let evidence = Evidence::needed(&root)?;
        Ok(evidence.users(&volume_data(name.file())).map(mount).collect())
    }
}
