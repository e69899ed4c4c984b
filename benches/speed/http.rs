//! The work that needs no disk, or reads it: dirvol and its peers in turn, in rounds.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Serve, Setup, request};
use crate::load::{self, Script, Shown};
use crate::loop_disk::LoopDisk;
use crate::peers::{self, Peer};
use crate::process::median;
use crate::tree;

/// How many connections at the same time.
pub const CONNECTIONS: [usize; 4] = [1, 4, 16, 64];

/// Some work: what is sent, to a root with how many volumes, and whether rclone has it too.
pub struct Work {
    pub name: &'static str,
    volumes: usize,
    rclone: bool,
    scripts: fn(usize) -> Vec<Script>,
    pub connections: &'static [usize],
    /// Whether it begins when nothing is fresh in memory.
    reads: bool,
    /// Whether all names are in the answer.
    names: bool,
}

/// Volumes that are asked for by name; every root of this work has them.
const NAMED: usize = 10;

/// For so long an answer of dirvol may be of what it has read before.
const FRESH: Duration = Duration::from_millis(1100);

const fn work(name: &'static str, volumes: usize, scripts: fn(usize) -> Vec<Script>) -> Work {
    let connections = &CONNECTIONS;
    Work { name, volumes, rclone: false, scripts, connections, reads: false, names: false }
}

pub const WORK: [Work; 7] = [
    Work { rclone: true, ..work("Get", 10, |count| named("Get", count)) },
    Work { connections: &[1], reads: true, ..work("Get over 10,000", 10_000, each) },
    Work { rclone: true, ..work("Path", 10, |count| named("Path", count)) },
    work("Mount and Unmount", 10, mounts),
    Work { rclone: true, names: true, ..work("List of 10", 10, lists) },
    Work { names: true, ..work("List of 1,000", 1_000, lists) },
    Work { names: true, ..work("List of 10,000", 10_000, lists) },
];

/// What one peer has shown at one work, as the medians of the rounds.
pub struct Cell {
    pub work: &'static str,
    pub connections: usize,
    pub peer: &'static str,
    pub shown: Shown,
}

fn body(number: usize) -> String {
    format!("{{\"Name\":\"volume-{}\"}}\n", number % NAMED)
}

fn named(verb: &str, count: usize) -> Vec<Script> {
    let ask = |number| request(&format!("VolumeDriver.{verb}"), &body(number)).into_bytes();
    (0..count).map(|at| (0..NAMED).map(|number| ask(at + number)).collect()).collect()
}

/// Each of many volumes in turn: more than are kept in memory, so the disk is read.
fn each(count: usize) -> Vec<Script> {
    let ask = |number| {
        let body = format!("{{\"Name\":\"volume-{number}\"}}\n");
        request("VolumeDriver.Get", &body).into_bytes()
    };
    vec![(0..10_000).map(ask).collect(); count]
}

fn lists(count: usize) -> Vec<Script> {
    vec![vec![request("VolumeDriver.List", "{}\n").into_bytes()]; count]
}

/// Each connection mounts with an ID of its own, as containers do.
pub fn mounts(count: usize) -> Vec<Script> {
    let pair = |at: usize| {
        let body = format!("{{\"Name\":\"volume-{}\",\"ID\":\"{at:064}\"}}\n", at % NAMED);
        ["Mount", "Unmount"]
            .map(|verb| request(&format!("VolumeDriver.{verb}"), &body).into_bytes())
            .to_vec()
    };
    (0..count).map(pair).collect()
}

/// A driver on a root that has `volumes` volumes already.
fn driver(disk: &LoopDisk, volumes: usize) -> (Setup, Serve) {
    let setup = disk.setup();
    setup.serve().stop();
    tree::fill(&setup, 0, volumes);
    let serve = setup.serve();
    (setup, serve)
}

