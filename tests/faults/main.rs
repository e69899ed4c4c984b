//! Every step fails once. Each operation is made once to see its steps on the disk;
//! then, for each step and each way in which a disk refuses it, on a fresh root, that
//! step fails, or the operation ends there as by a kill. The root is opened again, and
//! what lies in it is one of the outcomes that `operations.rs` lists: whole listings,
//! with the neighbours. An operation that answered success is done; repeating any
//! converges.
//!
//! `steps.rs` does so in this process with the probe, all cases; `syscalls.rs` with
//! strace on the real binary, where each system call that touches the root or the state
//! directory fails, or is the last one: a sample, or all with `FAULTS=all`. Beside
//! them are disks that are full, read-only, or gone, on real file systems.
//!
//! Needs root, loop devices, the tools of ext4, xfs and btrfs, and strace.

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../service/expect.rs"]
#[allow(dead_code)]
mod expect;

#[path = "../service/mounts.rs"]
#[allow(dead_code)]
mod mounts;

mod disk;
#[path = "../cuts/each.rs"]
mod each;
mod judge;
mod operations;
mod strace;
mod world;

mod failing;
mod full;
mod names;
mod steps;
mod syscalls;
