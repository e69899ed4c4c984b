//! The driver as a process: its wire, its store, its unavailability, its drain.
//! Needs nothing but this tree and root, which mounting takes.

#[path = "../harness/mod.rs"]
mod harness;

mod asked;
mod expect;
mod handover;
mod mounts;
mod program;
mod scraped;

mod wire;

mod connections;
mod malformed;
mod nodes;
mod nodes_read;
mod patience;

mod evidence;
mod life;
mod limits;
mod path;
mod path_apart;
mod path_gone;
mod rootless;
mod selinux;

mod metrics;
mod metrics_listen;

mod attacked;
mod damaged;
mod fuzzed;
mod hostile;
mod names;
mod occupied;
mod privileges;
mod strangers;
mod swapped;

mod init;
mod socket;

mod events;
mod history;
mod kills;
mod model;
mod soak;
mod space;
mod trash;

mod fixture;

mod archives;
mod clone;
mod clone_midway;
mod commands;
mod discovery;
mod doctor;
mod doctor_serving;
mod du;
mod engines;
mod generated;
mod prune;
mod restore;
mod times;
mod verbs;

mod documented;
mod drain;

mod hammer;
mod idle;
mod systemd;

mod causes;
mod hanging;
mod log;
mod unavailable;
