//! Removing the volumes that nobody has used for long. Docker's own prune never
//! touches those of a plugin (moby `daemon/volume/service/service.go`, Prune).

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::change::Removed;
use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use super::read::Health;
use crate::store::Root;
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

/// What became of a volume that a prune looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was removed, or would be.
    Removed(Option<Removed>),
    /// It stays, for this reason.
    Kept(String),
}

impl Driver {
    /// Removes every volume that was not used for long, is not protected, and that
    /// nobody uses or needs, in the order of names. All go to the trash, also those
    /// without a name of their own: that nobody needs them is a guess. The latest
    /// use of each is returned with its fate.
    ///
    /// # Errors
    /// No root, the disk, or it cannot be told who uses the volumes.
    pub fn prune(&self, prune: &Prune) -> Result<Vec<(VolumeName, SystemTime, Fate)>, Error> {
        if prune.needed.is_none() && !sys::process::sees_the_host() {
            return Err(Error::Blind);
        }
        let root = self.checked_root()?;
        let used = root.state().last_used().map_err(Error::Root)?;
        let mut fates = Vec::new();
        for name in self.list()? {
            // One that is not noted has just been found: it counts as used now.
            let used = used.get(name.file()).copied().unwrap_or_else(SystemTime::now);
            let old = used.elapsed().is_ok_and(|age| age >= prune.unused_for);
            if !old {
                continue;
            }
            let needed = prune.needed.as_ref().is_some_and(|names| names.contains(name.as_str()));
            let fate = if needed {
                Fate::Kept("a container needs it".into())
            } else {
                match self.prune_one(&name, prune) {
                    Ok(Some(fate)) => fate,
                    Ok(None) => continue,
                    Err(Error::InUse(_, by)) => Fate::Kept(format!("it is in use by {by}")),
                    Err(Error::Protected(_)) => Fate::Kept("it is protected".into()),
                    Err(error @ Error::Unavailable(_)) => return Err(error),
                    Err(error) => Fate::Kept(error.to_string()),
                }
            };
            fates.push((name, used, fate));
        }
        Ok(fates)
    }

    /// Removes one volume, unless it was used or removed since it was looked at.
    fn prune_one(&self, name: &VolumeName, prune: &Prune) -> Result<Option<Fate>, Error> {
        let (_lock, root) = self.enter(name)?;
        let Some(volume) = self.read(&root, name)? else { return Ok(None) };
        if let Health::Damaged(why) = &volume.health {
            return Ok(Some(Fate::Kept(format!("it is damaged: {why}"))));
        }
        let record = self.usable(&volume)?;
        self.refuse_if_protected(name, record)?;
        let known = self.refuse_if_in_use(&root, name)?;
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
        if !is_unused(&root, name, prune.unused_for)? {
            return Ok(None);
        }
        if prune.dry_run {
            return Ok(Some(Fate::Removed(None)));
        }
        match self.take_away(&root, name, self.retention(record), known)? {
            Removed::Absent => Ok(None),
            removed => Ok(Some(Fate::Removed(Some(removed)))),
        }
    }
}

fn is_unused(root: &Root, name: &VolumeName, unused_for: Duration) -> Result<bool, Error> {
    let used = root.state().last_used_of(name.file()).map_err(Error::Root)?;
    Ok(used.is_some_and(|used| used.elapsed().is_ok_and(|age| age >= unused_for)))
}
