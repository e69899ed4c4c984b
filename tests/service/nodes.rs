//! Several drivers, as the nodes of one root: `--scope global`. Here they share a kernel,
//! and nothing is mounted; a file server is in tests/scale, engines are in tests/swarm.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::expect::{done, failed, listing, named, ok, with_id, with_options};
use crate::harness::{Serve, Setup, eventually};
use crate::program::{dirvol, failure, run, success, usage};

const CREATE: &str = "VolumeDriver.Create";
const MOUNT: &str = "VolumeDriver.Mount";
const UNMOUNT: &str = "VolumeDriver.Unmount";
const REMOVE: &str = "VolumeDriver.Remove";

/// How a node is started, on a root that it has to itself until others share it.
fn node(name: &str) -> Setup {
    Setup::new().arg("--scope=global").arg(format!("--node={name}"))
}

/// The same on the root of `first`, by a path of its own.
fn beside(first: &Setup, name: &str) -> Setup {
    let setup = node(name);
    symlink(first.root(), setup.root()).unwrap();
    setup
}

/// Two nodes, `a` and `b`, that serve one root.
pub fn two() -> (Setup, Serve, Setup, Serve) {
    let a = node("a");
    let serve_a = a.serve();
    let b = beside(&a, "b");
    let serve_b = b.serve();
    (a, serve_a, b, serve_b)
}

/// What a node answers to a Get, but for the time.
fn health(serve: &Serve, name: &str) -> Option<String> {
    let answer = serve.call("VolumeDriver.Get", &named(name));
    let got: Value = serde_json::from_str(&answer.body).unwrap();
    Some(got["Volume"]["Status"]["health"].as_str()?.to_owned())
}

