//! Resident memory, idle and in use.

use std::fs;

use crate::harness::{Client, Serve, Setup};
use crate::serve;

/// The cache of volumes is full with 1,792 of them; more than that shows its ceiling.
const VOLUMES: usize = 10_000;
const REQUESTS: usize = 100_000;

/// Of kB, with no volume.
pub const IDLE: u64 = 4_000;
/// Of kB, with that many volumes after that many requests.
pub const USED: u64 = 8_000;

#[test]
fn what_is_resident_is_within_its_budget() {
    let setup = Setup::new().log_level("info");
    let serve = serve(&setup);
    within("idle", memory(&serve, "VmRSS"), IDLE);
    for number in 0..VOLUMES {
        serve.create(&format!("volume-{number}"));
    }
    let mut client = Client::connect(&serve.socket);
    for number in 0..REQUESTS {
        let body = format!("{{\"Name\":\"volume-{}\"}}\n", number % VOLUMES);
        assert_eq!(client.call("VolumeDriver.Get", &body).unwrap().status, 200);
    }
    within("after requests", memory(&serve, "VmRSS"), USED);
    assert_eq!(client.call("VolumeDriver.List", "{}\n").unwrap().status, 200);
    println!("peak after a List: {} kB", memory(&serve, "VmHWM"));
    serve.stop();
}

fn within(what: &str, now: u64, ceiling: u64) {
    println!("{what}: {now} of {ceiling} kB");
    assert!(now <= ceiling, "{what}: {now} kB, and {ceiling} are allowed");
}

fn memory(serve: &Serve, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
