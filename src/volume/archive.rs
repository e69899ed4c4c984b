//! Volumes from archives, and archives of volumes.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use super::change::{note_use, whole_seconds};
use super::collect::is_short;
use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use super::options::Options;
use super::record::Record;
use super::refuse::{refuse_if_not_to_give, refuse_unless_limited};
use crate::store::dir::{Identity, Stamp};
use crate::store::{Amount, Commit, Import, Moved, Ownership, Packing, Refused, Root};
use crate::sys;

/// A volume that is going to be written as an archive.
#[derive(Debug)]
pub struct Export {
    root: Arc<Root>,
    name: VolumeName,
    /// The directory that it is, where that lies outside the root.
    place: Option<PathBuf>,
    packing: Packing,
    identity: Identity,
    /// When it was used last; `None` where it may be in use.
    quiet: Option<Option<Stamp>>,
}

impl Driver {
    /// Creates the volume `name` of a tar archive: all of it, or nothing. Owner, group
    /// and mode that are not stated are those of the archive's topmost directory.
    ///
    /// # Errors
    /// A volume of that name, an archive that cannot be used, or as of
    /// [`Driver::create`].
    pub fn import(
        &self,
        name: &VolumeName,
        asked: &Options,
        archive: &mut dyn Read,
    ) -> Result<Moved, Error> {
        let (_lock, root) = self.enter(name)?;
        if self.read(&root, name)?.is_some() {
            return Err(Error::Taken(name.clone()));
        }
        let elsewhere = [("from", asked.from.is_some()), ("path", asked.path.is_some())];
        if let Some((option, _)) = elsewhere.into_iter().find(|(_, stated)| *stated) {
            let why = format!(
                "option \"{option}\" says that its data is not the archive's: leave it out"
            );
            return Err(Error::Archive(name.clone(), why));
        }
        let created = whole_seconds(root.now().map_err(Error::Root)?);
        let defaults = self.settings.defaults.clone();
        let record = Record { created, stated: asked.clone(), defaults, set: Options::default() };
        let in_force = record.in_force(&self.builtin);
        let owner = Ownership {
            uid: asked.uid.or(record.defaults.uid),
            gid: asked.gid.or(record.defaults.gid),
            mode: asked.mode.or(record.defaults.mode),
        };
        refuse_if_not_to_give(name, owner)?;
        let limit = in_force.limit();
        refuse_unless_limited(name, limit, |limit| root.can_limit(limit))?;
        let bytes = record.to_bytes(name);
        // A limit that is reached is no full disk, and some file systems call it so.
        let is_full = || root.space().is_ok_and(is_short);
        let room = || root.verify().is_ok() && is_full() && self.make_room(&root);
        let mut import = Import { archive, mode: in_force.mode, room: &room };
        let imported = root.import(name.file(), &bytes, owner, limit, &mut import);
        self.cache().changed(name);
        self.wake_collector_if_low(&root);
        match imported {
            Ok((Commit::Done, moved)) => {
                note_use(&root, name);
                Ok(moved)
            }
            Ok((Commit::Exists, _)) => Err(Error::Taken(name.clone())),
            Err(Refused::Archive(why)) => {
                // What was unpacked takes space that nobody knows of.
                self.collector.wake();
                Err(Error::Archive(name.clone(), why))
            }
            Err(Refused::Disk(error))
                if limit != Amount::default()
                    && (error.errno() == Some(Errno::EDQUOT)
                        || error.errno() == Some(Errno::ENOSPC) && !is_full()) =>
            {
                self.collector.wake();
                let why = "the archive holds more than the volume may: raise its size or inodes";
                Err(Error::Archive(name.clone(), why.into()))
            }
            Err(Refused::Disk(error)) => {
                self.give_up_if_unsynced(&root);
                self.collector.wake();
                Err(Error::Disk(name.clone(), error))
            }
        }
    }

    /// Holds the volume `name`, to write it as an archive. One that somebody uses would
    /// be torn, and is refused unless it is said to be `live`. A Mount is not kept
    /// waiting by it, and neither is a Remove.
    ///
    /// # Errors
    /// No root, no such volume, a damaged one, one that is in use, or the disk.
    pub fn export(&self, name: &VolumeName, live: bool) -> Result<Export, Error> {
        let (_lock, root) = self.enter(name)?;
        let volume = self.existing(&root, name)?;
        let place = self.usable(&volume)?.place().map(Path::to_path_buf);
        let failed = |error| Error::Disk(name.clone(), error);
        let stamp = root.state().last_used_exactly(name.file()).map_err(failed)?;
        if !live {
            self.refuse_if_held(&root, name, place.as_deref())?;
        }
        let packing = self.packing(&root, name, place.as_deref())?;
        let identity = packing.identity().map_err(failed)?;
        let quiet = (!live).then_some(stamp);
        Ok(Export { root, name: name.clone(), place, packing, identity, quiet })
    }

