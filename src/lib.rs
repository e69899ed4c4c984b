//! dirvol: a volume driver for Docker, Podman and Swarm that keeps volumes as
//! ordinary directories, and treats them as data that must not be lost.
//!
//! The modules stand in reading order, from the command line down to the kernel;
//! imports point downwards only. `ARCHITECTURE.md` says why.

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod server;
pub mod store;
pub mod sys;
pub mod volume;

pub mod api;
pub mod archive;
pub mod json;
pub mod log;
pub mod metrics;
pub mod order;
