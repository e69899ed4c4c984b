//! What happens to a copy while it is being made. It stands still where the kernel holds
//! up the opening of one file of the original, on which a process has a lease.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::expect::{done, failed, named, root_with, swept_listing, volume, with_id, with_options};
use crate::harness::{Client, Serve, Setup, eventually, request};

const CREATE: &str = "VolumeDriver.Create";

/// A process that has a lease on a file: whoever opens that waits until this is dropped,
/// for 45 s at most.
struct Lease(Child);

/// `F_SETLEASE` is 1024.
const TAKE: &str = r#"
use Fcntl;
$SIG{IO} = "IGNORE";
open(my $file, "+<", $ARGV[0]) or die $!;
fcntl($file, 1024, F_WRLCK) or die $!;
$| = 1;
print "taken\n";
sleep 60;
"#;

impl Lease {
    fn on(file: &Path) -> Self {
        let mut perl = Command::new("perl");
        perl.args(["-e", TAKE]).arg(file).stdout(Stdio::piped());
        let mut child = perl.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "taken\n");
        Self(child)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A driver with a volume `a` of which a copy stands still at its one file.
struct Midway {
    serve: Serve,
    setup: Setup,
    lease: Lease,
}

impl Midway {
    fn new() -> Self {
        let setup = Setup::new();
        let serve = setup.serve();
        serve.create("a");
        let file = setup.root().join("volumes/a/data/file");
        fs::write(&file, "text").unwrap();
        let lease = Lease::on(&file);
        Self { serve, setup, lease }
    }

    /// Asks for a copy of `a`, and returns when it is being made, with the connection that
    /// the answer will come by.
    fn begin(&self, name: &str) -> Client {
        let mut client = Client::connect(&self.serve.socket);
        client.send(request(CREATE, &with_options(name, &json!({"from": "a"}))));
        eventually("the copy is being made", || {
            (self.progress(name)["Copying"] == true).then_some(())
        });
        let staging = self.setup.root().join("staging");
        eventually("it stands still at the file", || {
            let staged = fs::read_dir(&staging).unwrap().next()?.unwrap().path();
            staged.join("data").exists().then_some(())
        });
        client
    }

