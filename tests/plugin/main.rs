//! The driver as a managed plugin of a real dockerd. Needs root, the bundle that
//! `make plugin` assembles, and what `scripts/setup test` installs.

#[path = "../harness/mod.rs"]
mod harness;

// The engine tier, whose part these are, uses more of them.
#[path = "../engine/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "../engine/image.rs"]
mod image;
#[path = "../engine/namespace.rs"]
mod namespace;

#[path = "../cuts/disk.rs"]
#[allow(dead_code)]
mod disk;

mod advice;
mod inside;
mod plugged;
mod registry;
mod writer;

mod containers;
mod crash;
mod disabled;
mod drain;
mod effects;
mod install;
mod life;
mod quota;
mod reference;
mod removed;
mod restarts;
mod root;
mod settings;
mod shape;
mod tools;
mod upgrade;
