//! A new volume that is made of an archive.

use std::io::{self, Read};

use super::dir::Dir;
use super::error::Error;
use super::layout::FileName;
use super::left_out::LeftOut;
use super::root::Root;
use super::unpack::unpack;
use super::volumes::{Commit, Contents, Ownership};
use crate::archive::Reader;
use crate::sys::quota::Amount;

/// A volume that is made of an archive.
pub struct Import<'a> {
    /// The archive.
    pub archive: &'a mut dyn Read,
    /// The permissions of the data directory, where neither it nor the archive says.
    pub mode: Option<u32>,
    /// Makes room on a disk that is full, or returns that there is none to be made.
    pub room: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// What was read from an archive, or written to one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many files of all kinds there were.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// What could not be kept.
    pub left_out: LeftOut,
}

/// Why an archive did not become a volume.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The archive is at fault, or whoever sends it.
    #[error("{0}")]
    Archive(String),
    /// The disk refuses.
    #[error("{0}")]
    Disk(#[from] Error),
}

impl Root {
    /// Creates the volume `name` of an archive: all of it, or nothing. What `owner`
    /// states goes before what the archive says of its topmost directory.
    ///
    /// # Errors
    /// The archive cannot be used, or the disk refuses; as of [`Root::create`].
    pub fn import(
        &self,
        name: &FileName,
        record: &[u8],
        owner: Ownership,
        limit: Amount,
        import: &mut Import<'_>,
    ) -> Result<(Commit, Moved), Refused> {
        let mut moved = Moved::default();
        let mut refused = None;
        let path = self.staging.path().to_path_buf();
        let (mode, room) = (import.mode, import.room);
        let mut reader = Reader::new(&mut *import.archive);
        let mut fill = |data: &Dir| {
            match unpack(self, data, &mut reader, mode, room) {
                Ok(done) => moved = done,
                Err(Refused::Disk(error)) => return Err(error),
                Err(Refused::Archive(why)) => {
                    refused = Some(why);
                    let source = io::Error::other("the archive was refused");
                    return Err(Error { op: "unpack", path: path.clone(), source });
                }
            }
            Ok(())
        };
        let created = self.create(name, record, owner, limit, Contents::Filled(&mut fill));
        match refused {
            Some(why) => Err(Refused::Archive(why)),
            None => Ok((created?, moved)),
        }
    }
}
