//! The directory tree on disk, and every change that is made to it.
//!
//! ```text
//! <root>/                            0700
//!   dirvol.json                      {"format":1,"id":"<uuid>","scope":"local"}
//!   lock                             flock, held for life
//!   volumes/<name>/volume.json       the record, replaced and never edited
//!   volumes/<name>/data/             what containers see; a subvolume on btrfs
//!   adopting/<token>/                directories that somebody moves in, to be volumes
//!   staging/<token>/                 volumes being built, and trees being deleted
//!   trash/<name>~<seconds>~<token>/  removed volumes, whole
//!   nodes/<node>/                    of a root that nodes share: see [`nodes`]
//!   places/<name>                   which volumes are directories elsewhere: at least these
//! <state-dir>/root-id, seen/<name>   which root was served last, and its names, with
//!                                  the time of their last use for that of the file
//! ```
//!
//! # Crash safety
//! One rename commits every change of a volume, and the directory that holds the
//! new name is synced before the change is acknowledged:
//!
//! 1. *Create*: build `staging/x`, sync its data directory, its record and
//!    itself, rename it to `volumes/<name>` (never over an existing one), sync
//!    `volumes/`.
//! 2. *Remove*: rename to `trash/<entry>`, sync `trash/`, sync `volumes/`; or,
//!    where nothing is to be kept, rename to `staging/x`, sync `volumes/`.
//! 3. *Set*: give the data directory its new owner and mode and sync it, write the
//!    new record beside the old one, sync it, rename it over the old one, sync the
//!    volume's directory. A limit is set after the record that states it, and again
//!    at each Mount where the kernel has another one.
//! 4. *Restore*: where the name is another one, replace the record in the entry as
//!    above; rename the entry to `volumes/<name>` (never over an existing one),
//!    sync `volumes/`, sync `trash/`.
//! 5. *Purge*: rename the entry to `staging/x`, sync `trash/`, then delete: an
//!    entry that is half deleted can never be restored.
//! 6. *Adopt*: write the record of `adopting/x` and sync it and all above it; somebody
//!    renames a directory to `adopting/x/data`; sync the file system, rename `adopting/x`
//!    to `volumes/<name>` (never over an existing one), sync `volumes/` and `adopting/`.
//!
//! After a crash, on open: whatever lies in `staging/` was never acknowledged or
//! is being deleted, and goes; what holds data in
//! `adopting/` becomes a volume; the root, `volumes/` and `trash/` are synced once
//! before anything is acknowledged, since what is read there may not be on the
//! disk yet.
//! A sync that failed is not tried again on the same file: the root is closed,
//! and opened anew.
//!
//! # Invariants
//! Only [`layout`] names files. Only [`dir`] changes the disk, but for making the
//! root and the state directory themselves. A path that comes
//! from outside is never joined: names are [`FileName`]s, and are reached from a
//! held descriptor with openat2(2) and no symbolic link on the way.

mod account;
mod adopt;
mod bytes;
mod copy;
mod delete;
mod descent;
pub mod dir;
pub mod error;
mod import;
mod init;
mod label;
pub mod layout;
mod left_out;
mod links;
mod marker;
mod node;
mod nodes;
mod open_error;
mod pack;
mod place;
mod quota;
mod read_only;
pub mod root;
mod space;
pub mod state;
mod trash;
mod unpack;
mod verbs;
mod volume_lock;
mod volumes;
mod walk;

pub use account::Usage;
pub use adopt::{Adopting, Terms};
pub use copy::{COPY, Copied, Job, Method, Progress};
pub use dir::Dir;
pub use error::{Error, Result};
pub use import::{Import, Moved, Refused};
pub use init::init;
pub use layout::{FileName, TrashName};
pub use left_out::LeftOut;
pub use marker::Scope;
pub use nodes::Dead;
pub use open_error::OpenError;
pub use pack::{PACK, Packing};
pub use place::{Footprint, NoPlace, Place};
pub use quota::NoLimits;
pub use read_only::{Entry, ReadOnly};
pub use root::{Init, Root, Settings};
pub use space::Space;
pub use state::{Remembered, State};
pub use trash::Restored;
pub use verbs::{NewFile, NotMoved, Probe, SNAPSHOT, Step, move_dir};
pub use volume_lock::{Locked, VolumeLock};
pub use volumes::{Commit, Contents, Ownership, Stored};
pub use walk::{Held, WALK};

pub use crate::sys::quota::Amount;
