//! Power cuts in a virtual machine, whose kernel records every write to a disk and
//! every flush of it (dm-log-writes). Unlike a copy of the disk, as `tests/cuts` takes
//! it, a cut made of that record lacks what the disk had not been told to flush.
//!
//! `scripts/power-cuts` starts it, with what the disks are; it is run by hand.

// The load, the ledger and the judgement are those of the other cuts.
#![allow(dead_code, reason = "this uses its part of what the tier cuts has")]

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../cuts/archived.rs"]
mod archived;
#[path = "../cuts/disk.rs"]
mod disk;
#[path = "../cuts/found.rs"]
mod found;
#[path = "../cuts/ledger.rs"]
mod ledger;
#[path = "../cuts/live.rs"]
mod live;
#[path = "../cuts/revive.rs"]
mod revive;
#[path = "../cuts/rig.rs"]
mod rig;

mod chance;
mod clients;
mod cutting;
mod mapper;
mod recorded;
