//! The life of a volume on the file systems that volumes commonly lie on: limits,
//! clones, import and export, directories where they are. Needs root, loop devices and
//! the tools of the file systems.

#[path = "../cuts/disk.rs"]
#[allow(dead_code, reason = "nothing is cut here")]
mod disk;
#[path = "../harness/mod.rs"]
mod harness;

mod archive;
mod hostile;
mod interrupted;
mod samples;

mod clone;
mod clone_ends;
mod nodes;
// The engine tier's, which may use more of them.
#[allow(dead_code)]
#[path = "../engine/daemon.rs"]
mod daemon;
#[path = "../engine/image.rs"]
mod image;
#[path = "../engine/namespace.rs"]
mod namespace;

#[allow(dead_code)]
#[path = "../vm/disk.rs"]
mod served;

mod loops;

mod btrfs;
mod btrfs_deleted;
mod btrfs_engine;
mod du;
mod fifty;
mod subvolumes;
