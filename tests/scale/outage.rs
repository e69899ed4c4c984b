//! What a driver says and does while its root cannot be reached, and after.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Client, DONE, Serve, Setup, eventually, get};
use crate::node::{HARD, Node, SOFT};
use crate::server::{Disk, Server};

const CREATE: &str = "VolumeDriver.Create";

fn named(name: &str) -> String {
    json!({"Name": name}).to_string()
}

/// Why the root is not served, or nothing.
fn reason(serve: &Serve) -> Option<String> {
    let answer = get(&serve.socket, "/healthz");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    Some(body["reason"].as_str()?.to_owned())
}

/// A volume that was asked for before is known all the time.
fn known(serve: &Serve) -> Value {
    let got: Value = serde_json::from_str(&serve.ok("VolumeDriver.Get", &named("db"))).unwrap();
    got["Volume"]["Status"]["health"].clone()
}

#[test]
fn a_server_that_ends_under_load_loses_no_volume_that_was_acknowledged() {
    for options in [HARD, SOFT] {
        let server = Server::start();
        let share = server.share(Disk::Ext4);
        let node = Node::new(1);
        let setup = node.driver(&share, options);
        let serve = node.serve(&setup);
        serve.create("db");
        assert_eq!(known(&serve), "ok");
        let made = thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut made = vec!["db".to_owned()];
                for n in 0.. {
                    let name = format!("v{n:04}");
                    let answer = Client::connect(&serve.socket).call(CREATE, &named(&name));
                    match answer.map(|answer| answer.body) {
                        Some(body) if body == DONE => made.push(name),
                        // Whether it is there is not known.
                        _ => break,
                    }
                }
                made
            });
            let volumes = share.path().join("volumes");
            eventually("some are made", || {
                (fs::read_dir(&volumes).unwrap().count() > 20).then_some(())
            });
            server.down();
            let why = eventually("the root is not served", || reason(&serve));
            assert!(why.contains("does not answer") || why.contains("error"), "{why}");
            assert!(known(&serve).as_str().unwrap().starts_with("unknown: "), "{options}");
            server.up();
            server.end_grace();
            eventually("the root is served again", || reason(&serve).is_none().then_some(()));
            // The load ends with the first refusal, or here.
            server.withdraw();
            let made = load.join().unwrap();
            server.export();
            made
        });
        serve.wait_available();
        let names = serve.names();
        assert!(made.iter().all(|name| names.contains(name)), "{options}: {made:?} {names:?}");
        // What is not known can be asked for again.
        let next = format!("v{:04}", made.len() - 1);
        serve.create(&next);
        assert_eq!(known(&serve), "ok");
        serve.stop();
    }
}

#[test]
fn a_root_that_is_stale_is_told_and_served_again_when_it_is_back() {
    let server = Server::start();
    let share = server.share(Disk::Ext4);
    let node = Node::new(1);
    let setup = node.driver(&share, HARD);
    let serve = node.serve(&setup);
    serve.create("db");
    server.withdraw();
    let why = eventually("the root is not served", || reason(&serve));
    assert!(why.contains("Stale file handle"), "{why}");
    assert!(known(&serve).as_str().unwrap().starts_with("unknown: "));
    assert_eq!(serve.call("VolumeDriver.Remove", &named("db")).status, 503);
    server.export();
    serve.wait_available();
    assert_eq!(known(&serve), "ok");

    // The server's own people delete what is below it.
    let volumes = share.path().join("volumes");
    fs::rename(&volumes, share.path().join("elsewhere")).unwrap();
    let lost = eventually("the root is not served", || reason(&serve));
    let root = setup.root();
    let cure = "restore it, or make it if it was empty";
    assert_eq!(lost, format!("root {} has lost its directory 'volumes': {cure}", root.display()));
    fs::rename(share.path().join("elsewhere"), &volumes).unwrap();
    serve.wait_available();
    serve.remove("db");
    serve.stop();
}

#[test]
fn a_root_of_one_node_is_refused_to_another_until_that_node_is_done() {
    let server = Server::start();
    let share = server.share(Disk::Ext4);
    let [one, other] = [1, 2].map(Node::new);
    let first: Setup = one.driver(&share, HARD);
    let serve = one.serve(&first);
    serve.create("db");
    let second = other.driver(&share, HARD);
    let waiting = other.run(|| second.start());
    let cure = "stop that one, or give another --root";
    let busy = format!("root {} is served by another dirvol: {cure}", second.root().display());
    eventually("the root is taken", || (reason(&waiting)? == busy).then_some(()));

    // A node that is cut off is done when its lease is over.
    one.cut();
    waiting.wait_available();
    assert_eq!(waiting.names(), ["db"]);
    one.mend();
    let busy = format!("root {} is served by another dirvol: {cure}", first.root().display());
    eventually("the node learns that", || (reason(&serve)? == busy).then_some(()));
    assert_eq!(serve.call(CREATE, &named("both")).status, 503);
    waiting.stop();
    serve.wait_available();
}
