//! The life of a volume on the file systems that volumes commonly lie on: limits,
//! clones, import and export, directories where they are. Needs root, loop devices and
//! the tools of the file systems.

#[path = "../harness/mod.rs"]
mod harness;

#[allow(dead_code)]
#[path = "../cuts/disk.rs"]
mod disk;

mod clone;
mod nodes;
mod subvolumes;
