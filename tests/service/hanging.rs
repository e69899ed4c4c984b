//! A disk that does not answer, neither with success nor with an error: whoever
//! asks is answered all the same, and so is whoever wants the driver to end.

use std::fs;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::expect::{failed, named, ok, response, with_id};
use crate::harness::{Client, DEADLINE, DONE, Setup, eventually, get, request};
use crate::mounts::{HangingDisk, in_own_mounts, unmount_lazily};

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
        let why =
            "dirvol is unavailable: the disk of its root does not answer: see the kernel's log";
        let seen = format!(
            r#"{{"Volume":{{"Name":"known","Mountpoint":"{}/volumes/known/data","Status":{{"health":"unknown: {why}","holders":[]}}}},"Err":""}}"#,
            setup.root().display()
        );
        let known = named("known");
        let mut calls = vec![
            ("VolumeDriver.Create", &*known, Some(failed(503, why))),
            ("VolumeDriver.Remove", &known, Some(failed(503, why))),
            ("VolumeDriver.Path", &known, Some(failed(503, why))),
            ("VolumeDriver.List", "{}\n", Some(failed(503, why))),
            ("VolumeDriver.Get", &known, Some(ok(seen))),
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
        let hangs = "the disk of its root does not answer: see the kernel's log";
        let health = json!({"reason": hangs, "status": "unavailable"}).to_string();
        let health = response(503, "application/json", &health);
        assert_eq!(get(&serve.socket, "/healthz"), health);

        unmount_lazily(&setup.root());
        drop(disk);
        serve.wait_available();
        assert_eq!(serve.names(), ["known"]);
        serve.stop();
    });
}

const BUSY: &str = "dirvol is busy: 32 operations wait for the disk; see the kernel's log for it";

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
        let busy = failed(503, BUSY);
        let none = failed(404, "no such volume: new");
        let known = ok(format!(
            r#"{{"Volume":{{"Name":"known","Mountpoint":"{}/volumes/known/data","Status":{{"health":"unknown: {BUSY}","holders":[]}}}},"Err":""}}"#,
            setup.root().display()
        ));
        let calls = [
            ("VolumeDriver.Create", &*named("v33"), Some(busy.clone())),
            ("VolumeDriver.List", "{}\n", Some(busy)),
            // Of these it cannot be told, but by the state directory.
            ("VolumeDriver.Get", &named("known"), Some(known)),
            ("VolumeDriver.Get", NEW, Some(none)),
        ];
        thread::scope(|scope| {
            for (method, body, expected) in calls {
                let mut client = Client::connect(&serve.socket);
                scope.spawn(move || assert_eq!(client.call(method, body), expected, "{method}"));
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
        let disk = HangingDisk::mount(&setup.root());
        // Whoever must know that the root still is there waits for that.
        let waiting: Vec<Client> = ["Create", "Remove", "Mount", "List"]
            .map(|method| {
                let mut client = Client::connect(&serve.socket);
                let body = with_id("known", "x");
                client.send(request(&format!("VolumeDriver.{method}"), &body));
                client
            })
            .into();
        // Nobody else does.
        assert_eq!(serve.call("VolumeDriver.Get", &named("known")), got);
        let new = serve.call("VolumeDriver.Get", NEW);
        assert_eq!(new, failed(404, "no such volume: new"));
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("known", "x")), DONE);
        assert_eq!(get(&serve.socket, "/metrics").status, 200);
        assert_eq!(get(&serve.socket, "/healthz").status, 200);

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
