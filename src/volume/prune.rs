//! Removing the volumes that nobody has used for long. Docker's own prune never
//! touches those of a plugin (moby `daemon/volume/service/service.go`, Prune).

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::change::Removed;
use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use super::read::Health;
use crate::sys;

/// What to prune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// For how long nobody must have used a volume.
    pub unused_for: Duration,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
    /// The volumes that engines say their containers need, those that do not run
    /// among them; `None` where no engine could be asked.
    pub needed: Option<HashSet<String>>,
}

/// What becomes of a volume that was not used for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was removed.
    Removed(Removed),
    /// It would be removed, and kept in the trash for so long.
    Removable(Duration),
    /// It would be forgotten; the directory that it is stays.
    Forgettable(PathBuf),
    /// It stays, for this reason.
    Kept(String),
}

impl Driver {
    /// Returns the volumes that were not used for long, in the order of names, each
    /// with its latest use.
    ///
    /// # Errors
    /// No root, the disk, or it cannot be told who uses the volumes.
    pub fn to_prune(&self, prune: &Prune) -> Result<Vec<(VolumeName, SystemTime)>, Error> {
        if prune.needed.is_none() && !sys::process::sees_the_host() {
            return Err(Error::Blind);
        }
        let root = self.checked_root()?;
        if root.node().is_some() {
            return Err(Error::OnlyThisNode);
        }
        let used = root.state().last_used().map_err(Error::Root)?;
        let with_use = |name: VolumeName| {
            // One that is not noted has just been found: it counts as used now.
            let used = *used.get(name.file())?;
            is_old(used, prune).then_some((name, used))
        };
        Ok(self.list()?.into_iter().filter_map(with_use).collect())
    }

    /// Removes one of them, unless it is protected, or somebody uses or needs it; or
    /// returns `None` where it was used or removed since. It goes to the trash also
    /// where it has no name of its own: that nobody needs it is a guess.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn prune(&self, name: &VolumeName, prune: &Prune) -> Result<Option<Fate>, Error> {
        if prune.needed.as_ref().is_some_and(|names| names.contains(name.as_str())) {
            return Ok(Some(Fate::Kept("a container needs it".into())));
        }
        match self.prune_unneeded(name, prune) {
            Err(Error::InUse(_, by)) => Ok(Some(Fate::Kept(format!("it is in use by {by}")))),
            Err(Error::Protected(_)) => Ok(Some(Fate::Kept("it is protected".into()))),
            pruned => pruned,
        }
    }

    fn prune_unneeded(&self, name: &VolumeName, prune: &Prune) -> Result<Option<Fate>, Error> {
        let (_lock, root) = self.enter(name)?;
        let Some(volume) = self.read(&root, name)? else { return Ok(None) };
        if let Health::Damaged(why) = &volume.health {
            return Ok(Some(Fate::Kept(format!("it is damaged: {why}"))));
        }
        let record = self.usable(&volume)?;
        self.refuse_if_protected(name, record)?;
        let retain = self.retention(record);
        let known = match record.place() {
            Some(path) => self.refuse_if_placed_in_use(name, path)?,
            None => self.refuse_if_in_use(&root, name, retain)?,
        };
        if !known && prune.needed.is_none() {
            return Ok(Some(Fate::Kept("it cannot be told who uses it".into())));
        }
        // What is mounted cannot be seen everywhere; what was said is known.
        if !sys::process::sees_the_host()
            && let Some(holder) = self.holders_of(name).first()
        {
            let since = humantime::format_rfc3339_seconds(holder.since);
            let by = format!("mount ID {:.12}, which has mounted it since {since}", holder.id);
            return Err(Error::InUse(name.clone(), by));
        }
        let used = root.state().last_used_of(name.file()).map_err(Error::Root)?;
        if !used.is_some_and(|used| is_old(used, prune)) {
            return Ok(None);
        }
        if prune.dry_run {
            return Ok(Some(match record.place() {
                Some(path) => Fate::Forgettable(path.to_path_buf()),
                None => Fate::Removable(retain),
            }));
        }
        let removed = match record.place() {
            Some(path) => self.forget_placed(&root, name, path)?,
            None => self.take_away(&root, name, retain, known)?,
        };
        match removed {
            Removed::Absent => Ok(None),
            removed => Ok(Some(Fate::Removed(removed))),
        }
    }
}

fn is_old(used: SystemTime, prune: &Prune) -> bool {
    used.elapsed().is_ok_and(|age| age >= prune.unused_for)
}
