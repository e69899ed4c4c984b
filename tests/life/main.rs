//! The life of a volume on the file systems that volumes commonly lie on: limits,
//! clones, import and export, directories where they are. Needs root, loop devices and
//! the tools of the file systems.

#[path = "../harness/mod.rs"]
mod harness;

#[allow(dead_code)]
#[path = "../cuts/disk.rs"]
mod disk;

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
