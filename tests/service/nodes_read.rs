//! What is read of a root that several nodes serve: who has its volumes mounted, copies,
//! archives, and doctor's look.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::expect::{done, failed, named, with_id, with_options};
use crate::harness::eventually;
use crate::mounts::Container;
use crate::nodes::two;
use crate::program::run;
use crate::trash::announce;

const CREATE: &str = "VolumeDriver.Create";
const MOUNT: &str = "VolumeDriver.Mount";

#[test]
fn what_another_node_holds_is_copied_and_archived_only_where_it_may_be_torn() {
    let (_a, on_a, _b, on_b) = two();
    on_a.create("db");
    on_a.ok(MOUNT, &with_id("db", "x"));
    let copy =
        |live: &str| on_b.call(CREATE, &with_options("copy", &json!({"from": "db", "live": live})));
    let why = "volume copy: volume db is in use by node a; stop its containers first, or give \
               live=true ('dirvol clone --live') if a copy of files that are being written is of \
               use";
    assert_eq!(copy("false"), failed(409, why));
    let why = "volume db: volume is in use by node a; stop its containers first, or take with \
               --live what may be torn";
    assert_eq!(on_b.call("Dirvol.Export", &named("db")), failed(409, why));
    assert_eq!(copy("true"), done());
    on_a.stop();
    on_b.stop();
}

#[test]
fn doctor_finds_nothing_wrong_where_nodes_share_a_root() {
    let (a, on_a, _b, on_b) = two();
    let (root, state, socket) = (a.root(), a.state(), a.socket());
    let asked = run(Command::new(env!("CARGO_BIN_EXE_dirvol"))
        .args(["--socket".as_ref(), socket.as_os_str(), "doctor".as_ref()])
        .args(["--root".as_ref(), root.as_os_str(), "--state-dir".as_ref(), state.as_os_str()]));
    let lock = asked.stdout.lines().find(|line| line.starts_with("lock"));
    let by = format!("process {} (dirvol) holds that of {}", on_a.pid(), root.display());
    assert_eq!(
        lock.unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
        format!("lock ok {by}")
    );
    on_a.stop();
    on_b.stop();
}

#[test]
fn what_a_container_has_is_held_though_the_note_of_it_was_lost_and_an_unmount_said_otherwise() {
    let (a, on_a, _b, on_b) = two();
    on_a.create("db");
    on_a.ok(MOUNT, &with_id("db", "x"));
    let container = Container::with(&a.root().join("volumes/db/data"));
    let lock = a.root().join("volumes/db/lock");
    // Of two containers one has ended.
    assert_eq!(on_a.call("VolumeDriver.Unmount", &with_id("db", "x")), done());
    assert!(fs::read_to_string(&lock).unwrap().lines().any(|node| node == "a"));
    // A note that was half made: the node's own index has it, and the volume has not.
    fs::write(&lock, "").unwrap();
    eventually("it is noted again", || {
        announce(&on_a);
        fs::read_to_string(&lock).unwrap().lines().any(|node| node == "a").then_some(())
    });
    let removed = on_b.call("VolumeDriver.Remove", &named("db"));
    let why = "volume db: volume is in use by node a; stop its containers there first";
    assert_eq!(removed, failed(409, why));
    drop(container);
    eventually("it is let go of", || {
        announce(&on_a);
        announce(&on_b);
        fs::read_to_string(&lock).unwrap().is_empty().then_some(())
    });
    assert_eq!(on_b.call("VolumeDriver.Remove", &named("db")), done());
    on_a.stop();
    on_b.stop();
}
