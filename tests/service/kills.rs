//! A driver that is killed at any moment: what it acknowledged stays, what it
//! did not is there wholly or not at all, and calling again settles it.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::expect::{done, entry, named, root_with, swept_listing, volume_at, with_options};
use crate::harness::{Client, Serve, Setup, request};

const ROUNDS: usize = 200;
const WORKERS: usize = 4;

/// Each worker has these volumes to itself.
const KINDS: [&str; 3] = ["kept", "kept-too", "not-kept"];

/// A call that may go unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Create,
    Remove,
}

/// What is known of a volume.
#[derive(Debug, Default)]
struct Known {
    /// Whether it is there, by the last answer.
    there: bool,
    /// How many of its name are in the trash.
    trash: usize,
    /// What was asked for since, without an answer.
    asked: Option<Change>,
}

/// What one worker knows of its volumes.
type Knowledge = BTreeMap<String, Known>;

impl Change {
    fn request(self, name: &str) -> String {
        match self {
            Self::Create => request("VolumeDriver.Create", &with_options(name, &options(name))),
            Self::Remove => request("VolumeDriver.Remove", &named(name)),
        }
    }
}

impl Known {
    /// Takes note that `change` is done.
    fn done(&mut self, name: &str, change: Change) {
        if change == Change::Remove && self.there && is_kept(name) {
            self.trash += 1;
        }
        self.there = change == Change::Create;
        self.asked = None;
    }
}

fn is_kept(name: &str) -> bool {
    !name.ends_with("not-kept")
}

fn options(name: &str) -> Value {
    if is_kept(name) { json!({}) } else { json!({"retain": "0s"}) }
}

/// A number from 0 to `below`, without it.
fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// Creates and removes volumes until the driver is gone, and returns how many
/// calls it answered.
fn work(mut client: Client, volumes: &mut Knowledge) -> usize {
    for answered in 0.. {
        let at = usize::try_from(random(volumes.len() as u64)).unwrap();
        let (name, known) = volumes.iter_mut().nth(at).unwrap();
        // Now and then what is done already is asked for once more.
        let create = known.there == (random(8) == 0);
        let change = if create { Change::Create } else { Change::Remove };
        known.asked = Some(change);
        if client.stream.write_all(change.request(name).as_bytes()).is_err() {
            return answered;
        }
        let Some(answer) = client.answer() else { return answered };
        assert_eq!(answer, done(), "{change:?} {name}");
        known.done(name, change);
    }
    unreachable!("there is no last number")
}

/// How many entries the trash has of each name.
fn trash(root: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(root.join("trash")).unwrap() {
        let entry = entry.unwrap().file_name().into_string().unwrap();
        *counts.entry(entry.split('~').next().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// Compares what is there with what is known, and settles what is not known by
/// calling again.
fn settle(serve: &Serve, workers: &mut [Knowledge]) {
    let names = serve.names();
    let trash = trash(&serve.root);
    let mut expected = Vec::new();
    for (name, known) in workers.iter_mut().flatten() {
        let there = names.contains(name);
        match known.asked {
            Some(change) if there == (change == Change::Create) => known.done(name, change),
            // It was not done, so nothing was.
            _ => assert_eq!(there, known.there, "{name} {known:?}"),
        }
        assert_eq!(trash.get(name).copied().unwrap_or(0), known.trash, "{name} {known:?}");
        if there {
            let got = serve.ok("VolumeDriver.Get", &named(name));
            assert!(got.contains(r#""health":"ok""#), "{got}");
            expected.push(name.clone());
        }
    }
    assert_eq!(names, expected);
    for (name, known) in workers.iter_mut().flatten() {
        if let Some(change) = known.asked {
            let mut client = Client::connect(&serve.socket);
            client.send(change.request(name));
            assert_eq!(client.answer(), Some(done()), "{change:?} {name} again");
            known.done(name, change);
        }
    }
}

#[test]
fn whenever_it_is_killed_no_acknowledged_change_is_lost_and_none_is_half_done() {
    let setup = Setup::new().log_level("warn");
    let mut workers: Vec<Knowledge> = (0..WORKERS)
        .map(|worker| KINDS.map(|kind| (format!("{worker}-{kind}"), Known::default())).into())
        .collect();
    let mut answered = 0;
    let mut serve = setup.serve();
    for _ in 0..ROUNDS {
        thread::scope(|scope| {
            let working: Vec<_> = workers
                .iter_mut()
                .map(|volumes| {
                    let client = Client::connect(&serve.socket);
                    scope.spawn(|| work(client, volumes))
                })
                .collect();
            // The moment: this is the one thing that chance decides.
            thread::sleep(Duration::from_micros(1000 + random(19_000)));
            serve.signal(Signal::SIGKILL);
            answered += working.into_iter().map(|work| work.join().unwrap()).sum::<usize>();
        });
        serve.kill();
        serve = setup.serve();
        settle(&serve, &mut workers);
    }
    assert!(answered > ROUNDS / 4, "{answered}");

    let mut expected = Vec::new();
    for (name, known) in workers.iter().flatten() {
        let stated = options(name);
        if known.there {
            expected.extend(volume_at(&format!("volumes/{name}"), name, "0755 0:0", &stated));
        }
        for _ in 0..known.trash {
            expected.extend(volume_at(&entry(name), name, "0755 0:0", &stated));
        }
    }
    assert_eq!(swept_listing(&setup.root()), root_with(expected));
    serve.stop();
}
