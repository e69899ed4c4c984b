//! A disk that does not answer, neither with success nor with an error: whoever
//! asks is answered all the same, and so is whoever wants the driver to end.

use std::fs;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::asked::refused;
use crate::expect::{failed, named, ok, response, with_id};
use crate::harness::{Answer, Client, DEADLINE, DONE, Serve, Setup, eventually, get, request};
use crate::mounts::{HangingDisk, in_own_mounts, unmount_lazily};

/// What is said of a disk that hangs.
const HANGS: &str = "the disk of its root does not answer: see the kernel's log";

/// What is said when as many wait for it as may wait.
const BUSY: &str = "dirvol is busy: 32 operations wait for the disk; see the kernel's log for it";

/// What a Get says when its own time is up first.
const SLOW: &str = "the disk has not answered for 4 s; the call goes on and may be repeated";

/// Waits until the driver knows that the disk hangs.
fn wait_until_known(serve: &Serve) {
    let health = json!({"reason": HANGS, "status": "unavailable"}).to_string();
    let health = response(503, "application/json", health);
    eventually("it is known", || (get(&serve.socket, "/healthz") == health).then_some(()));
}

/// What is said of the volume `known` that the state directory alone knows.
fn seen(setup: &Setup, why: &str) -> Answer {
    let data = setup.root().join("volumes/known/data");
    ok(format!(
        r#"{{"Volume":{{"Name":"known","Mountpoint":"{}","Status":{{"health":"unknown: {why}","holders":[]}}}},"Err":""}}"#,
        data.display()
    ))
}

/// The body of a call about a volume that there never was.
const NEW: &str = "{\"Name\":\"new\"}\n";

#[test]
fn a_disk_that_hangs_at_the_start_is_told_of_and_is_served_when_it_is_back() {
    let setup = Setup::new();
    let before = setup.serve();
    before.create("known");
    before.stop();
    in_own_mounts(|| {
        let disk = HangingDisk::mount(&setup.root());
        let serve = setup.start();
        let opening = r#"{"reason":"its root is being opened","status":"unavailable"}"#;
        let health = response(503, "application/json", opening);
        assert_eq!(get(&serve.socket, "/healthz"), health);
        let implements = ok(r#"{"Implements":["VolumeDriver"]}"#);
        assert_eq!(serve.call("Plugin.Activate", ""), implements);
        let scope = ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#);
        assert_eq!(serve.call("VolumeDriver.Capabilities", "{}\n"), scope);
        assert_eq!(serve.metric("dirvol_available", ""), 0);
        let why = &*format!("dirvol is unavailable: {HANGS}");
        let known = named("known");
        let mut calls = vec![
            ("VolumeDriver.Create", &*known, Some(failed(503, why))),
            ("VolumeDriver.Remove", &known, Some(failed(503, why))),
            ("VolumeDriver.Path", &known, Some(failed(503, why))),
            ("VolumeDriver.List", "{}\n", Some(failed(503, why))),
            ("VolumeDriver.Get", &known, Some(seen(&setup, why))),
            ("VolumeDriver.Get", NEW, Some(failed(404, "no such volume: new"))),
        ];
        // Those who wait for one volume do not wait one after the other.
        let id = with_id("known", "x");
        calls.extend((0..10).map(|_| ("VolumeDriver.Mount", &*id, Some(failed(503, why)))));
        thread::scope(|scope| {
            for (method, body, expected) in calls {
                let mut client = Client::connect(&serve.socket);
                client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
                scope.spawn(move || assert_eq!(client.call(method, body), expected, "{method}"));
            }
        });
        wait_until_known(&serve);

        unmount_lazily(&setup.root());
        drop(disk);
        serve.wait_available();
        assert_eq!(serve.names(), ["known"]);
        serve.stop();
    });
}

#[test]
fn a_disk_that_hangs_lets_some_wait_and_tells_the_rest() {
    let setup = Setup::new();
    in_own_mounts(|| {
        let serve = setup.serve();
        serve.create("known");
        let disk = HangingDisk::mount(&setup.root());
        // As many as may wait for the disk, each for another volume.
        let waiting: Vec<Client> = (0..32)
            .map(|i| {
                let mut client = Client::connect(&serve.socket);
                client.send(request("VolumeDriver.Create", &named(&format!("v{i}"))));
                client
            })
            .collect();
        let none = failed(404, "no such volume: new");
        let known = [BUSY, SLOW].map(|why| seen(&setup, why)).to_vec();
        let calls = [
            ("VolumeDriver.Create", &*named("v33"), vec![failed(503, BUSY)]),
            ("VolumeDriver.List", "{}\n", vec![failed(503, BUSY)]),
            // Of these it cannot be told, but by the state directory.
            ("VolumeDriver.Get", &named("known"), known),
            ("VolumeDriver.Get", NEW, vec![none]),
        ];
        thread::scope(|scope| {
            for (method, body, expected) in calls {
                let mut client = Client::connect(&serve.socket);
                scope.spawn(move || {
                    let answer = client.call(method, body).unwrap();
                    assert!(expected.contains(&answer), "{method} {body}: {answer:?}");
                });
            }
        });
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("known", "x")), DONE);
        unmount_lazily(&setup.root());
        drop(disk);
        // Who waited is answered now, and whoever comes is served.
        for mut client in waiting {
            assert_eq!(client.answer().map(|answer| answer.status), Some(503));
        }
        serve.wait_available();
        assert_eq!(serve.names(), ["known"]);
        serve.create("v0");
        serve.stop();
    });
}

