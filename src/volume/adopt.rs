//! Volumes of directories that are moved in, by a rename that somebody else makes: the
//! driver may not see where a directory lies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use super::change::{note_use, whole_seconds};
use super::collect::Report;
use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use super::options::Options;
use super::record::Record;
use super::refuse::{refuse_if_not_to_give, refuse_unless_limited};
use crate::store::dir::Identity;
use crate::store::{Amount, Commit, FileName, NoLimits, Ownership, Root, Terms, layout};

/// How long whoever asked to move a directory in is waited for. What is there then, or
/// when a root is opened, is finished without him.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A place that a directory can be moved to.
#[derive(Debug)]
pub struct Prepared {
    /// What it is called in the other calls.
    pub token: String,
    /// The directory in which the other one is to be called `data`.
    pub path: PathBuf,
    /// Which directory that is: whoever moves must see the same one there.
    pub identity: Identity,
    /// The state directory, which must not be moved.
    pub state_dir: PathBuf,
}

impl Driver {
    /// Makes a place for a directory that is to become the volume `name`.
    ///
    /// # Errors
    /// A volume of that name, options that it cannot have, or as of [`Driver::create`].
    pub fn prepare(&self, name: &VolumeName, asked: &Options) -> Result<Prepared, Error> {
        let (_lock, root) = self.enter(name)?;
        if root.node().is_some() {
            let why = "other nodes share this root, and would not know of the directory while it \
                       is moved: copy it, without --move";
            return Err(Error::Archive(name.clone(), why.into()));
        }
        if self.read(&root, name)?.is_some() {
            return Err(Error::Taken(name.clone()));
        }
        let elsewhere =
            [("from", asked.from.is_some()), ("live", asked.live), ("path", asked.path.is_some())];
        if let Some((option, _)) = elsewhere.into_iter().find(|(_, stated)| *stated) {
            let why = format!(
                "option \"{option}\" says that its data is not the directory's: leave it out"
            );
            return Err(Error::Archive(name.clone(), why));
        }
        let created = whole_seconds(SystemTime::now());
        let defaults = self.settings.defaults.clone();
        let record = Record { created, stated: asked.clone(), defaults, set: Options::default() };
        refuse_if_not_to_give(name, owner(&record))?;
        let limit = record.in_force(&self.builtin).limit();
        refuse_unless_limited(name, limit, |limit| root.can_limit(limit))?;
        if limit != Amount::default() && root.limits_subvolumes() {
            return Err(Error::NoLimits(name.clone(), NoLimits::Plain));
        }
        let bytes = record.to_bytes(name);
        let prepared = self.with_room(&root, || root.prepare(&bytes));
        let (token, identity) = prepared.map_err(|error| {
            self.give_up_if_unsynced(&root);
            Error::Disk(name.clone(), error)
        })?;
        Ok(Prepared {
            path: layout::adopting(root.path(), &token),
            token: token.to_string(),
            identity,
            state_dir: self.settings.root.state_dir.clone(),
        })
    }

    /// Makes the volume `name` of the directory that was moved to the place `token`, and
    /// whose inode has the number `inode`. That it is the volume already is success.
    ///
    /// # Errors
    /// There is no such place or no directory in it, a volume has taken the name meanwhile,
    /// it holds more than it may, or the disk.
    pub fn adopt(&self, name: &VolumeName, token: &str, inode: u64) -> Result<(), Error> {
        let (_lock, root) = self.enter(name)?;
        let failed = |error| Error::Disk(name.clone(), error);
        let (token, record) = match self.waiting(&root, name, token)? {
            Some(waiting) => waiting,
            None if root.has_adopted(name.file(), inode).map_err(failed)? => return Ok(()),
            None => {
                let why = "no directory was moved to where it was asked for: begin anew";
                return Err(Error::Archive(name.clone(), why.into()));
            }
        };
        if self.read(&root, name)?.is_some() {
            return Err(Error::Taken(name.clone()));
        }
        match self.commit_adopted(&root, name, &token, &record, true)? {
            Some(Commit::Done) => Ok(()),
            Some(Commit::Exists) => Err(Error::Taken(name.clone())),
            None => {
                let why = "the directory was taken away again";
                Err(Error::Archive(name.clone(), why.into()))
            }
        }
    }