    fn packing(
        &self,
        root: &Root,
        name: &VolumeName,
        place: Option<&Path>,
    ) -> Result<Packing, Error> {
        let failed = |error| Error::Disk(name.clone(), error);
        match place {
            None => root.packing(name.file()).map_err(failed),
            Some(path) => {
                let place = self
                    .place(path)
                    .map_err(|why| Error::NoPlace(name.clone(), why.to_string()))?;
                place.packing().map_err(failed)
            }
        }
    }

    /// Refuses a volume that somebody has mounted, or is about to.
    fn refuse_if_held(
        &self,
        root: &Root,
        name: &VolumeName,
        place: Option<&Path>,
    ) -> Result<(), Error> {
        let live = |error| match error {
            Error::InUse(name, by) => Error::Torn(name, by),
            other => other,
        };
        let known = match place {
            Some(path) => self.refuse_if_placed_in_use(name, path),
            None => self
                .refuse_if_torn_elsewhere(root, name)
                .and_then(|()| self.refuse_if_in_use(root, name, std::time::Duration::MAX)),
        };
        let known = known.map_err(live)?;
        // What is mounted cannot be seen everywhere; what was said is known.
        let blind = !known || !sys::process::sees_the_host();
        match self.holders_of(name).first() {
            Some(holder) if blind => {
                let since = humantime::format_rfc3339_seconds(holder.since);
                let by = format!("mount ID {:.12}, which has mounted it since {since}", holder.id);
                Err(Error::Torn(name.clone(), by))
            }
            _ => Ok(()),
        }
    }
}

impl Export {
    /// Writes the archive to `to`.
    ///
    /// # Errors
    /// The disk refuses, `to` does, the volume was removed meanwhile, or it was used and
    /// was not said to be live. The archive is then not to be trusted, and has no end.
    pub fn write(&self, driver: &Driver, to: &mut dyn Write) -> Result<Moved, Error> {
        let failed = |error| Error::Disk(self.name.clone(), error);
        let mut unfinished = Unfinished { to, root: &self.root, held: Vec::new() };
        let moved = self.packing.write(&mut unfinished, self.quiet.is_none()).map_err(failed)?;
        self.still_the_same(driver)?;
        unfinished.finish().map_err(|source| {
            failed(crate::store::Error { op: "write", path: "the archive".into(), source })
        })?;
        Ok(moved)
    }

    /// Checks, after everything was read, that it was read as it was at one moment.
    fn still_the_same(&self, driver: &Driver) -> Result<(), Error> {
        let failed = |error| Error::Disk(self.name.clone(), error);
        let now = driver.packing(&self.root, &self.name, self.place.as_deref());
        let same = now.is_ok_and(|now| now.identity().is_ok_and(|now| now == self.identity));
        if !same {
            return Err(Error::NoSuchVolume(self.name.to_string()));
        }
        let Some(before) = &self.quiet else { return Ok(()) };
        driver.refuse_if_held(&self.root, &self.name, self.place.as_deref())?;
        let now = self.root.state().last_used_exactly(self.name.file()).map_err(failed)?;
        if now != *before {
            let by = "somebody, who has used it while it was read".to_owned();
            return Err(Error::Torn(self.name.clone(), by));
        }
        Ok(())
    }
}

/// Keeps back the end of an archive until it is known that it is to be had: two blocks.
/// It ends with the root, which cannot be opened anew as long as somebody holds it.
struct Unfinished<'a> {
    to: &'a mut dyn Write,
    root: &'a Root,
    held: Vec<u8>,
}

impl Unfinished<'_> {
    const END: usize = 1024;

    fn finish(self) -> std::io::Result<()> {
        self.to.write_all(&self.held)?;
        self.to.flush()
    }
}

impl Write for Unfinished<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.root.is_lost() {
            return Err(std::io::Error::other("the root was given up"));
        }
        self.held.extend_from_slice(bytes);
        let ready = self.held.len().saturating_sub(Self::END);
        self.to.write_all(&self.held[..ready])?;
        self.held.drain(..ready);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
