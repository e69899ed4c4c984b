//! Filling a new volume from an archive, which anybody may have made.
//!
//! Nothing is written but below the directory that is filled: each directory on the way
//! is held open, and the next one is opened in it by one name, which may not be that of a
//! symbolic link; a file is made under a name that must be new. Nobody else is there yet.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, makedev};
use nix::sys::time::TimeSpec;

use super::dir::{Dir, Mounts};
use super::error::{Error, Result as DiskResult};
use super::import::{Moved, Refused};
use super::left_out::LeftOut;
use super::node::{Attributes, stat};
use super::root::Root;
use crate::archive::{self, Entry, Kind, Piece, Reader};

/// How many directories may lie in one another. Each is held open while it is filled.
pub(super) const DEPTH: usize = 512;

/// The permissions of a directory that an archive has files in and does not have.
const MISSING_MODE: u32 = 0o755;

type Result<T> = std::result::Result<T, Refused>;

/// Fills `data` with what `reader` has. Where neither that says which permissions it has
/// itself nor anybody else does, it has `mode`. On a full disk `room` makes room, or
/// returns that there is none to be made.
pub(super) fn unpack(
    root: &Root,
    data: &Dir,
    reader: &mut Reader<'_>,
    mode: Option<u32>,
    room: &dyn Fn() -> bool,
) -> Result<Moved> {
    let levels = Vec::new();
    let moved = Moved::default();
    let mut unpacking = Unpacking { root, data, levels, top: None, room, moved };
    while let Some(entry) = reader.entry()? {
        if root.is_lost() {
            let source = io::Error::other("the root was given up");
            return Err(Error { op: "unpack", path: data.path().to_path_buf(), source }.into());
        }
        unpacking.moved.files += 1;
        unpacking.entry(&entry, reader)?;
    }
    unpacking.finish(mode)?;
    let mut moved = unpacking.moved;
    if let Some(key) = reader.lost() {
        moved.left_out.add(format!("{key}, which is an ACL as text"));
    }
    Ok(moved)
}

struct Unpacking<'a> {
    root: &'a Root,
    data: &'a Dir,
    /// The directories from the topmost one down to where the last entry was made.
    levels: Vec<Level>,
    /// What the archive says of the topmost one.
    top: Option<Attributes>,
    room: &'a dyn Fn() -> bool,
    moved: Moved,
}