    /// Takes the place `token` away, and returns whether it is gone: one that holds a
    /// directory stays. It waits for an [`Driver::adopt`] that runs.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn cancel(&self, name: &VolumeName, token: &str) -> Result<bool, Error> {
        let (_lock, root) = self.enter(name)?;
        let Some(token) = FileName::new(token) else { return Ok(true) };
        root.abandon(&token).map_err(|error| Error::Disk(name.clone(), error))
    }

    /// Finishes what nobody will: a place that holds a directory becomes the volume that its
    /// record names, and one that holds none goes. Those that are younger than [`PATIENCE`]
    /// are left to whoever asked for them, unless the root was `opened` just now.
    pub(super) fn finish_adopting(&self, root: &Arc<Root>, opened: bool, report: &mut Report) {
        let tokens = root.adopting().unwrap_or_else(|error| {
            report.failed.push(error.to_string());
            Vec::new()
        });
        for token in tokens {
            match self.finish_one(root, &token, opened) {
                Ok(None) => {}
                Ok(Some(name)) => report.adopted.push(name),
                // Once is enough: it waits for a person.
                Err(why) => report.stuck.extend(self.collector.is_new(&token).then_some(why)),
            }
        }
    }

    fn finish_one(
        &self,
        root: &Arc<Root>,
        token: &FileName,
        opened: bool,
    ) -> Result<Option<VolumeName>, String> {
        let place = layout::adopting(root.path(), token);
        let stuck = |why: String| {
            let data = layout::data_in(&place);
            format!(
                "{} waits to be a volume: {why}; move it away with 'mv {0} ELSEWHERE'",
                data.display()
            )
        };
        let read = root.read_adopting(token).map_err(|error| error.to_string())?;
        let Some(found) = read else { return Ok(None) };
        let age = found.changed.and_then(|changed| changed.elapsed().ok());
        if !opened && age.is_none_or(|age| age < PATIENCE) {
            return Ok(None);
        }
        if !found.has_data {
            return root.abandon(token).map(|_| None).map_err(|error| error.to_string());
        }
        let record = found.record.ok_or_else(|| "it has no record".to_owned());
        let record = record.and_then(|bytes| Record::parse_any(&bytes)).map_err(stuck)?;
        let (stated, record) = record;
        let name = VolumeName::new(&stated)
            .ok_or_else(|| stuck(format!("no volume may be called {stated:?}")))?;
        let Some(_lock) = self.locks.lock(name.file()) else { return Ok(None) };
        let there = self.read(root, &name).map_err(|error| stuck(error.to_string()))?;
        let committed = match there {
            Some(_) => Ok(Some(Commit::Exists)),
            None => self.commit_adopted(root, &name, token, &record, false),
        };
        match committed {
            Ok(Some(Commit::Done)) => Ok(Some(name.clone())),
            Ok(Some(Commit::Exists)) => Err(stuck(format!("volume {name} exists"))),
            Ok(None) => Ok(None),
            Err(error) => Err(stuck(error.to_string())),
        }
    }

    /// Reads what waits at the place `token` to be the volume `name`; `None` where nothing
    /// does.
    fn waiting(
        &self,
        root: &Root,
        name: &VolumeName,
        token: &str,
    ) -> Result<Option<(FileName, Record)>, Error> {
        let failed = |error| Error::Disk(name.clone(), error);
        let Some(token) = FileName::new(token) else { return Ok(None) };
        let found = root.read_adopting(&token).map_err(failed)?.filter(|found| found.has_data);
        let Some(found) = found else { return Ok(None) };
        let unusable = |why| Error::Archive(name.clone(), why);
        let bytes = found.record.ok_or_else(|| unusable("its record is lost".into()))?;
        let record = Record::parse(name, &bytes).map_err(unusable)?;
        Ok(Some((token, record)))
    }

    fn commit_adopted(
        &self,
        root: &Arc<Root>,
        name: &VolumeName,
        token: &FileName,
        record: &Record,
        strict: bool,
    ) -> Result<Option<Commit>, Error> {
        let limit = record.in_force(&self.builtin).limit();
        let adopted = root.adopt(token, name.file(), Terms { owner: owner(record), limit, strict });
        self.cache().changed(name);
        match adopted {
            Ok(committed) => {
                if committed == Some(Commit::Done) {
                    note_use(root, name);
                }
                Ok(committed)
            }
            Err(error) if limit != Amount::default() && error.errno() == Some(Errno::EDQUOT) => {
                self.give_up_if_unsynced(root);
                let why = "the directory holds more than the volume may: raise its size or inodes";
                Err(Error::Archive(name.clone(), why.into()))
            }
            Err(error) => {
                self.give_up_if_unsynced(root);
                Err(Error::Disk(name.clone(), error))
            }
        }
    }
}

/// Whom a directory is given to: it stays whose it is, but for what is stated.
fn owner(record: &Record) -> Ownership {
    let stated = record.stated.or(&record.defaults);
    Ownership { uid: stated.uid, gid: stated.gid, mode: stated.mode }
}
