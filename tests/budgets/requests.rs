//! Instructions and system calls of each request.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use crate::harness::{Client, Setup};
use crate::trace::{Cost, cost};
use crate::{alone, document};

/// How often each is measured. The least counts: now and then a thread of the pool has
/// to be made anew, or what was read is no longer fresh.
const TURNS: usize = 3;

const VOLUMES: usize = 10;

const REQUESTS: [&str; 8] =
    ["Get", "Get, read lately", "Path", "Create", "Mount", "Unmount", "Remove", "List of 10"];

#[test]
fn each_request_is_within_its_budget() {
    on_one_processor();
    let costs = measure();
    let least = REQUESTS.map(|what| {
        let costs: &Vec<Cost> = &costs[what];
        (what, costs.iter().min_by_key(|cost| cost.instructions).unwrap())
    });
    let instructions = least.map(|(what, cost)| (what, cost.instructions));
    let calls = least.map(|(what, cost)| (what, cost.calls()));
    let mut wrong = document::over("Instructions", Some(8), &instructions);
    wrong.extend(document::others("System calls", &calls));
    document::check(&wrong);
}

fn measure() -> BTreeMap<&'static str, Vec<Cost>> {
    let setup = Setup::new();
    let serve = alone::serve(&setup);
    for number in 0..VOLUMES {
        serve.create(&format!("volume-{number}"));
    }
    let volume = |number| format!("{{\"Name\":\"volume-{number}\"}}\n");
    let changes = [
        ("Create", "{\"Name\":\"new\",\"Opts\":null}\n"),
        ("Mount", "{\"Name\":\"new\",\"ID\":\"x\"}\n"),
        ("Unmount", "{\"Name\":\"new\",\"ID\":\"x\"}\n"),
        ("Remove", "{\"Name\":\"new\"}\n"),
    ];
    // What is made once is made now.
    for (verb, body) in changes {
        serve.ok(&format!("VolumeDriver.{verb}"), body);
    }
    let mut client = Client::connect(&serve.socket);
    let driver = alone::pid(&client);
    let mut costs: BTreeMap<_, Vec<Cost>> = BTreeMap::new();
    let mut add = |what, verb: &str, body: &str| {
        let cost = cost(driver, &mut client, &format!("VolumeDriver.{verb}"), body);
        costs.entry(what).or_default().push(cost);
    };
    for turn in 0..TURNS {
        // Each of a volume that nobody has asked for.
        add("Get", "Get", &volume(turn));
        add("Path", "Path", &volume(TURNS + turn));
        serve.ok("VolumeDriver.Get", &volume(turn));
        add("Get, read lately", "Get", &volume(turn));
        for (verb, body) in changes {
            add(verb, verb, body);
        }
        add("List of 10", "List", "{}\n");
    }
    serve.kill();
    costs
}

/// Steps are many times as fast where nobody has to wake another processor, nor to wait
/// for other programs. Where that is refused, it takes longer.
fn on_one_processor() {
    let mut one = CpuSet::new();
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let first = (0..CpuSet::count()).find(|&number| allowed.is_set(number).unwrap());
    one.set(first.unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    let me = gettid().to_string();
    let mut first = Command::new("chrt");
    first.args(["--fifo", "--pid", "1", &me]).stderr(Stdio::null());
    let _slower_without = first.status().unwrap();
}
