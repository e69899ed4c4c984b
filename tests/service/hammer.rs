//! Requests at the very moment of an idle exit: one that a client could hand over is
//! answered, by this driver or by the next.

use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::expect::{done, failed, named, ok};
use crate::handover::start_when_asked;
use crate::harness::{Answer, Client, DEADLINE, Setup, request};

const CLIENTS: usize = 8;
/// How often a driver ends in the meantime.
const EXITS: usize = 100;

/// For how long that is waited for.
const PATIENCE: Duration = DEADLINE.saturating_mul(4);

/// After what time the driver ends.
const LIMIT: Duration = Duration::from_millis(20);

/// For how long from that time on the requests come.
const SPREAD_US: u64 = 8_000;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicUsize,
    /// Requests that were handed over whole, and not answered in full.
    lost: AtomicUsize,
    /// Requests that could not be handed over: the client knows, and asks anew.
    refused: AtomicUsize,
    /// Of these, those on a connection that was new.
    refused_at_once: AtomicUsize,
    /// Connections that were found to be closed before a request was written.
    closed: AtomicUsize,
}

/// A connection, or none, and whether it was used before.
struct Kept(Option<(Client, bool)>);

impl Kept {
    /// Asks until it is answered.
    fn ask(&mut self, socket: &Path, bytes: &str, expected: &Answer, seen: &Seen) {
        let add = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
        loop {
            let (mut client, used) =
                self.0.take().unwrap_or_else(|| (Client::connect(socket), false));
            // As an HTTP client that finds out between two requests.
            if used && client.is_closed() {
                add(&seen.closed);
                continue;
            }
            if let Err(error) = client.stream.write_all(bytes.as_bytes()) {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
                add(&seen.refused);
                if !used {
                    add(&seen.refused_at_once);
                }
                continue;
            }
            match client.answer() {
                Some(answer) => assert_eq!(answer, *expected),
                None => {
                    add(&seen.lost);
                    continue;
                }
            }
            add(&seen.answered);
            self.0 = Some((client, true));
            return;
        }
    }
}

/// Calls that answer the same at any time, and leave nothing that a driver waits for.
fn calls(setup: &Setup) -> Vec<(String, Answer)> {
    let data = setup.root().join("volumes/a/data");
    let mountpoint = ok(format!(r#"{{"Mountpoint":"{}","Err":""}}"#, data.display()));
    let scope = ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#);
    let none = failed(404, "no such volume: none");
    [
        ("Create", named("a"), done()),
        ("Capabilities", "{}\n".to_owned(), scope),
        ("Path", named("a"), mountpoint),
        ("Get", named("none"), none),
    ]
    .map(|(method, body, expected)| (request(&format!("VolumeDriver.{method}"), &body), expected))
    .into()
}

/// A number below `limit` that nobody foresees: a hash with keys of its own.
fn any_below(limit: u64) -> u64 {
    RandomState::new().hash_one(()) % limit
}

#[test]
fn no_request_is_lost_around_an_idle_exit() {
    let limit = humantime::format_duration(LIMIT).to_string();
    let setup = Setup::new().log_level("info").env("DIRVOL_IDLE_EXIT", limit);
    std::fs::create_dir(setup.root()).unwrap();
    let listener = UnixListener::bind(setup.socket()).unwrap();
    let (seen, calls, socket) = (Seen::default(), calls(&setup), setup.socket());
    let (over, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (began, round) = (Instant::now(), Barrier::new(CLIENTS));
    let ask = |first: usize| {
        let mut kept = Kept(None);
        // There is the volume that the calls ask for.
        kept.ask(&socket, &calls[0].0, &calls[0].1, &seen);
        for at in first.. {
            if round.wait().is_leader() {
                let enough = ended.load(Ordering::Relaxed) >= EXITS;
                over.store(enough || began.elapsed() > PATIENCE, Ordering::Relaxed);
            }
            round.wait();
            if over.load(Ordering::Relaxed) {
                break;
            }
            let late = Duration::from_micros(any_below(SPREAD_US));
            thread::sleep(LIMIT + late);
            let (bytes, expected) = &calls[at % calls.len()];
            kept.ask(&socket, bytes, expected, &seen);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| start_when_asked(&setup, &listener, &over, &ended));
        for first in 0..CLIENTS {
            let ask = &ask;
            scope.spawn(move || ask(first));
        }
    });
    let ended = ended.into_inner();
    println!("{ended} idle exits, {seen:?}");
    assert_eq!(seen.lost.into_inner(), 0);
    assert!(ended >= EXITS, "{ended} in {PATIENCE:?}");
}
