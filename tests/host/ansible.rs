//! The example for Ansible, run by a real ansible-playbook.

use std::fs;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::harness::{Setup, eventually, tree};
use crate::storage::with_dockerd;

/// Runs the playbook, which must succeed, and returns what is told of the host.
fn play(setup: &Setup, daemon: &Daemon) -> Value {
    let mut command = daemon.client("ansible-playbook");
    command
        .env("HOME", setup.path("home"))
        .env("LANG", "C.UTF-8")
        .env("ANSIBLE_STDOUT_CALLBACK", "json")
        // The one that its library for Docker is installed for.
        .args(["--inventory", "localhost,", "-e", "ansible_python_interpreter=/usr/bin/python3"])
        .arg("examples/ansible/site.yml");
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{complaint}");
    let told: Value = serde_json::from_str(&printed).unwrap();
    told["stats"]["localhost"].clone()
}

#[test]
fn a_playbook_that_is_run_twice_changes_nothing_the_second_time() {
    let (setup, serve, daemon) = with_dockerd();
    let stats = |changed: u32| {
        json!({
            "changed": changed, "failures": 0, "ignored": 0, "ok": 2, "rescued": 0, "skipped": 0,
            "unreachable": 0
        })
    };
    assert_eq!(play(&setup, &daemon), stats(2));
    let log = serve.root.join("volumes/ansible-db/data/log");
    eventually("the container has started", || {
        (fs::read_to_string(&log).ok()? == "started\n").then_some(())
    });
    let state = || {
        let container = daemon.ok("inspect -f {{.Id}}{{.State.StartedAt}} ansible-db");
        (daemon.inspect("ansible-db"), container, tree(&serve.root.join("volumes")))
    };
    let before = state();
    let in_force = json!({
        "gid": "1000", "mode": "0750", "protect": "true", "retain": "7days", "uid": "1000"
    });
    assert_eq!(before.0[0]["Status"]["options"], in_force);
    assert_eq!(before.0[0]["Labels"], json!({"com.example.backup": "daily"}));

    assert_eq!(play(&setup, &daemon), stats(0));
    assert_eq!(state(), before);

    // Neither does a person's change make a difference.
    let body = r#"{"Name":"ansible-db","Opts":{"protect":"false"}}"#;
    serve.ok("Dirvol.Set", body);
    assert_eq!(play(&setup, &daemon), stats(0));
}
