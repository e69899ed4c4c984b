//! What is read of a root that several nodes serve: copies, archives, and doctor's look.

use std::process::Command;

use serde_json::json;

use crate::expect::{done, failed, named, with_id, with_options};
use crate::nodes::two;
use crate::program::run;

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