#[test]
fn a_disk_that_hangs_while_it_is_served_holds_up_neither_answers_nor_the_exit() {
    let setup = Setup::new();
    in_own_mounts(|| {
        let mut serve = setup.serve();
        serve.create("known");
        let got = serve.call("VolumeDriver.Get", &named("known"));
        assert_eq!(serve.metric("dirvol_volumes", ""), 1);
        let disk = HangingDisk::mount(&setup.root());
        // Whoever must know that the root still is there waits for that.
        let wait = |method| {
            let mut client = Client::connect(&serve.socket);
            let body = with_id("known", "x");
            client.send(request(&format!("VolumeDriver.{method}"), &body));
            client
        };
        let waiting = ["Create", "Remove", "Mount"].map(wait);
        let read = |(method, body)| {
            let mut client = Client::connect(&serve.socket);
            client.send(request(method, body));
            client
        };
        let known = named("known");
        let readers = [
            ("VolumeDriver.List", "{}\n"),
            ("Dirvol.List", "{}\n"),
            ("Dirvol.Holders", &known),
            ("Dirvol.TrashList", "{}\n"),
        ]
        .map(read);
        // Nobody else does.
        assert_eq!(serve.call("VolumeDriver.Get", &named("known")), got);
        let new = serve.call("VolumeDriver.Get", NEW);
        assert_eq!(new, failed(404, "no such volume: new"));
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("known", "x")), DONE);
        // A scrape has what was known of volumes, and nothing of the disk.
        let lines = |begin: &str| -> Vec<String> {
            let text = get(&serve.socket, "/metrics").body;
            text.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect()
        };
        assert_eq!(lines("dirvol_filesystem_"), [""; 0]);
        assert_eq!(lines("dirvol_volume_mounts"), [r#"dirvol_volume_mounts{volume="known"} 0"#]);
        // After a while it is known that the disk hangs, and nobody waits any more;
        // a person has waited for what the driver says.
        refused(&serve, "ls", &format!("dirvol is unavailable: {HANGS}"));
        wait_until_known(&serve);
        let why = failed(503, &format!("dirvol is unavailable: {HANGS}"));
        assert_eq!(serve.call("VolumeDriver.Mount", &with_id("new", "x")), why);
        // Nor does whoever only wants to read, also if he came before.
        for mut reader in readers {
            reader.stream.set_read_timeout(Some(DEADLINE)).unwrap();
            assert_eq!(reader.answer().as_ref(), Some(&why));
        }

        serve.signal(Signal::SIGTERM);
        let status = serve.wait();
        assert!(status.success(), "{status}");
        let log = serve.log();
        assert!(log.contains("WARN exiting with requests that the disk did not answer"), "{log}");
        assert!(!setup.socket().exists());
        for mut client in waiting {
            assert_eq!(client.answer(), None);
        }
        // What was asked for was not done: the disk never answered.
        unmount_lazily(&setup.root());
        drop(disk);
        eventually("the root's lock is free", || {
            let lock = fs::File::open(setup.root().join("lock")).unwrap();
            lock.try_lock().ok()
        });
        let serve = setup.serve();
        assert_eq!(serve.names(), ["known"]);
        serve.stop();
    });
}

#[test]
fn a_disk_that_is_known_to_hang_is_told_of_at_once_also_of_a_volume_that_waits_for_it() {
    let setup = Setup::new();
    in_own_mounts(|| {
        let serve = setup.serve();
        serve.create("known");
        let disk = HangingDisk::mount(&setup.root());
        let mut waiting = Client::connect(&serve.socket);
        waiting.send(request("VolumeDriver.Create", &named("known")));
        wait_until_known(&serve);
        let why = failed(503, &format!("dirvol is unavailable: {HANGS}"));
        for method in ["Create", "Mount", "Remove"] {
            let mut client = Client::connect(&serve.socket);
            client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let answer = client.call(&format!("VolumeDriver.{method}"), &with_id("known", "x"));
            assert_eq!(answer.as_ref(), Some(&why), "{method}");
        }
        unmount_lazily(&setup.root());
        drop(disk);
        serve.wait_available();
        serve.stop();
    });
}
