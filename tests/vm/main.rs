//! Limits of volumes, on file systems that this machine's kernel may not have. These
//! tests run inside a virtual machine, which `scripts/vm` starts: its disks are
//! /dev/vda with xfs, /dev/vdb with ext4 that knows projects, and /dev/vdc with ext4
//! that does not. A fourth one has Docker on it, mounted at /programs.

#[path = "../harness/mod.rs"]
mod harness;

mod disk;
#[path = "../life/fifty.rs"]
mod fifty;

mod clone;
mod docker;
mod limits;
mod many;
mod refused;
mod restored;
mod seen;