/// The nodes that are said to hold a volume.
fn holders(root: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(root.join("volumes").join(name).join("lock")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn in_use(name: &str, node: &str) -> String {
    format!("volume {name}: volume is in use by node {node}; stop its containers there first")
}

fn in_use_by_the_dead(name: &str, node: &str) -> String {
    format!(
        "volume {name}: volume is in use by node {node}; that node is not alive: start it; or, if \
         it is off for good, run 'dirvol release --node {node}' first"
    )
}

#[test]
fn what_one_node_makes_changes_and_removes_the_other_sees_at_once() {
    let (a, on_a, _b, on_b) = two();
    for round in 0..20 {
        let name = format!("v{round}");
        on_a.create(&name);
        assert_eq!(on_b.names(), std::slice::from_ref(&name));
        assert_eq!(health(&on_b, &name), Some("ok".into()));
        on_b.ok("Dirvol.Set", &json!({"Name": name, "Opts": {"retain": "0"}}).to_string());
        let got: Value = serde_json::from_str(&on_a.ok("VolumeDriver.Get", &named(&name))).unwrap();
        assert_eq!(got["Volume"]["Status"]["options"]["retain"], "0s");
        on_b.remove(&name);
        assert_eq!(health(&on_a, &name), None);
        assert_eq!(on_a.names(), Vec::<String>::new());
    }
    eventually("all is deleted", || {
        let staging = a.root().join("nodes/b/staging");
        fs::read_dir(staging).unwrap().next().is_none().then_some(())
    });
    let marker =
        "{\"format\":1,\"id\":\"ffffffff-ffff-ffff-ffff-ffffffffffff\",\"scope\":\"global\"}\n";
    let expected = [
        format!("dirvol.json 0600 0:0 {marker:?}"),
        "lock 0600 0:0 \"\"".into(),
        "nodes/ 0700 0:0".into(),
        "nodes/a/ 0700 0:0".into(),
        "nodes/a/holders/ 0700 0:0".into(),
        "nodes/a/lock 0600 0:0 \"\"".into(),
        "nodes/a/staging/ 0700 0:0".into(),
        "nodes/b/ 0700 0:0".into(),
        "nodes/b/holders/ 0700 0:0".into(),
        "nodes/b/lock 0600 0:0 \"\"".into(),
        "nodes/b/staging/ 0700 0:0".into(),
        "trash/ 0700 0:0".into(),
        "volumes/ 0700 0:0".into(),
    ];
    assert_eq!(listing(&a.root()), expected);
    on_a.stop();
    on_b.stop();
}

#[test]
fn a_volume_that_another_node_holds_is_not_removed_until_it_is_unmounted_there() {
    let (a, on_a, _b, on_b) = two();
    on_a.create("db");
    on_a.ok(MOUNT, &with_id("db", "x"));
    on_b.ok(MOUNT, &with_id("db", "y"));
    assert_eq!(holders(&a.root(), "db"), ["a", "b"]);
    let shown = on_b.ok("Dirvol.Holders", &named("db"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["Nodes"], json!(["a", "b"]));
    assert_eq!(on_b.call(UNMOUNT, &with_id("db", "y")), done());
    assert_eq!(on_b.call(REMOVE, &named("db")), failed(409, &in_use("db", "a")));
    assert_eq!(on_a.call(UNMOUNT, &with_id("db", "x")), done());
    assert_eq!(holders(&a.root(), "db"), Vec::<String>::new());
    assert_eq!(on_b.call(REMOVE, &named("db")), done());
    assert_eq!(on_a.names(), Vec::<String>::new());
    on_a.stop();
    on_b.stop();
}

#[test]
fn what_a_dead_node_held_is_held_until_it_is_released_or_back() {
    let (a, on_a, b, on_b) = two();
    for name in ["one", "two"] {
        on_a.create(name);
        on_a.ok(MOUNT, &with_id(name, "x"));
    }
    let release =
        |node: &str| dirvol(["--socket", b.socket().to_str().unwrap(), "release", "--node", node]);
    let alive = "node a: it is alive, and says itself what it holds: stop its containers there";
    assert_eq!(release("a"), failure(alive));
    assert_eq!(release("c"), failure("node c: there is none of that name; there are a, b"));
    on_a.kill();
    assert_eq!(on_b.call(REMOVE, &named("one")), failed(409, &in_use_by_the_dead("one", "a")));
    // It is back, and nobody there has it mounted.
    let on_a = a.serve();
    eventually("it has let go", || holders(&a.root(), "one").is_empty().then_some(()));
    eventually("and of the other", || holders(&a.root(), "two").is_empty().then_some(()));
    assert_eq!(on_b.call(REMOVE, &named("one")), done());
    on_a.ok(MOUNT, &with_id("two", "x"));
    on_a.kill();
    fs::write(a.root().join("nodes/a/staging/half"), "built").unwrap();
    assert_eq!(release("a"), success("two\n".into()));
    assert_eq!(on_b.call(REMOVE, &named("two")), done());
    eventually("what it was building is deleted", || {
        let staging = a.root().join("nodes/b/staging");
        fs::read_dir(staging).unwrap().next().is_none().then_some(())
    });
    let nodes: Vec<String> =
        listing(&a.root().join("nodes")).iter().map(|line| line[..2].to_owned()).collect();
    assert_eq!(nodes, ["b/", "b/", "b/", "b/"]);
    on_b.stop();
}

#[test]
fn a_node_that_was_released_while_it_lived_begins_anew() {
    let (a, on_a, _b, on_b) = two();
    on_a.create("db");
    on_a.ok(MOUNT, &with_id("db", "x"));
    // As another node does that has waited until the file server gave the lock away.
    fs::remove_dir_all(a.root().join("nodes/a")).unwrap();
    eventually("it has a place again", || a.root().join("nodes/a/staging").exists().then_some(()));
    on_a.wait_available();
    assert!(on_a.log().contains("this node has lost its lock"), "{}", on_a.log());
    on_a.create("other");
    assert_eq!(on_b.names(), ["db", "other"]);
    on_a.stop();
    on_b.stop();
}

#[test]
fn of_many_nodes_that_create_one_name_all_have_it_or_hear_what_differs() {
    let first = node("n0");
    let mut nodes = vec![(first.serve(), first)];
    for number in 1..4 {
        let setup = beside(&nodes[0].1, &format!("n{number}"));
        nodes.push((setup.serve(), setup));
    }
    for round in 0..10 {
        let equal = with_options(&format!("equal{round}"), &json!({"mode": "0700"}));
        let answers = at_once(&nodes, |_, serve| serve.call(CREATE, &equal));
        assert_eq!(answers, vec![done(); 4]);
        let name = format!("other{round}");
        let answers = at_once(&nodes, |number, serve| {
            let options = json!({"mode": format!("070{number}")});
            serve.call(CREATE, &with_options(&name, &options))
        });
        let winner = answers.iter().position(|answer| *answer == done()).unwrap();
        for (number, answer) in answers.iter().enumerate().filter(|(at, _)| *at != winner) {
            let why = format!(
                "volume {name} exists with other options: its mode is 070{winner}, not \
                 070{number}; ask for the same, or change it with 'dirvol set {name}'"
            );
            assert_eq!(*answer, failed(409, &why));
        }
        // And of many that remove it, each hears that it is gone.
        let answers = at_once(&nodes, |_, serve| serve.call(REMOVE, &named(&name)));
        assert_eq!(answers, vec![done(); 4]);
    }
    let names: Vec<String> = (0..10).map(|round| format!("equal{round}")).collect();
    for (serve, _) in &nodes {
        assert_eq!(serve.names(), names);
    }
    assert_eq!(fs::read_dir(nodes[0].1.root().join("trash")).unwrap().count(), 10);
    nodes.into_iter().for_each(|(serve, _)| serve.stop());
}

/// What each node answers when all are asked at once.
fn at_once<T: Send>(nodes: &[(Serve, Setup)], ask: impl Fn(usize, &Serve) -> T + Sync) -> Vec<T> {
    let ask = &ask;
    thread::scope(|scope| {
        let asked: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(number, (serve, _))| scope.spawn(move || ask(number, serve)))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn two_who_restore_one_entry_on_two_nodes_make_one_volume_of_it() {
    let (a, on_a, _b, on_b) = two();
    for _ in 0..10 {
        on_a.create("db");
        on_a.remove("db");
        let entry = fs::read_dir(a.root().join("trash")).unwrap().next().unwrap().unwrap();
        let entry = entry.file_name().into_string().unwrap();
        let restore = |serve: &Serve, name: &str| {
            serve.call("Dirvol.TrashRestore", &json!({"Entry": entry, "Name": name}).to_string())
        };
        let (one, two) = thread::scope(|scope| {
            let other = scope.spawn(|| restore(&on_b, "on-b"));
            (restore(&on_a, "on-a"), other.join().unwrap())
        });
        let names = on_a.names();
        assert_eq!(names.len(), 1, "{one:?} {two:?}");
        assert_eq!(health(&on_b, &names[0]), Some("ok".into()));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404], "{one:?} {two:?}");
        on_b.remove(&names[0]);
        on_b.ok("Dirvol.TrashPurge", r#"{"All":true}"#);
    }
    on_a.stop();
    on_b.stop();
}

#[test]
fn a_root_is_served_for_the_scope_that_it_was_made_for() {
    let (a, on_a, _b, on_b) = two();
    let root = a.root().display().to_string();
    let local = Setup::new();
    symlink(a.root(), local.root()).unwrap();
    let on_local = local.start();
    let shown = local.root().display().to_string();
    let why = format!(
        "dirvol is unavailable: root {shown} was made for scope global, and --scope local is \
         asked for: serve it with --scope global, or give another --root"
    );
    eventually("it says so", || {
        (on_local.call(CREATE, &named("db")) == failed(503, &why)).then_some(())
    });
    on_local.stop();
    // A second driver as the same node.
    let twin = beside(&a, "a");
    let on_twin = twin.start();
    let shown = twin.root().display().to_string();
    let why = format!(
        "dirvol is unavailable: root {shown} is served by another dirvol as node a: give this \
         one another --node, or wait until the file server has given the lock of that one back"
    );
    eventually("it says so", || {
        (on_twin.call(CREATE, &named("db")) == failed(503, &why)).then_some(())
    });
    assert!(Path::new(&root).join("nodes/a/lock").exists());
    on_a.stop();
    on_twin.wait_available();
    on_twin.stop();
    on_b.stop();
}

#[test]
fn what_one_node_alone_cannot_know_it_does_not_do() {
    let (_a, on_a, b, on_b) = two();
    on_a.create("db");
    let prune = json!({"UnusedFor": "0s", "DryRun": false, "Needed": []}).to_string();
    let why = "this root is shared, and what other nodes need is not known here: remove volumes \
               by name, with 'docker volume rm' or 'dirvol rm'";
    assert_eq!(on_b.call("Dirvol.Prune", &prune), failed(409, why));
    let dir = b.path("mine");
    fs::create_dir(&dir).unwrap();
    let socket = b.socket();
    let moved = dirvol([
        "--socket".as_ref(),
        socket.as_os_str(),
        "import".as_ref(),
        "moved".as_ref(),
        dir.as_os_str(),
        "--move".as_ref(),
    ]);
    let why = "volume moved was not made: other nodes share this root, and would not know of the \
               directory while it is moved: copy it, without --move";
    assert_eq!(moved, failure(why));
    assert!(dir.is_dir());
    assert_eq!(on_a.names(), ["db"]);
    on_a.stop();
    on_b.stop();
}

#[test]
fn flags_of_nodes_that_cannot_be_are_refused() {
    let serve = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        run(command.args(["serve", "--socket=/nowhere/dirvol.sock", "--scope=global"]).args(args))
    };
    let why = "--node \"../a\": use letters, digits, '_', '.' and '-', beginning with a letter or \
               digit";
    assert_eq!(serve(&["--node=../a"]), usage(why));
    let why = "--bind-root allows directories of this host, and --scope global shares the volumes \
               with others: leave one of them out";
    assert_eq!(serve(&["--node=a", "--bind-root=/tmp"]), usage(why));
}

#[test]
fn the_clock_of_a_node_makes_nothing_expire() {
    let Some(library) = ["x86_64", "aarch64"]
        .map(|arch| format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists())
    else {
        panic!("there is no libfaketime: run scripts/setup test");
    };
    let a = node("a");
    let on_a = a.serve();
    let b = beside(&a, "b")
        .env("LD_PRELOAD", library)
        .env("FAKETIME", "+30d")
        .env("NO_FAKE_STAT", "1")
        .env("FAKE_UTIME", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let on_b = b.serve();
    on_a.create("old");
    on_a.remove("old");
    on_b.create("new");
    on_b.remove("new");
    // It looks for what is expired now, by its own clock in a month.
    let expired = on_b.ok("Dirvol.TrashPurge", r#"{"Expired":true}"#);
    assert_eq!(expired, r#"{"Purged":[],"Kept":[],"Err":""}"#);
    let trash: Value = serde_json::from_str(&on_a.ok("Dirvol.TrashList", "{}")).unwrap();
    let entries = trash["Entries"].as_array().unwrap();
    let removed: Vec<_> =
        entries.iter().map(|entry| entry["RemovedAt"].as_str().unwrap()).collect();
    assert_eq!(removed.len(), 2);
    let shown = |time| humantime::format_rfc3339_seconds(time).to_string();
    let now = SystemTime::now();
    let lately = shown(now - Duration::from_secs(3600))..=shown(now);
    assert!(removed.iter().all(|&time| lately.contains(&time.to_owned())), "{removed:?}");
    on_a.stop();
    on_b.stop();
}

#[test]
fn engines_are_told_that_the_volumes_are_all_hosts() {
    let (_a, on_a, _b, on_b) = two();
    let expected = ok(r#"{"Capabilities":{"Scope":"global"},"Err":""}"#);
    assert_eq!(on_a.call("VolumeDriver.Capabilities", "{}"), expected);
    on_a.stop();
    on_b.stop();
}
