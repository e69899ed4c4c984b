//! What it costs that nodes share a root: Create and Mount on one, two and three nodes of
//! one root, beside a root that one host has to itself, as ratios of one run. The nodes
//! share a kernel and a directory here; what a file server adds is its own.

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Client, Serve, Setup};

const ROUNDS: usize = 7;
const CALLS: usize = 100;
const MOST: usize = 3;

/// The medians of one round: of a Create, of a Mount of a volume of the node's own, and of a
/// Mount of one that all nodes mount.
type Costs = [Duration; 3];

fn main() {
    let mut alone = Vec::new();
    let mut shared: [Vec<Costs>; MOST] = Default::default();
    for _ in 0..ROUNDS {
        alone.push(measure(&drivers(None)));
        for nodes in 1..=MOST {
            shared[nodes - 1].push(measure(&drivers(Some(nodes))));
        }
    }
    let beside = median_of(&alone);
    println!("| root | Create | Mount | Mount of one volume |");
    println!("|---|---|---|---|");
    println!("| of one host | {} |", shown(&beside, &beside));
    for (number, costs) in shared.iter().enumerate() {
        println!("| of {} | {} |", plural(number + 1), shown(&median_of(costs), &beside));
    }
}

fn plural(nodes: usize) -> String {
    if nodes == 1 { "1 node".into() } else { format!("{nodes} nodes") }
}

fn shown(costs: &Costs, beside: &Costs) -> String {
    let cells = costs.iter().zip(beside).map(|(cost, beside)| {
        format!("{:.2} ({} us)", cost.as_secs_f64() / beside.as_secs_f64(), cost.as_micros())
    });
    cells.collect::<Vec<_>>().join(" | ")
}

/// The drivers of one root: of so many nodes, or one of scope local.
fn drivers(nodes: Option<usize>) -> Vec<(Serve, Setup)> {
    let Some(nodes) = nodes else {
        let setup = Setup::new().log_level("info");
        return vec![(setup.serve(), setup)];
    };
    let mut drivers: Vec<(Serve, Setup)> = Vec::new();
    for number in 0..nodes {
        let setup = Setup::new()
            .log_level("info")
            .arg("--scope=global")
            .arg(format!("--node=node-{number}"));
        if let Some((_, first)) = drivers.first() {
            symlink(first.root(), setup.root()).unwrap();
        }
        drivers.push((setup.serve(), setup));
    }
    drivers
}

/// The median of each kind of call, over all nodes, which call at once.
fn measure(drivers: &[(Serve, Setup)]) -> Costs {
    drivers[0].0.create("of-all");
    let mut kinds: [Vec<Duration>; 3] = Default::default();
    for (kind, times) in kinds.iter_mut().enumerate() {
        *times = thread::scope(|scope| {
            let nodes: Vec<_> = drivers
                .iter()
                .enumerate()
                .map(|(number, (serve, _))| scope.spawn(move || calls(serve, number, kind)))
                .collect();
            nodes.into_iter().flat_map(|node| node.join().unwrap()).collect()
        });
    }
    kinds.map(median)
}

fn calls(serve: &Serve, node: usize, kind: usize) -> Vec<Duration> {
    let mut client = Client::connect(&serve.socket);
    let times = (0..CALLS).map(|number| {
        let (method, name) = match kind {
            0 => ("VolumeDriver.Create", format!("volume-{node}-{number}")),
            1 => ("VolumeDriver.Mount", format!("volume-{node}-{number}")),
            _ => ("VolumeDriver.Mount", "of-all".to_owned()),
        };
        let body = format!("{{\"Name\":\"{name}\",\"ID\":\"{number}\"}}\n");
        let start = Instant::now();
        let answer = client.call(method, &body).unwrap();
        let took = start.elapsed();
        assert_eq!(answer.status, 200, "{}", answer.body);
        took
    });
    times.collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn median_of(rounds: &[Costs]) -> Costs {
    [0, 1, 2].map(|kind| median(rounds.iter().map(|costs| costs[kind]).collect()))
}
