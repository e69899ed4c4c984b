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

mod inside;
mod plugged;
mod writer;

mod containers;
mod crash;
mod disabled;
mod drain;
mod life;
mod reference;
mod removed;
mod settings;
mod shape;
mod tools;