/// All the work of all peers; and dirvol's memory at rest and after much of it.
pub fn measure(
    disk: &LoopDisk,
    dir: &Path,
    rounds: usize,
    time: Duration,
) -> (Vec<Cell>, Vec<(String, f64)>) {
    let rclone = peers::rclone(dir);
    if let Some(rclone) = &rclone {
        for number in 0..NAMED {
            let body = format!(
                "{{\"Name\":\"volume-{number}\",\"Opts\":{{\"type\":\"local\",\"path\":{:?}}}}}\n",
                dir.join("rclone")
            );
            load::once(&rclone.socket, request("VolumeDriver.Create", &body).as_bytes());
        }
    } else {
        println!("rclone is not to be had here: see scripts/setup");
    }
    let mut cells = Vec::new();
    let drivers = [NAMED, 1_000, 10_000].map(|volumes| (volumes, driver(disk, volumes).into()));
    let drivers: [(usize, Held); 3] = drivers;
    for work in &WORK {
        eprintln!("{}", work.name);
        let (_, held) = drivers.iter().find(|(volumes, _)| *volumes == work.volumes).unwrap();
        let answer = load::once(&held.serve.socket, &(work.scripts)(1)[0][0]);
        let name = work.name.replace([' ', ','], "-");
        let fixed = ["raw", "hyper"].map(|kind| peers::fixed(dir, kind, &name, &answer));
        let [raw, hyper] = &fixed;
        let listed = held.serve.root.join("volumes");
        let names = work.names.then(|| peers::reading(dir, "names", &name, &answer, Some(&listed)));
        let of = |peer: &Peer| (peer.socket.clone(), peer.process.pid());
        let mut peers = vec![
            ("raw socket", of(raw)),
            ("bare hyper", of(hyper)),
            ("dirvol", (held.serve.socket.clone(), held.serve.pid())),
        ];
        peers.extend(names.iter().map(|peer| ("raw, names read", of(peer))));
        peers.extend(rclone.iter().filter(|_| work.rclone).map(|peer| ("rclone", of(peer))));
        for &connections in work.connections {
            let scripts = (work.scripts)(connections);
            let mut shown = vec![Vec::new(); peers.len()];
            for _ in 0..rounds {
                for ((_, (socket, pid)), shown) in peers.iter().zip(&mut shown) {
                    if work.reads {
                        std::thread::sleep(FRESH);
                    }
                    shown.push(load::run(socket, *pid, &scripts, time));
                }
            }
            cells.extend(peers.iter().zip(shown).map(|((peer, _), shown)| Cell {
                work: work.name,
                connections,
                peer,
                shown: medians(&shown),
            }));
        }
    }
    (cells, memory(disk, &drivers, rclone.as_ref()))
}

/// A driver with the directory that it lives in.
struct Held {
    serve: Serve,
    _setup: Setup,
}

impl From<(Setup, Serve)> for Held {
    fn from((setup, serve): (Setup, Serve)) -> Self {
        Self { serve, _setup: setup }
    }
}

fn memory(disk: &LoopDisk, drivers: &[(usize, Held)], rclone: Option<&Peer>) -> Vec<(String, f64)> {
    use crate::process::memory;
    let mut lines = Vec::new();
    let setup = disk.setup();
    let idle = setup.serve();
    lines.push(("resident, idle".to_owned(), memory(idle.pid(), "VmRSS")));
    let (_setup, full) = driver(disk, 10_000);
    for _ in 0..100 {
        load::burst(&full.socket, &[named("Get", 100).concat()]);
    }
    lines.push((
        "resident, with 10,000 volumes after 100,000 requests".to_owned(),
        memory(full.pid(), "VmRSS"),
    ));
    for (volumes, held) in drivers {
        let line = format!("peak, with {volumes} volumes after all this work");
        lines.push((line, memory(held.serve.pid(), "VmHWM")));
    }
    lines.extend(
        rclone.map(|peer| ("peak of rclone".to_owned(), memory(peer.process.pid(), "VmHWM"))),
    );
    lines
}

fn medians(shown: &[Shown]) -> Shown {
    let of = |field: fn(&Shown) -> f64| median(shown.iter().map(field).collect());
    Shown {
        p50: of(|shown| shown.p50),
        p99: of(|shown| shown.p99),
        max: of(|shown| shown.max),
        per_second: of(|shown| shown.per_second),
        processor: of(|shown| shown.processor),
    }
}
