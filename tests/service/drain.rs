//! The end of a driver under load: a request that a client could hand over is
//! answered, by this driver or by the next.

use std::io::{ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::expect::{done, failed, named, ok, with_id};
use crate::handover::with_socket;
use crate::harness::{Answer, Client, DEADLINE, Serve, Setup, eventually, get, request};

const CLIENTS: usize = 16;
const RESTARTS: usize = 20;

/// How much is answered before the next restart.
const BETWEEN: usize = 1000;

/// What the clients have seen.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answered: AtomicUsize,
    /// Requests that were handed over whole, and never answered.
    lost: AtomicUsize,
    /// Connections that were found to be closed before a request was written.
    reconnected: AtomicUsize,
}

impl Load {
    fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Calls on one connection after the other, until it is over.
    fn run(&self, socket: &Path, calls: &[(String, Answer)]) {
        while !self.over.load(Ordering::Relaxed) {
            let Some(mut client) = connect(socket) else { continue };
            for (bytes, expected) in calls.iter().cycle() {
                if self.over.load(Ordering::Relaxed) {
                    break;
                }
                if let Err(error) = client.stream.write_all(bytes.as_bytes()) {
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
                    Self::add(&self.reconnected);
                    break;
                }
                match client.answer() {
                    Some(answer) => assert_eq!(answer, *expected),
                    None => {
                        Self::add(&self.lost);
                        break;
                    }
                }
                Self::add(&self.answered);
            }
        }
    }
}

/// Connects, or returns `None` where nobody listens just now.
fn connect(socket: &Path) -> Option<Client> {
    match UnixStream::connect(socket) {
        Ok(stream) => {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            Some(Client::from(stream))
        }
        Err(error) => {
            let known = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
            assert!(known.contains(&error.kind()), "{error}");
            thread::sleep(Duration::from_millis(1));
            None
        }
    }
}

