//! The volumes of an open root.

use std::ffi::CString;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::dir::Dir;
use super::error::Result;
use super::layout::{DATA, FileName, RECORD, RECORD_NEW};
use super::root::Root;
use crate::sys::btrfs;
use crate::sys::quota::Amount;
use crate::sys::selinux;

/// Far more than a record needs.
pub(super) const RECORD_LIMIT: u64 = 1 << 20;

/// Owner, group and permissions that a data directory is given; `None` leaves
/// one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The twelve permission bits.
    pub mode: Option<u32>,
}

/// What is done in a new data directory before it is a volume's.
pub type Fill<'a> = &'a mut dyn FnMut(&Dir) -> Result<()>;

/// What the data directory of a new volume holds.
pub enum Contents<'a> {
    /// Nothing.
    Empty,
    /// What is in this directory, for which [`Dir::can_be_snapshot`] holds: it is a
    /// snapshot of it. This may then still refuse it.
    Snapshot(&'a Dir, Fill<'a>),
    /// What this makes in it. It must give up where the root was given up.
    Filled(Fill<'a>),
}

impl std::fmt::Debug for Contents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Snapshot(..) => "Snapshot",
            Self::Filled(_) => "Filled",
        })
    }
}

/// What is on the disk of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The record's bytes; the error says why there are none.
    pub record: std::result::Result<Vec<u8>, String>,
    /// Whether its data directory is there.
    pub has_data: bool,
    /// Why SELinux keeps containers from its data, where it does.
    pub mislabelled: Option<String>,
}

impl Stored {
    fn unreadable(why: String) -> Self {
        Self { record: Err(why), has_data: false, mislabelled: None }
    }
}

/// How a creation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The volume is there, durably.
    Done,
    /// A volume of that name was there before; nothing was changed.
    Exists,
}

impl Root {
    /// Returns the names of all volumes, readable or not, in no order.
    ///
    /// # Errors
    /// `volumes/` cannot be read.
    pub fn names(&self) -> Result<Vec<FileName>> {
        self.volumes.dirs()
    }

    /// Passes those names to `each`: many of them together are much memory.
    ///
    /// # Errors
    /// `volumes/` cannot be read.
    pub fn each_name(&self, each: impl FnMut(FileName)) -> Result<()> {
        self.volumes.each_dir(each)
    }

    /// Reads what is on the disk of the volume `name`, or `None` where there is
    /// nothing of that name.
    ///
    /// # Errors
    /// It cannot be told whether there is such a volume. One that is there and
    /// damaged is no error.
    pub fn read(&self, name: &FileName) -> Result<Option<Stored>> {
        read(&self.volumes, name)
    }

    /// Creates the volume `name` with a data directory that has these `contents`, is
    /// then given to `owner`, and may hold no more than `limit`: all of it, or nothing.
    ///
    /// # Errors
    /// The disk refuses, or what fills it does. The volume is then not there; except
    /// that a failure to sync `volumes/` leaves it to the disk, and ends this root.
    pub fn create(
        &self,
        name: &FileName,
        record: &[u8],
        owner: Ownership,
        limit: Amount,
        contents: Contents<'_>,
    ) -> Result<Commit> {
        let staged = self.token()?;
        let built = self.build(&staged, record, owner, limit, contents);
        self.publish(staged, name, built)
    }

