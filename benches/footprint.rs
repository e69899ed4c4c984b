//! What the driver costs: its binary, its memory, its start, and a long List.
//! Prints a table; times are compared within the run, as ratios.

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{Client, Serve, Setup, get};

const VOLUMES: usize = 10_000;
const REQUESTS: usize = 100_000;
const STARTS: usize = 21;

fn main() {
    // The driver logs as it does for real: changes and failures.
    let setup = Setup::new().log_level("info");
    let size = fs::metadata(env!("CARGO_BIN_EXE_dirvol")).unwrap().len();
    println!("binary as built here        {:8.2} MB", mega(size));

    let serve = setup.serve();
    println!("resident, idle              {:8.2} MB", mega(memory(&serve, "VmRSS")));
    serve.stop();
    let empty = start_to_first_answer(&setup);

    let serve = setup.serve();
    let mut client = Client::connect(&serve.socket);
    for number in 0..VOLUMES {
        let body = format!("{{\"Name\":\"volume-{number}\",\"Opts\":null}}\n");
        assert_eq!(client.call("VolumeDriver.Create", &body).unwrap().status, 200);
    }
    serve.stop();
    let full = start_to_first_answer(&setup);
    println!("start to first answer       {empty:8.2} ms with no volume (median of {STARTS})");
    println!("                            {full:8.2} ms with {VOLUMES} volumes");
    println!("                            {:8.2} ratio", full / empty);

    let serve = setup.serve();
    let mut client = Client::connect(&serve.socket);
    let mut lists = Vec::new();
    let mut length = 0;
    for _ in 0..STARTS {
        let start = Instant::now();
        let answer = client.call("VolumeDriver.List", "{}\n").unwrap();
        lists.push(millis(start.elapsed()));
        length = answer.body.len();
    }
    println!(
        "List of {VOLUMES} volumes        {:8.2} ms for {length} bytes (median)",
        median(lists)
    );
    println!("peak resident after them    {:8.2} MB", mega(memory(&serve, "VmHWM")));
    let before = processor_ticks(&serve);
    for number in 0..REQUESTS {
        let body = format!("{{\"Name\":\"volume-{}\"}}\n", number % VOLUMES);
        assert_eq!(client.call("VolumeDriver.Get", &body).unwrap().status, 200);
    }
    println!("processor time of them      {:8} ticks", processor_ticks(&serve) - before);
    println!("resident after {REQUESTS} Gets  {:8.2} MB", mega(memory(&serve, "VmRSS")));
    println!("peak resident               {:8.2} MB", mega(memory(&serve, "VmHWM")));
    let mut scrapes = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        length = get(&serve.socket, "/metrics").body.len();
        scrapes.push(millis(start.elapsed()));
    }
    println!("a scrape                    {:8.2} ms for {length} bytes (median)", median(scrapes));
    println!("resident after {STARTS} of them    {:8.2} MB", mega(memory(&serve, "VmRSS")));
    println!("peak resident               {:8.2} MB", mega(memory(&serve, "VmHWM")));
    serve.stop();
}

/// The median time from the start of the process to the answer of its first
/// Get, in milliseconds.
fn start_to_first_answer(setup: &Setup) -> f64 {
    let times = (0..STARTS).map(|_| {
        let mut command = setup.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        while UnixStream::connect(setup.socket()).is_err() {
            std::thread::sleep(Duration::from_micros(100));
        }
        let answer =
            Client::connect(&setup.socket()).call("VolumeDriver.Get", "{\"Name\":\"x\"}\n");
        let took = millis(start.elapsed());
        assert_eq!(answer.unwrap().status, 404);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        child.wait().unwrap();
        took
    });
    median(times.collect())
}

fn memory(serve: &Serve, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The processor time of the driver, its own and the kernel's for it.
fn processor_ticks(serve: &Serve) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", serve.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    [fields[11], fields[12]].map(|ticks| ticks.parse::<u64>().unwrap()).iter().sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[allow(clippy::cast_precision_loss)]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
