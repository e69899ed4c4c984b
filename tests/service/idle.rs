//! The end of a driver of which nobody wants anything, and what it waits for.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::expect::{done, named, with_id, with_options};
use crate::handover::with_socket;
use crate::harness::{Client, Setup, eventually, request};

/// After what time the drivers here end.
const LIMIT: Duration = Duration::from_millis(200);

/// For how long it is watched that one does not end.
const STAYS: Duration = Duration::from_secs(3);

/// A driver on a socket that outlives it. Dropping it kills the process.
struct Idle {
    setup: Setup,
    listener: UnixListener,
    child: Child,
}

impl Idle {
    fn start() -> Self {
        let limit = humantime::format_duration(LIMIT).to_string();
        let setup = Setup::new().env("DIRVOL_IDLE_EXIT", limit);
        fs::create_dir(setup.root()).unwrap();
        let listener = UnixListener::bind(setup.socket()).unwrap();
        let child = spawn(&setup, &listener);
        Self { setup, listener, child }
    }

    fn client(&self) -> Client {
        Client::connect(&self.setup.socket())
    }

    fn ends(&mut self) {
        let child = &mut self.child;
        let status = eventually("it ends", || child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.log());
        let log = self.log();
        assert!(log.contains(" INFO nothing was asked for long"), "{log}");
        assert!(self.setup.socket().exists());
    }

    fn stays(&mut self) {
        let since = Instant::now();
        while since.elapsed() < STAYS {
            let ended: Option<ExitStatus> = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", self.log());
            thread::sleep(LIMIT / 10);
        }
        // Nor has it decided to, and answers what was asked before.
        assert!(!self.log().contains("nothing was asked for long"), "{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.setup.path("log")).unwrap()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It has ended already, if all is well.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn spawn(setup: &Setup, listener: &UnixListener) -> Child {
    let mut command: Command = with_socket(&setup.command(), listener);
    setup.log_to(&mut command);
    command.spawn().unwrap()
}

#[test]
fn a_driver_that_nobody_asks_ends_and_the_next_request_is_for_the_next() {
    let mut idle = Idle::start();
    idle.ends();
    let mut client = idle.client();
    client.send(request("VolumeDriver.Create", &named("a")));
    idle.child = spawn(&idle.setup, &idle.listener);
    assert_eq!(client.answer(), Some(done()));
    // Who is connected and says nothing holds up nothing, and hears of the end.
    idle.ends();
    assert_eq!(client.answer(), None);
}

#[test]
fn a_driver_with_something_in_its_trash_stays_until_it_is_empty() {
    let mut idle = Idle::start();
    let mut client = idle.client();
    assert_eq!(client.call("VolumeDriver.Create", &named("a")), Some(done()));
    assert_eq!(client.call("VolumeDriver.Remove", &named("a")), Some(done()));
    idle.stays();
    let purged = client.call("Dirvol.TrashPurge", r#"{"All":true}"#).unwrap();
    assert_eq!(purged.status, 200, "{}", purged.body);
    idle.ends();
}

#[test]
fn a_driver_stays_while_an_engine_may_be_about_to_mount() {
    let mut idle = Idle::start();
    let mut client = idle.client();
    assert_eq!(client.call("VolumeDriver.Create", &named("a")), Some(done()));
    assert_eq!(client.call("VolumeDriver.Mount", &with_id("a", "x")).unwrap().status, 200);
    idle.stays();
    assert_eq!(client.call("VolumeDriver.Unmount", &with_id("a", "x")), Some(done()));
    idle.ends();
}

#[test]
fn a_driver_stays_while_a_request_is_half_there_or_half_answered() {
    let mut idle = Idle::start();
    let mut client = idle.client();
    let whole = request("VolumeDriver.Create", &named("a"));
    assert_eq!(client.call("VolumeDriver.Create", &named("a")), Some(done()));
    // In the middle of a head, and in the middle of a body.
    for cut in [20, whole.len() - 1] {
        client.send(&whole[..cut]);
        for at in 0..1000 {
            let name = format!("{cut:0100}{at:0100}");
            fs::create_dir(idle.setup.root().join("volumes").join(name)).unwrap();
        }
        idle.stays();
        client.send(&whole[cut..]);
        assert_eq!(client.answer(), Some(done()));
    }
    // One answer that is more than the socket holds, and nobody reads it.
    client.send(request("VolumeDriver.List", "{}"));
    idle.stays();
    let listed = client.answer().unwrap();
    assert!(listed.status == 200 && listed.body.len() > 400_000, "{}", listed.body.len());
    idle.ends();
}

#[test]
fn a_driver_stays_while_it_deletes() {
    let mut idle = Idle::start();
    let mut client = idle.client();
    let gone = with_options("a", &serde_json::json!({"retain": "0"}));
    assert_eq!(client.call("VolumeDriver.Create", &gone), Some(done()));
    // As one that is being deleted; it is not in the way of what is.
    let half_deleted = idle.setup.path("root/staging/0123456789abcdef");
    fs::create_dir(&half_deleted).unwrap();
    assert_eq!(client.call("VolumeDriver.Remove", &named("a")), Some(done()));
    idle.stays();
    fs::remove_dir(&half_deleted).unwrap();
    idle.ends();
}

#[test]
fn a_driver_without_its_root_stays_and_heals() {
    let mut idle = Idle::start();
    let away = idle.setup.path("away");
    let mut client = idle.client();
    assert_eq!(client.call("VolumeDriver.Create", &named("a")), Some(done()));
    fs::rename(idle.setup.root(), &away).unwrap();
    idle.stays();
    fs::rename(&away, idle.setup.root()).unwrap();
    idle.ends();
}