/// A directory that is being filled.
struct Level {
    name: CString,
    dir: Dir,
    /// What it is given when it is left, as what is made in it changes its times.
    then: Option<Attributes>,
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: &Entry, reader: &mut Reader<'_>) -> Result<()> {
        let shown = entry.path.escape_ascii().to_string();
        let bad = move |why: String| Refused::Archive(format!("entry \"{shown}\": {why}"));
        let parts = parts(&entry.path).map_err(&bad)?;
        let attributes = attributes(entry).map_err(&bad)?;
        let Some((name, parents)) = parts.split_last() else {
            if entry.kind != Kind::Dir {
                return Err(bad("it has no name".into()));
            }
            self.top = Some(attributes);
            return Ok(());
        };
        if entry.kind == Kind::Dir {
            self.descend(&parts, &bad)?;
            self.levels.last_mut().expect("there is a name").then = Some(attributes);
            return Ok(());
        }
        self.descend(parents, &bad)?;
        if let Kind::File { size, pieces } = &entry.kind {
            let file = self.make(name, &bad, |dir| dir.make_file(name))?;
            self.fill(&file, name, *size, pieces, reader)?;
            return self.give(name, &file, &attributes);
        }
        if let Kind::Link(target) = &entry.kind {
            return self.link(name, target, &bad);
        }
        let node = match &entry.kind {
            Kind::Symlink(target) => {
                let target = CString::new(&target[..]);
                let target = target.map_err(|_| bad("its target has a NUL in it".into()))?;
                if target.is_empty() {
                    return Err(bad("it is a symbolic link to nothing".into()));
                }
                self.make(name, &bad, |dir| dir.make_link(name, &target))?
            }
            Kind::Char(major, minor) => {
                let device = makedev((*major).into(), (*minor).into());
                self.make(name, &bad, |dir| dir.make_special(name, SFlag::S_IFCHR, device))?
            }
            Kind::Block(major, minor) => {
                let device = makedev((*major).into(), (*minor).into());
                self.make(name, &bad, |dir| dir.make_special(name, SFlag::S_IFBLK, device))?
            }
            _ => self.make(name, &bad, |dir| dir.make_special(name, SFlag::S_IFIFO, 0))?,
        };
        self.give(name, &node, &attributes)
    }

    /// Returns the directory in which the last entry was made.
    fn here(&self) -> &Dir {
        self.levels.last().map_or(self.data, |level| &level.dir)
    }

    /// Goes to the directory of these names, making those that are missing; those that
    /// are left are given what they are to have.
    fn descend(&mut self, names: &[CString], bad: &dyn Fn(String) -> Refused) -> Result<()> {
        let same = self.levels.iter().zip(names).take_while(|(level, name)| level.name == **name);
        let same = same.count();
        self.leave(same)?;
        if names.len() > DEPTH {
            return Err(bad(format!("it lies in more than {DEPTH} directories")));
        }
        for name in &names[same..] {
            let here = self.here();
            let (dir, then) = match here.open_dir_read(name, Mounts::Stay) {
                Ok(dir) => {
                    // It was left before, and has its own already.
                    let stat = stat(dir.as_fd(), here, name)?;
                    let had = Attributes::read(dir.as_fd(), &stat, here, name)?;
                    (dir, Some(had))
                }
                Err(error) if error.errno() == Some(Errno::ENOENT) => {
                    let dir = here.make_dir_open(name).map_err(|error| told(error, bad))?;
                    dir.set_mode(MISSING_MODE)?;
                    (dir, None)
                }
                Err(error) => match error.errno() {
                    Some(Errno::ENOTDIR | Errno::ELOOP) => {
                        let name = name.to_bytes().escape_ascii();
                        return Err(bad(format!(
                            "\"{name}\" is no directory, and nothing is written through a link"
                        )));
                    }
                    _ => return Err(told(error, bad)),
                },
            };
            self.levels.push(Level { name: name.clone(), dir, then });
        }
        Ok(())
    }

    /// Leaves the directories below the first `keep`.
    fn leave(&mut self, keep: usize) -> Result<()> {
        while self.levels.len() > keep {
            let Some(Level { dir, then, .. }) = self.levels.pop() else { break };
            if let Some(attributes) = then {
                let mut refused = refused(&mut self.moved.left_out);
                dir.give(c"", dir.as_fd(), &attributes, &mut refused)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, mode: Option<u32>) -> Result<()> {
        self.leave(0)?;
        match (&self.top, mode) {
            (Some(attributes), _) => {
                let mut refused = refused(&mut self.moved.left_out);
                self.data.give(c"", self.data.as_fd(), attributes, &mut refused)?;
            }
            (None, Some(mode)) => self.data.set_mode(mode)?,
            (None, None) => {}
        }
        Ok(())
    }

    /// Makes something where the last of several entries of one name wins, as with tar.
    fn make<T>(
        &self,
        name: &CStr,
        bad: &dyn Fn(String) -> Refused,
        make: impl Fn(&Dir) -> DiskResult<T>,
    ) -> Result<T> {
        let dir = self.here();
        loop {
            match make(dir) {
                Err(error) if error.errno() == Some(Errno::EEXIST) => {
                    self.clear(dir, name, bad)?;
                }
                Err(error) if error.errno() == Some(Errno::ENOSPC) && (self.room)() => {}
                made => return made.map_err(|error| told(error, bad)),
            }
        }
    }

    fn clear(&self, dir: &Dir, name: &CStr, bad: &dyn Fn(String) -> Refused) -> Result<()> {
        dir.delete_file(name).map_err(|error| match error.errno() {
            Some(Errno::EISDIR | Errno::EPERM) => {
                bad("the archive has a directory of that name too".into())
            }
            _ => error.into(),
        })
    }

    fn link(&self, name: &CStr, target: &[u8], bad: &dyn Fn(String) -> Refused) -> Result<()> {
        let shown = target.escape_ascii().to_string();
        let to = |why: &str| bad(format!("it is a link to \"{shown}\": {why}"));
        let parts = parts(target).map_err(|why| to(&why))?;
        let (file, parents) = parts.split_last().ok_or_else(|| to("that has no name"))?;
        let before = || to("the archive has no such file before it");
        let mut at: Option<Dir> = None;
        for parent in parents {
            let dir = at.as_ref().unwrap_or(self.data);
            let next = dir.open_dir_read(parent, Mounts::Stay);
            at = Some(next.map_err(|error| match error.errno() {
                Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => before(),
                _ => told(error, bad),
            })?);
        }
        let from = at.as_ref().unwrap_or(self.data);
        let inode = |dir: &Dir, name: &CStr| -> DiskResult<u64> {
            Ok(stat(dir.open_node(name)?.as_fd(), dir, name)?.st_ino)
        };
        let linked = match inode(from, file) {
            Ok(inode) => inode,
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Err(before()),
            Err(error) => return Err(told(error, bad)),
        };
        loop {
            match from.link(file, self.here(), name) {
                Err(error) if error.errno() == Some(Errno::EEXIST) => {
                    // Another name of itself is there already.
                    if inode(self.here(), name)? == linked {
                        return Ok(());
                    }
                    self.clear(self.here(), name, bad)?;
                }
                Err(error) if error.errno() == Some(Errno::EPERM) => {
                    return Err(to("that is a directory, or may not be linked to"));
                }
                linked => return linked.map_err(|error| told(error, bad)),
            }
        }
    }

    fn fill(
        &mut self,
        file: &File,
        name: &CStr,
        size: u64,
        pieces: &[Piece],
        reader: &mut Reader<'_>,
    ) -> Result<()> {
        let dir = self.levels.last().map_or(self.data, |level| &level.dir);
        let path = || dir.path().join(super::verbs::shown(name));
        dir.step("write", super::verbs::shown(name))?;
        reader.data(pieces, |at, bytes| {
            if self.root.is_lost() {
                let source = io::Error::other("the root was given up");
                return Err(Refused::from(Error { op: "write", path: path(), source }));
            }
            loop {
                match file.write_all_at(bytes, at) {
                    Ok(()) => break,
                    Err(error) if is_full(&error) && (self.room)() => {}
                    Err(source) => return Err(Error { op: "write", path: path(), source }.into()),
                }
            }
            self.moved.bytes += bytes.len() as u64;
            Ok(())
        })?;
        let written = pieces.iter().rfind(|piece| piece.len > 0);
        if written.map_or(0, |last| last.at + last.len) < size {
            let cut = file.set_len(size);
            cut.map_err(|source| Error { op: "ftruncate", path: path(), source })?;
        }
        Ok(())
    }

    fn give(&mut self, name: &CStr, fd: &impl AsFd, attributes: &Attributes) -> Result<()> {
        let dir = self.levels.last().map_or(self.data, |level| &level.dir);
        let mut refused = refused(&mut self.moved.left_out);
        Ok(dir.give(name, fd.as_fd(), attributes, &mut refused)?)
    }
}

fn refused(left_out: &mut LeftOut) -> impl FnMut(&CStr) {
    |name| left_out.add(format!("attribute {}", name.to_string_lossy()))
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOSPC as i32)
}

