//! A person's commands beside a real dockerd: what it knows, and what it does not.

use std::fs::{File, FileTimes};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup};

/// The driver, and an engine that finds it.
fn start() -> (Setup, Serve, Daemon) {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    (setup, serve, daemon)
}

/// Runs `dirvol`, which asks this driver, and this engine where it asks one.
fn dirvol(serve: &Serve, daemon: &Daemon, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).args(line.split_whitespace());
    command
        .env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// As [`dirvol`], and it must succeed without a complaint.
fn said(serve: &Serve, daemon: &Daemon, line: &str) -> String {
    let output = dirvol(serve, daemon, line);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "dirvol {line}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// As [`said`], for JSON.
fn json(serve: &Serve, daemon: &Daemon, line: &str) -> Value {
    serde_json::from_str(&said(serve, daemon, &format!("{line} --format json"))).unwrap()
}

/// Labels are dockerd's own. What brings them back is what the restore prints.
#[test]
fn a_restored_volume_has_its_labels_again_when_it_is_told_how_to() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol -o mode=0750 -o retain=7d --label team=db --label a=b db");
    daemon.shell("--rm -v db:/x", "echo precious > /x/file");
    let before = daemon.inspect("db");
    daemon.ok("volume rm db");
    let told = said(&serve, &daemon, "trash restore db");
    // Docker has the volume, and not its labels.
    assert_eq!(daemon.run("--rm -v db:/x:ro", "cat /x/file"), "precious\n");
    daemon.ok("volume rm db");

    let told_again = said(&serve, &daemon, "trash restore db");
    assert_eq!(told_again, told);
    let line = told.lines().last().unwrap().trim();
    let expected =
        "docker volume create -d dirvol -o mode=0750 -o retain=7days --label KEY=VALUE db";
    assert_eq!(line, expected);
    let line = line.strip_prefix("docker ").unwrap();
    daemon.ok(&line.replace("KEY=VALUE", "team=db --label a=b").replace("7days", "7d"));
    assert_eq!(daemon.inspect("db"), before);
    assert_eq!(daemon.run("--rm -v db:/x:ro", "cat /x/file"), "precious\n");
}

#[test]
fn who_holds_a_volume_is_told_with_the_container() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol db");
    let started = SystemTime::now() - Duration::from_secs(2);
    let ids = ["one", "two"].map(|name| {
        let id = daemon.run(&format!("-d --name {name} -v db:/{name}"), "top");
        id.trim().to_owned()
    });
    let holders = json(&serve, &daemon, "holders db");
    let mounts = holders["Mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 2, "{holders}");
    for (id, name) in ids.iter().zip(["one", "two"]) {
        let mount = mounts.iter().find(|mount| mount["Container"] == *id).unwrap();
        assert_eq!(mount["Mountpoint"], format!("/{name}"), "{mount}");
        let pid = daemon.ok(&format!("inspect -f {{{{.State.Pid}}}} {name}"));
        let inside = format!("/proc/{}/root/{name}", mount["Pid"]);
        assert!(std::fs::metadata(&inside).is_ok(), "{inside}, {pid} in the engine's namespace");
        let since = mount["Since"].as_str().unwrap();
        let since = humantime::parse_rfc3339(since).unwrap();
        assert!(since >= started && since <= SystemTime::now() + Duration::from_secs(2), "{mount}");
    }
    let table = said(&serve, &daemon, "holders db");
    assert!(ids.iter().all(|id| table.contains(&id[..12])), "{table}");
    let mount_ids = holders["MountIDs"].as_array().unwrap();
    assert_eq!(mount_ids.len(), 2, "{holders}");
    assert!(mount_ids.iter().all(|id| id["Count"] == 1), "{holders}");
    assert_eq!(json(&serve, &daemon, "ls")[0]["Holders"], 2);
    daemon.ok("rm -f one two");
    assert_eq!(json(&serve, &daemon, "ls")[0]["Holders"], 0);
    let none: Value = serde_json::json!({"Mounts": [], "MountIDs": []});
    assert_eq!(json(&serve, &daemon, "holders db"), none);
}

/// Of a container that does not run, only its engine knows.
#[test]
fn a_prune_leaves_what_a_stopped_container_needs() {
    let (setup, serve, mut daemon) = start();
    daemon.ok("volume create -d dirvol --label a=b needed");
    daemon.ok("volume create -d dirvol running");
    daemon.ok("volume create -d dirvol forgotten");
    daemon.shell("--name stopped -v needed:/x", "echo precious > /x/file");
    daemon.run("-d --name holder -v running:/x", "top");
    daemon.run("--rm -v forgotten:/x", "true");
    for name in ["needed", "running", "forgotten"] {
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        File::open(setup.state().join("seen").join(name)).unwrap().set_times(times).unwrap();
    }
    let pruned = json(&serve, &daemon, "prune --unused-for 30d");
    let names = |kind: &str| -> Vec<(String, String)> {
        let all = pruned[kind].as_array().unwrap().iter();
        all.map(|one| {
            let why = one["Why"].as_str().unwrap_or_default();
            (one["Name"].as_str().unwrap().to_owned(), why.to_owned())
        })
        .collect()
    };
    let because = |name: &str| (name.to_owned(), "a container needs it".to_owned());
    assert_eq!(names("Removed"), [("forgotten".to_owned(), String::new())]);
    assert_eq!(names("Kept"), [because("needed"), because("running")]);
    assert_eq!(daemon.ok("start -a stopped"), "");
    assert_eq!(daemon.inspect("needed")[0]["Labels"]["a"], "b");

    // dockerd forgets what it could not ask the driver for when it started.
    daemon.ok("rm -f holder");
    daemon.stop();
    serve.stop();
    daemon.boot();
    let serve = setup.serve();
    let pruned = json(&serve, &daemon, "prune --unused-for 0");
    let stays = serde_json::json!([{"Name": "needed", "Why": "a container needs it"}]);
    assert_eq!(pruned["Kept"], stays, "{pruned}");
    assert_eq!(serve.names(), ["needed"]);

    // An engine that does not answer might need any of them.
    daemon.ok("rm -f stopped");
    daemon.stop();
    let output = dirvol(&serve, &daemon, "prune --unused-for 0");
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(why.contains("cannot be asked which volumes its containers need"), "{why}");
    assert_eq!(serve.names(), ["needed"]);
    daemon.boot();
    let pruned = json(&serve, &daemon, "prune --unused-for 0");
    assert_eq!(pruned["Removed"].as_array().unwrap().len(), 1, "{pruned}");
}

/// With `-f`, dockerd forgets the volume whatever the driver says; the bytes stay.
#[test]
fn a_protected_volume_outlasts_every_way_in_which_docker_removes_it() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol -o protect=true --label a=b db");
    daemon.shell("--rm -v db:/x", "echo precious > /x/file");
    let before = daemon.inspect("db");
    let error = daemon.fails("volume rm db");
    let why = "volume db is protected; if it is to be removed, run 'dirvol set db protect=false' \
               first";
    assert!(error.contains(why), "{error}");
    assert_eq!(daemon.inspect("db"), before);
    // What this prints differs between engines.
    let _forced = daemon.docker("volume rm -f db");
    assert_eq!(serve.names(), ["db"]);
    assert_eq!(daemon.run("--rm -v db:/x:ro", "cat /x/file"), "precious\n");
    said(&serve, &daemon, "set db protect=false");
    daemon.ok("volume rm db");
    assert_eq!(serve.names(), Vec::<String>::new());
}