/// Calls that answer the same at any time: of the reactor alone, of the cache,
/// and of the disk.
fn calls(setup: &Setup) -> Vec<(String, Answer)> {
    let data = setup.root().join("volumes/a/data");
    let mountpoint = ok(format!(r#"{{"Mountpoint":"{}","Err":""}}"#, data.display()));
    let scope = ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#);
    let none = failed(404, "no such volume: none");
    [
        ("Capabilities", "{}\n".to_owned(), scope),
        ("Path", named("a"), mountpoint.clone()),
        ("Get", named("none"), none),
        ("Create", named("a"), done()),
        ("Mount", with_id("a", "x"), mountpoint),
        ("Unmount", with_id("a", "x"), done()),
    ]
    .map(|(method, body, expected)| (request(&format!("VolumeDriver.{method}"), &body), expected))
    .into()
}

/// Restarts a driver under load, and loses nothing.
fn restart_under_load(setup: &Setup, start: impl Fn() -> Serve) {
    let mut serve = start();
    serve.wait_available();
    serve.create("a");
    let load = Load::default();
    let calls = calls(setup);
    let serve = thread::scope(|scope| {
        // However this ends, the clients end with it.
        let _over = Over(&load);
        for client in 0..CLIENTS {
            // Each begins with another call.
            let mut calls = calls.clone();
            let first = client % calls.len();
            calls.rotate_left(first);
            let (load, socket) = (&load, setup.socket());
            scope.spawn(move || load.run(&socket, &calls));
        }
        for _ in 0..RESTARTS {
            let before = load.answered();
            eventually("there is load", || (load.answered() > before + BETWEEN).then_some(()));
            serve.stop();
            serve = start();
        }
        serve
    });
    serve.stop();
    let (answered, lost) = (load.answered(), load.lost.load(Ordering::Relaxed));
    let reconnected = load.reconnected.load(Ordering::Relaxed);
    assert_eq!(lost, 0, "of {} requests", answered + lost);
    assert!(answered > BETWEEN * RESTARTS, "{answered}");
    // Every restart met them in the middle of their work.
    assert!(reconnected >= RESTARTS, "{reconnected}");
}

struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_request_is_lost_over_restarts_on_a_socket_that_is_handed_over() {
    let setup = Setup::new().log_level("info");
    std::fs::create_dir(setup.root()).unwrap();
    let listener = UnixListener::bind(setup.socket()).unwrap();
    restart_under_load(&setup, || setup.start_with(with_socket(&setup.command(), &listener)));
}

#[test]
fn no_request_is_lost_over_restarts_on_a_socket_of_the_drivers_own() {
    let setup = Setup::new().log_level("info");
    std::fs::create_dir(setup.root()).unwrap();
    restart_under_load(&setup, || setup.start());
}

/// Stops the process where it is, lets `meanwhile` happen, asks it to end, and
/// lets it go on.
fn terminate_after<T>(serve: &Serve, meanwhile: impl FnOnce() -> T) -> T {
    serve.freeze();
    let happened = meanwhile();
    serve.signal(Signal::SIGTERM);
    serve.signal(Signal::SIGCONT);
    happened
}

#[test]
fn what_was_sent_before_the_end_is_answered_in_full() {
    let setup = Setup::new();
    let mut serve = setup.serve();
    let mut early = Client::connect(&serve.socket);
    assert_eq!(early.call("VolumeDriver.Create", &named("a")), Some(done()));
    let calls = calls(&setup);
    let all: String = calls.iter().cycle().take(120).map(|(bytes, _)| bytes.as_str()).collect();
    // One who is connected, and one who still waits to be.
    let mut late = terminate_after(&serve, || {
        early.send(&all);
        let mut late = Client::connect(&serve.socket);
        late.send(&all);
        late
    });
    for client in [&mut early, &mut late] {
        for (_, expected) in calls.iter().cycle().take(120) {
            assert_eq!(client.answer().as_ref(), Some(expected));
        }
        assert_eq!(client.answer(), None);
    }
    assert!(serve.wait().success());
}

#[test]
fn who_waits_on_a_socket_that_is_handed_over_is_answered_by_the_next_driver() {
    let setup = Setup::new();
    std::fs::create_dir(setup.root()).unwrap();
    let listener = UnixListener::bind(setup.socket()).unwrap();
    let start = || setup.start_with(with_socket(&setup.command(), &listener));
    let mut serve = start();
    serve.wait_available();
    let mut late = terminate_after(&serve, || {
        let mut late = Client::connect(&serve.socket);
        late.send(request("VolumeDriver.Create", &named("a")));
        late
    });
    assert!(serve.wait().success());
    drop(serve);
    let serve = start();
    assert_eq!(late.answer(), Some(done()));
    assert_eq!(serve.names(), ["a"]);
    serve.stop();
}

#[test]
fn clients_that_do_nothing_hold_up_no_exit() {
    let setup = Setup::new();
    let mut serve = setup.serve();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&serve.socket)).collect();
    let whole = request("VolumeDriver.Create", &named("a"));
    // One is idle, one in a head, one in a body, and one reads no answers.
    clients[1].send(&whole[..20]);
    clients[2].send(&whole[..whole.len() - 1]);
    let answered = get(&serve.socket, "/metrics").body.len();
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4 * 1024 * 1024 / answered);
    clients[3].send(metrics);
    // So that each was heard before the end.
    assert_eq!(serve.names(), [""; 0]);
    serve.signal(Signal::SIGTERM);
    assert!(serve.wait().success());
    assert_eq!(clients[0].answer(), None);
    assert_eq!(clients[1].answer(), None);
    let cut_off = "the request's body cannot be read: error reading a body from connection";
    assert_eq!(clients[2].answer(), Some(failed(400, cut_off)));
    assert_eq!(clients[2].answer(), None);
    let serve = setup.serve();
    assert_eq!(serve.names(), [""; 0]);
    serve.stop();
}
