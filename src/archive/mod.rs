//! The tar format, read and written as a stream: ustar with pax headers, and what GNU
//! tar adds for long names and for files with holes. Nothing here knows a disk: what an
//! entry becomes, and whether it may, is for whoever reads it.
//!
//! It is our own, as the crate there is for it reads neither fractions of a second nor
//! the sparse files that GNU tar writes in pax archives, and writes none: a round trip
//! would lose what a backup is for.

mod header;
mod pax;
mod read;
mod sparse;
mod write;

pub use read::{Error, Reader};
pub use write::Writer;

/// A block, which everything in an archive is a multiple of.
pub(crate) const BLOCK: usize = 512;

/// The most pieces that a file with holes is read in or written in: their list is in
/// memory.
pub const MOST_PIECES: usize = 1 << 16;

/// One file of an archive, whatever its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path as the archive has it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its twelve permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was changed last.
    pub mtime: Time,
    /// Its extended attributes, ACLs among them: names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of `size` bytes, of which `pieces` are in the archive, and the
    /// rest is a hole.
    File {
        /// How long the file is.
        size: u64,
        /// What follows in the archive.
        pieces: Vec<Piece>,
    },
    /// Another name of the entry at this path.
    Link(Vec<u8>),
    /// A symbolic link, and what is in it.
    Symlink(Vec<u8>),
    /// A directory.
    Dir,
    /// A fifo.
    Fifo,
    /// A character device with its major and minor number.
    Char(u32, u32),
    /// A block device with its major and minor number.
    Block(u32, u32),
}

/// A part of a file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file.
    pub at: u64,
    /// How long it is.
    pub len: u64,
}

/// A time since 1970, of which the nanoseconds are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Whole seconds, before 1970 negative.
    pub seconds: i64,
    /// Less than a second.
    pub nanoseconds: u32,
}

#[cfg(test)]
mod tests;
