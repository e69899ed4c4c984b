//! A volume that begins as a copy of another one.
//!
//! # Locking
//! A copy is made under the lock of the volume that is made, and of no other: two copies
//! never wait for each other, whichever way round they go. What happens to the source
//! meanwhile is found out when the copy is whole and before it is committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::collect::is_short;
use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use super::options::Options;
use crate::store::{
    self, Amount, Commit, Contents, Copied, Dir, Job, Ownership, Progress, Root, SNAPSHOT, Usage,
};
use crate::sys::process::sees_the_host;

/// How many volumes may be copied file by file at a time. Each takes as long as it is
/// large, and engines need the other slots of the disk.
pub const COPIES: usize = 8;

/// The volume that a new one is to be a copy of.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name.
    name: VolumeName,
    /// Its data directory, as it was found.
    data: Dir,
    /// The options of a copy that does not state them.
    pub defaults: Options,
    /// Whether it may be in use.
    live: bool,
}

/// What a copy needs to know of the volume that it becomes.
pub(super) struct Target<'a> {
    pub name: &'a VolumeName,
    pub record: &'a [u8],
    pub owner: Ownership,
    pub limit: Amount,
}

/// A copy that is being made.
#[derive(Debug)]
pub struct Copying {
    name: VolumeName,
    source: VolumeName,
    /// Whether somebody has asked to mount the source since it began.
    mounted: AtomicBool,
    /// How far it has come.
    pub progress: Progress,
    /// What the source holds, where the kernel counts that.
    pub total: Option<Usage>,
}

/// The copies that are being made.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<Vec<Arc<Copying>>>);

/// A copy that is being made, until this is dropped.
struct Begun<'a>(&'a Copies, Arc<Copying>);

impl Copies {
    fn begin(&self, copying: Copying) -> Begun<'_> {
        let copying = Arc::new(copying);
        self.list().push(Arc::clone(&copying));
        Begun(self, copying)
    }

    /// Notes that somebody mounts the volume `name`.
    pub(super) fn mounted(&self, name: &VolumeName) {
        for copying in self.list().iter().filter(|copying| copying.source == *name) {
            copying.mounted.store(true, Ordering::Relaxed);
        }
    }

    // Each change is one call of the list's method, so a panic leaves it whole.
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Copying>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.list().retain(|copying| !Arc::ptr_eq(copying, &self.1));
    }
}

impl Driver {
    /// Returns how far the copy has come that becomes the volume `name`, if one is being
    /// made. It never waits for the disk.
    pub fn copying(&self, name: &VolumeName) -> Option<Arc<Copying>> {
        self.copies.list().iter().find(|copying| copying.name == *name).cloned()
    }

    /// Returns the volume that `name` is to be a copy of, if it is to be one.
    ///
    /// # Errors
    /// There is none, it is damaged, it is the volume itself, or the disk.
    pub(super) fn source(
        &self,
        root: &Arc<Root>,
        name: &VolumeName,
        asked: &Options,
    ) -> Result<Option<Source>, Error> {
        let Some(from) = &asked.from else { return Ok(None) };
        if from == name {
            return Err(Error::CopyOfItself(name.clone()));
        }
        let none = || Error::NoSource(name.clone(), from.clone());
        let volume = match self.existing(root, from) {
            Err(Error::NoSuchVolume(_)) => return Err(none()),
            volume => volume?,
        };
        let record = self.usable(&volume)?;
        if let Some(place) = record.place() {
            return Err(Error::CopyOfPlace(name.clone(), from.clone(), place.to_path_buf()));
        }
        let disk = |error| Error::Disk(from.clone(), error);
        let data = root.data(from.file()).map_err(disk)?.ok_or_else(none)?;
        let (uid, gid, mode) = data.owner().map_err(disk)?;
        // What was asked of the source holds for its copy; but that it is not to be
        // removed, and where it came from, was said of itself.
        let inherited = record.asked().or(&record.defaults);
        let defaults = Options {
            // They were changed since, maybe, and those of the directory are copied.
            uid: Some(uid),
            gid: Some(gid),
            mode: Some(mode),
            protect: None,
            from: None,
            live: false,
            ninja: false,
            invalid_option: false,
            ..inherited
        };
        let defaults = defaults.or(&self.settings.defaults);
        Ok(Some(Source { name: from.clone(), data, defaults, live: asked.live }))
    }