    /// Makes what was `built` as `staged` the volume `name`, never over another.
    pub(super) fn publish(
        &self,
        staged: FileName,
        name: &FileName,
        built: Result<()>,
    ) -> Result<Commit> {
        let committed = built.and_then(|()| {
            self.state().note(name)?;
            self.staging.rename(&staged, &self.volumes, name)
        });
        match committed {
            Ok(()) => self.commit(&self.volumes).map(|()| Commit::Done),
            Err(error) => {
                self.doom(staged);
                match error.errno() {
                    Some(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(Commit::Exists),
                    _ => Err(error),
                }
            }
        }
    }

    fn build(
        &self,
        staged: &FileName,
        record: &[u8],
        owner: Ownership,
        limit: Amount,
        contents: Contents<'_>,
    ) -> Result<()> {
        self.staging.make_dir(staged.as_str())?;
        let volume = self.staging.open_dir(staged)?;
        let data = make_data(&volume, &contents)?;
        // Before it is filled, so that what is made in it is counted, limited and
        // labelled.
        self.enroll(&data)?;
        if limit != Amount::default() {
            self.limit(&data, limit)?;
        }
        // Ignoring: not every file system has labels, and the volume's Status says that
        // it has none.
        let _unlabelled = data.label_for_containers();
        let has_bytes = !matches!(contents, Contents::Empty);
        if let Contents::Filled(fill) | Contents::Snapshot(_, fill) = contents {
            fill(&data)?;
            if limit != Amount::default() {
                self.refuse_beyond(&data, limit)?;
            }
        }
        give(&data, owner)?;
        if has_bytes {
            // Through a descriptor that is older than the first byte. Without it, all
            // files were empty after a cut.
            volume.sync_file_system()?;
        }
        // Its own sync: that of the directory above need not take owner and mode
        // along, and on btrfs does not.
        data.sync()?;
        volume.write_new_synced(RECORD, record)?;
        volume.sync()
    }

    /// Gives the data directory of the volume `name` to `owner`, and then replaces
    /// the volume's record: what the record says has been done. Only its `limit`,
    /// where there is a new one, is set after that. Repeating it after a failure
    /// converges.
    ///
    /// # Errors
    /// The disk refuses. The record is then the old one or the new one, whole.
    pub fn rewrite(
        &self,
        name: &FileName,
        record: &[u8],
        owner: Ownership,
        limit: Option<Amount>,
    ) -> Result<()> {
        let volume = self.volumes.open_dir(name)?;
        if owner != Ownership::default() {
            let data = volume.open_dir(&data_name())?;
            give(&data, owner)?;
            self.commit(&data)?;
        }
        self.replace_record(&volume, record)?;
        match limit {
            Some(limit) => self.enforce(name, limit),
            None => Ok(()),
        }
    }

    /// Replaces the record in `volume`, durably. A failed sync ends this root.
    pub(super) fn replace_record(&self, volume: &Dir, record: &[u8]) -> Result<()> {
        // An attempt that was cut off may have left it.
        volume.delete_file(RECORD_NEW)?;
        volume.write_new_synced(RECORD_NEW, record)?;
        volume.replace(RECORD_NEW, RECORD)?;
        self.commit(volume)
    }

    /// Writes the file `file` in the data directory of the volume `name`, in
    /// place of any that is there. Only the fixture does that.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn replace_in_data(&self, name: &FileName, file: &str, bytes: &[u8]) -> Result<()> {
        let data = self.volumes.open_dir(name)?.open_dir(&data_name())?;
        data.delete_file(file)?;
        data.write_new(file, bytes).map(drop)
    }
}

/// Reads what is on the disk of the volume `name` in the directory `volumes`, as
/// [`Root::read`] does.
pub(super) fn read(volumes: &Dir, name: &FileName) -> Result<Option<Stored>> {
    let volume = match volumes.open_dir(name) {
        Ok(volume) => volume,
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
        Err(error) if matches!(error.errno(), Some(Errno::ENOTDIR | Errno::ELOOP)) => {
            return Ok(Some(Stored::unreadable("it is not a directory".into())));
        }
        // It is there, and only itself not to be read: others are not its matter.
        Err(error) if volumes.has_dir(name.as_str()).is_ok_and(|there| there) => {
            return Ok(Some(Stored::unreadable(error.to_string())));
        }
        Err(error) => return Err(error),
    };
    let record = match volume.read(RECORD, RECORD_LIMIT) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(format!("it has no {RECORD}")),
        Err(error) => Err(error.to_string()),
    };
    Ok(Some(match volume.has_dir(DATA) {
        Ok(has_data) => {
            let data = (has_data && selinux::is_on()).then(|| volume.open_dir(&data_name()));
            let mislabelled = data.and_then(|data| data.ok()?.mislabelled());
            Stored { record, has_data, mislabelled }
        }
        Err(error) => Stored::unreadable(error.to_string()),
    }))
}

pub(super) fn data_name() -> FileName {
    FileName::new(DATA).expect("it is one component")
}

/// Makes the data directory in `volume`: on btrfs a subvolume, which can be copied in
/// an instant and be limited.
fn make_data(volume: &Dir, contents: &Contents<'_>) -> Result<Dir> {
    let name = CString::new(DATA).expect("it holds no NUL");
    match contents {
        Contents::Snapshot(source, _) => volume.take_snapshot(source, &name),
        _ if btrfs::is_btrfs(volume.as_fd()) => volume.make_subvolume_open(&name),
        _ => volume.make_dir_open(&name),
    }
}

/// Gives the directory `data` to `owner`; that is to be synced.
pub(super) fn give(data: &Dir, owner: Ownership) -> Result<()> {
    if owner.uid.is_some() || owner.gid.is_some() {
        data.set_owner(owner.uid, owner.gid)?;
    }
    // After the owner: chown(2) clears the set-id bits.
    match owner.mode {
        Some(mode) => data.set_mode(mode),
        None => Ok(()),
    }
}
