//! What stands on a host around the driver: its units, its Debian package. Needs root,
//! and what `scripts/setup test` installs.

#[path = "../harness/mod.rs"]
mod harness;

mod deb;
mod units;
