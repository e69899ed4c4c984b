//! The life of a volume on the file systems that volumes commonly lie on: limits,
//! clones, import and export, directories where they are. Needs root, loop devices and
//! the tools of the file systems.

#[path = "../cuts/disk.rs"]
#[allow(dead_code, reason = "nothing is cut here")]
mod disk;
#[path = "../harness/mod.rs"]
mod harness;

// The engine tier's, which may use more of them.
#[allow(dead_code)]
#[path = "../engine/daemon.rs"]
mod daemon;
#[path = "../engine/image.rs"]
mod image;
#[path = "../engine/namespace.rs"]
mod namespace;

#[allow(dead_code, clippy::needless_pass_by_value)]
#[path = "../vm/disk.rs"]
mod served;

mod loops;
mod nodes;
mod samples;

mod archive;
mod btrfs;
mod btrfs_clones;
mod btrfs_copies;
mod btrfs_deleted;
mod btrfs_engine;
mod clone;
mod du;
mod fifty;
mod hostile;
mod interrupted;
mod moved;
mod subvolumes;