    fn progress(&self, name: &str) -> Value {
        serde_json::from_str(&self.serve.ok("Dirvol.Progress", &named(name))).unwrap()
    }
}

#[test]
fn a_copy_is_there_when_it_is_whole_and_not_before() {
    let midway = Midway::new();
    let mut client = midway.begin("b");
    let none = json!({"Copying": false, "Files": 0, "Bytes": 0, "Err": ""});
    let some = json!({"Copying": true, "Files": 0, "Bytes": 0, "Err": ""});
    assert_eq!((midway.progress("b"), midway.progress("a")), (some, none.clone()));
    assert_eq!(midway.serve.names(), ["a"]);
    let absent = failed(404, "no such volume: b");
    assert_eq!(midway.serve.call("VolumeDriver.Get", &named("b")), absent);
    let Midway { serve, setup, lease } = midway;
    drop(lease);
    assert_eq!(client.answer(), Some(done()));
    assert_eq!(serve.names(), ["a", "b"]);
    let file = setup.root().join("volumes/b/data/file");
    assert_eq!(fs::read_to_string(file).unwrap(), "text");
    let after: Value = serde_json::from_str(&serve.ok("Dirvol.Progress", &named("b"))).unwrap();
    assert_eq!(after, none);
    serve.stop();
}

#[test]
fn a_call_whose_client_has_gone_goes_on_and_its_retry_waits_for_the_end() {
    let midway = Midway::new();
    drop(midway.begin("b"));
    let mut again = Client::connect(&midway.serve.socket);
    again.send(request(CREATE, &with_options("b", &json!({"from": "a"}))));
    // There is one copy, and it is that of the first.
    assert_eq!(fs::read_dir(midway.setup.root().join("staging")).unwrap().count(), 1);
    let Midway { serve, setup, lease } = midway;
    drop(lease);
    assert_eq!(again.answer(), Some(done()));
    let log = serve.log();
    assert!(log.contains("it was there already"), "{log}");
    assert_eq!(serve.names(), ["a", "b"]);
    assert_eq!(fs::read_dir(setup.root().join("staging")).unwrap().count(), 0);
    serve.stop();
}

#[test]
fn two_copies_never_wait_for_each_other() {
    let midway = Midway::new();
    let mut first = midway.begin("b");
    // The other way round: `a` is there, and not made from `b`.
    let refused = midway.serve.call(CREATE, &with_options("a", &json!({"from": "b"})));
    let why = "volume a exists with other options: its from is unset, not b; ask for the same, or \
               give another name";
    assert_eq!(refused, failed(409, why));
    let none = failed(404, "volume c: there is no volume b to copy");
    assert_eq!(midway.serve.call(CREATE, &with_options("c", &json!({"from": "b"}))), none);
    // The original is not locked: it is set, and copied once more.
    midway.serve.ok("Dirvol.Set", &with_options("a", &json!({"retain": "1d"})));
    let mut second = midway.begin("c");
    drop(midway.lease);
    assert_eq!((first.answer(), second.answer()), (Some(done()), Some(done())));
    assert_eq!(midway.serve.names(), ["a", "b", "c"]);
    midway.serve.stop();
}

#[test]
fn a_copy_of_what_was_mounted_meanwhile_is_given_up() {
    let midway = Midway::new();
    let mut client = midway.begin("b");
    midway.serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    midway.serve.ok("VolumeDriver.Unmount", &with_id("a", "x"));
    let Midway { serve, setup, lease } = midway;
    drop(lease);
    let why = "volume b: volume a is in use by an engine that mounted it while it was copied; stop \
               its containers first, or give live=true ('dirvol clone --live') if a copy of files \
               that are being written is of use";
    assert_eq!(client.answer(), Some(failed(409, why)));
    assert_eq!(serve.names(), ["a"]);
    swept_listing(&setup.root());
    serve.stop();
}

#[test]
fn a_copy_of_what_was_removed_meanwhile_is_given_up() {
    let midway = Midway::new();
    let mut client = midway.begin("b");
    midway.serve.remove("a");
    let Midway { serve, setup, lease } = midway;
    drop(lease);
    let why = "volume b: there is no volume a to copy";
    assert_eq!(client.answer(), Some(failed(404, why)));
    assert_eq!(serve.names(), [""; 0]);
    swept_listing(&setup.root());
    serve.stop();
}

#[test]
fn a_driver_that_ends_in_the_middle_of_a_copy_leaves_nothing_of_it() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let midway = Midway::new();
        let mut client = midway.begin("b");
        let Midway { mut serve, setup, lease } = midway;
        serve.signal(signal);
        // It does not wait for the end of the copy: the lease is still held.
        serve.wait();
        assert_eq!(client.answer(), None, "{signal}");
        drop(lease);
        assert_eq!(fs::read_dir(setup.root().join("staging")).unwrap().count(), 1);
        drop(serve);
        let serve = setup.serve();
        let mode = "0644";
        let file = format!("volumes/a/data/file {mode} 0:0 \"text\"");
        let expected = root_with(volume("a").into_iter().chain([file]));
        assert_eq!(swept_listing(&setup.root()), expected, "{signal}");
        assert_eq!(serve.call(CREATE, &with_options("b", &json!({"from": "a"}))), done());
        serve.stop();
    }
}

#[test]
fn copies_and_those_who_wait_for_one_leave_slots_to_others() {
    let midway = Midway::new();
    let mut waiting: Vec<Client> = (0..8).map(|n| midway.begin(&format!("b{n}"))).collect();
    let ninth = midway.serve.call(CREATE, &with_options("c", &json!({"from": "a"})));
    let why = "volume c: 8 others are being copied; try again when one of them is done";
    assert_eq!(ninth, failed(503, why));
    // More than there are slots.
    waiting.extend((0..40).map(|_| {
        let mut again = Client::connect(&midway.serve.socket);
        again.send(request(CREATE, &with_options("b0", &json!({"from": "a"}))));
        again
    }));
    midway.serve.create("other");
    let Midway { serve, setup: _setup, lease } = midway;
    drop(lease);
    for client in &mut waiting {
        assert_eq!(client.answer(), Some(done()));
    }
    serve.stop();
}
