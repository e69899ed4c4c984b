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
