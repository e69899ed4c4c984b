//! Mount and Unmount: a directory has nothing to be mounted, so they see to its limit and
//! remember who has it.

use std::path::PathBuf;

use super::change::note_use;
use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use crate::store::{self, Amount, Root};

/// What a Mount is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// What containers are given.
    pub mountpoint: PathBuf,
    /// Why the kernel does not keep the volume's limit, if it has one.
    pub unlimited: Option<String>,
}

impl Driver {
    /// Remembers that `id` mounts the volume `name`, and returns its mountpoint.
    ///
    /// # Errors
    /// No root, no such volume, a damaged one, or the disk.
    pub fn mount(&self, name: &VolumeName, id: &str) -> Result<Mounted, Error> {
        let (lock, root) = self.enter(name)?;
        let volume = self.existing(&root, name)?;
        let record = self.usable(&volume)?;
        if let Some(url) = self.settings.fixture.as_ref().filter(|_| volume.place().is_none()) {
            if record.stated.invalid_option {
                return Err(Error::Fixture);
            }
            write_for_fixture(&root, name, url, id)
                .map_err(|error| Error::Disk(name.clone(), error))?;
        }
        let unlimited = enforce(&root, name, self.in_force(record).limit());
        self.hold(&root, &lock, name)?;
        self.note_found(&root, name);
        note_use(&root, name);
        self.holders().mount(name, id);
        self.copies.mounted(name);
        self.wake_collector_if_low(&root);
        Ok(Mounted { mountpoint: self.mountpoint_of(&volume), unlimited })
    }

    /// Remembers that `id` does not mount the volume `name` any more. It never
    /// waits, and never fails.
    pub fn unmount(&self, name: &VolumeName, id: &str) {
        self.holders().unmount(name, id);
    }

    /// Notes that the volume `name` was in use until now, and that other nodes may remove
    /// it, where nobody else here has it.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn note_unmounted(&self, name: &VolumeName) -> Result<(), Error> {
        let root = self.root()?;
        note_use(&root, name);
        self.let_go(&root, name)
    }
}

/// Sees to it that the kernel keeps the `limit` of the volume `name`, or returns why
/// it does not. A database is not kept from starting for that.
fn enforce(root: &Root, name: &VolumeName, limit: Amount) -> Option<String> {
    if limit == Amount::default() {
        return None;
    }
    match root.can_limit_volume(name.file(), limit) {
        Ok(()) => root.enforce(name.file(), limit).err().map(|error| error.to_string()),
        Err(why) => Some(why.to_string()),
    }
}

/// The reference plugin writes where it listens and who mounts into the volume.
fn write_for_fixture(root: &Root, name: &VolumeName, url: &str, id: &str) -> store::Result<()> {
    root.replace_in_data(name.file(), "test", url.as_bytes())?;
    root.replace_in_data(name.file(), "mountID", id.as_bytes())
}
