//! Volumes: their names, options and records, who holds them, and what can be
//! done with them. No HTTP, no reactor: every operation is an ordinary function
//! that may wait for the disk, but for those that say that they never do.

pub mod adopt;
pub mod archive;
pub mod availability;
mod cache;
pub mod change;
pub mod clone;
pub mod collect;
mod difference;
pub mod driver;
pub mod error;
pub mod evidence;
pub mod holders;
mod locks;
pub mod mount;
pub mod name;
mod nodes;
pub mod options;
pub mod overview;
mod place;
pub mod prune;
pub mod read;
pub mod record;
mod refuse;
mod set;
pub mod size;
pub mod trash;
pub mod value;

pub use driver::{Driver, Settings};
pub use error::Error;
pub use holders::Holder;
pub use name::VolumeName;
pub use options::{Fixture, Options};
pub use read::{Health, Volume};
