//! The driver as a process: its wire, its store, its unavailability, its drain.
//! Needs nothing but this tree.

#[path = "../harness/mod.rs"]
mod harness;

mod life;
