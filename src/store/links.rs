//! Files with more than one name, while a tree is copied.

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::dir::Dir;
use super::error::Result;
use super::layout::FileName;
use super::root::Root;

/// A directory in the copy that has a name for each file with more than one, until the
/// copy is whole: no list of them is kept, however many there are.
#[derive(Debug, Default)]
pub(super) struct Links(Option<(FileName, Dir)>);

impl Links {
    /// Makes `name` in `to` one more name of the file that `found` describes, and returns
    /// whether that was copied before, under another name.
    pub(super) fn link(&self, to: &Dir, name: &CStr, found: &FileStat) -> Result<bool> {
        let Some((_, links)) = &self.0 else { return Ok(false) };
        match links.link(&link_name(found), to, name) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Remembers the copy `name` in `to` of the file that `found` describes. `data` is
    /// the top of the copy: on btrfs, no link leads out of it.
    pub(super) fn remember(
        &mut self,
        root: &Root,
        data: &Dir,
        to: &Dir,
        name: &CStr,
        found: &FileStat,
    ) -> Result<()> {
        let (_, links) = match &mut self.0 {
            Some(links) => links,
            none => {
                let name = root.token()?;
                data.make_dir(name.as_str())?;
                let links = data.open_dir(&name)?;
                none.insert((name, links))
            }
        };
        to.link(name, links, &link_name(found))
    }

    /// Removes the directory again.
    pub(super) fn remove(&mut self, data: &Dir) -> Result<()> {
        let Some((name, links)) = self.0.take() else { return Ok(()) };
        links.each(|name, _| links.delete_file(name))?;
        data.delete_dir(&name)
    }
}

/// The name of a file there: that of its inode, and of its device, as subvolumes of btrfs
/// number theirs each for itself.
fn link_name(found: &FileStat) -> CString {
    let name = format!("{:x}-{:x}", found.st_dev, found.st_ino);
    CString::new(name).expect("digits hold no NUL")
}