    /// Creates a volume as a copy of `source`.
    ///
    /// # Errors
    /// Somebody uses the source and it is not said to be live, the source was removed
    /// meanwhile, or the disk refuses. The volume is then not there.
    pub(super) fn create_copy(
        &self,
        root: &Root,
        source: &Source,
        target: &Target<'_>,
    ) -> Result<(Commit, Option<Copied>), Error> {
        let begun = self.copies.begin(Copying {
            name: target.name.clone(),
            source: source.name.clone(),
            mounted: AtomicBool::new(false),
            progress: Progress::default(),
            total: root.usage(source.name.file()),
        });
        // Why it was given up, where it was not the disk.
        let mut given_up = None;
        let mut copied = None;
        let create = |contents: Contents<'_>| {
            let Target { name, record, owner, limit } = target;
            root.create(name.file(), record, *owner, *limit, contents)
        };
        let mut snapshot = None;
        if source.data.can_be_snapshot() {
            let mut check = |_: &Dir| stop(self.still_there(root, target, source), &mut given_up);
            match create(Contents::Snapshot(&source.data, &mut check)) {
                // It is copied file by file instead.
                Err(error) if error.op == SNAPSHOT => {}
                created => {
                    snapshot = Some(created);
                    copied = Some(Copied::snapshot());
                }
            }
        }
        let created = match snapshot {
            Some(created) => created,
            None => {
                if self.copies.list().len() > COPIES {
                    return Err(Error::TooManyCopies(target.name.clone()));
                }
                self.refuse_if_torn(root, target, source, &begun.1)?;
                let job = Job {
                    progress: &begun.1.progress,
                    live: source.live,
                    // The trash gives way to a copy while that is made.
                    now_and_then: &|| {
                        self.wake_collector_if_low(root);
                    },
                };
                create(Contents::Filled(&mut |data: &Dir| {
                    copied = Some(root.copy(&source.data, data, &job)?);
                    let whole = self.still_there(root, target, source);
                    let whole =
                        whole.and_then(|()| self.refuse_if_torn(root, target, source, &begun.1));
                    stop(whole, &mut given_up)
                }))
            }
        };
        match created {
            Ok(commit) => Ok((commit, copied)),
            Err(error) => {
                // What was copied until then is to be deleted.
                self.collector.wake();
                // xfs says of a limit that there is no space left on the device.
                let at_limit = target.limit != Amount::default()
                    && match error.errno() {
                        Some(Errno::EDQUOT) => true,
                        Some(Errno::ENOSPC) => !root.space().is_ok_and(is_short),
                        _ => false,
                    };
                Err(given_up.unwrap_or_else(|| match at_limit {
                    true => Error::MoreThanLimit(target.name.clone(), source.name.clone()),
                    false => Error::Disk(target.name.clone(), error),
                }))
            }
        }
    }

    /// Refuses a copy of what somebody may be changing, unless that was asked for.
    fn refuse_if_torn(
        &self,
        root: &Root,
        target: &Target<'_>,
        source: &Source,
        copying: &Copying,
    ) -> Result<(), Error> {
        if source.live {
            return Ok(());
        }
        let refuse = |by| {
            Err(Error::SourceInUse { name: target.name.clone(), from: source.name.clone(), by })
        };
        // Nothing is removed, so of an engine's earlier life less is waited for.
        let in_use = self
            .refuse_if_torn_elsewhere(root, &source.name)
            .and_then(|()| self.refuse_if_in_use(root, &source.name, Duration::MAX));
        match in_use {
            Err(Error::InUse(_, by)) => return refuse(by),
            Ok(false) => return refuse("it cannot be told whom".into()),
            Err(error) => return Err(error),
            Ok(true) => {}
        }
        // What is mounted cannot be seen everywhere; what was said is known.
        if !sees_the_host()
            && let Some(holder) = self.holders_of(&source.name).first()
        {
            return refuse(format!("mount ID {:.12}", holder.id));
        }
        if copying.mounted.load(Ordering::Relaxed) {
            return refuse("an engine that mounted it while it was copied".into());
        }
        Ok(())
    }

    /// Makes sure that the source still is where it was, so that nothing of it was
    /// deleted while it was copied.
    fn still_there(&self, root: &Root, target: &Target<'_>, source: &Source) -> Result<(), Error> {
        match root.is_data_of(&source.data, source.name.file()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NoSource(target.name.clone(), source.name.clone())),
            Err(error) => Err(Error::Disk(source.name.clone(), error)),
        }
    }
}

/// Keeps the reason for which a copy is not committed, and stops it.
fn stop(checked: Result<(), Error>, given_up: &mut Option<Error>) -> store::Result<()> {
    checked.map_err(|error| {
        *given_up = Some(error);
        let source = std::io::Error::other("the source is not what it was");
        store::Error { op: "copy", path: std::path::PathBuf::new(), source }
    })
}