/// Returns the names on a path, without what would lead out of the volume or nowhere.
fn parts(path: &[u8]) -> std::result::Result<Vec<CString>, String> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let name = |name: &[u8]| match name {
        b".." => Err("its path has '..' in it, which could lead out of the volume".to_owned()),
        _ => CString::new(name).map_err(|_| "its path has a NUL in it".to_owned()),
    };
    names.map(name).collect()
}

fn attributes(entry: &Entry) -> std::result::Result<Attributes, String> {
    let label = |name: &[u8]| name == b"security.selinux";
    let extended = entry.xattrs.iter().filter(|(name, _)| !label(name)).map(|(name, value)| {
        let name = CString::new(&name[..]).map_err(|_| "an attribute has no name".to_owned());
        Ok((name?, value.clone()))
    });
    Ok(Attributes {
        uid: entry.uid,
        gid: entry.gid,
        mode: (!matches!(entry.kind, Kind::Symlink(_))).then_some(entry.mode),
        extended: extended.collect::<std::result::Result<_, String>>()?,
        accessed: TimeSpec::UTIME_NOW,
        modified: TimeSpec::new(entry.mtime.seconds, entry.mtime.nanoseconds.into()),
    })
}

/// What the kernel says of a name is said of the entry.
fn told(error: Error, bad: &dyn Fn(String) -> Refused) -> Refused {
    match error.errno() {
        Some(Errno::ENAMETOOLONG) => bad("a name in its path is too long for the disk".into()),
        Some(Errno::EPERM) if error.op == "mknodat" => {
            bad("this driver may not make devices: give it CAP_MKNOD, or pack without it".into())
        }
        _ => Refused::Disk(error),
    }
}

impl From<archive::Error> for Refused {
    fn from(error: archive::Error) -> Self {
        Self::Archive(error.to_string())
    }
}
