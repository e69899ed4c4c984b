//! That a swarm leaves nothing behind on the machine that it ran on.

use std::fs;
use std::process::Command;

use crate::nodes::{NAMES, Swarm};

/// The processes on the machine whose command line contains one of `words`.
fn processes(words: &[String]) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let lines = entries.filter_map(|process| fs::read_to_string(process.join("cmdline")).ok());
    let lines = lines.map(|line| line.replace('\0', " "));
    lines.filter(|line| words.iter().any(|word| line.contains(word))).collect()
}

/// What the machine's own network is made of.
fn devices() -> String {
    let devices = Command::new("ip").args(["-brief", "link"]).output().unwrap();
    String::from_utf8(devices.stdout).unwrap()
}

#[test]
fn a_swarm_leaves_nothing_behind() {
    let swarm = Swarm::new();
    swarm
        .manager()
        .ok("service create --detach --no-resolve-image --network host --name user --replicas 3 \
         --mount type=volume,source=held,target=/x,volume-driver=dirvol busybox:latest top");
    swarm.settled("user", |_| true);
    let dirs: Vec<String> =
        swarm.nodes.iter().map(|node| node.daemon.dir().display().to_string()).collect();
    assert!(processes(&dirs).len() > NAMES.len());
    for name in NAMES {
        assert!(!devices().contains(name), "the machine's own network is none of a swarm's");
    }

    drop(swarm);

    assert_eq!(processes(&dirs), Vec::<String>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own: Vec<&str> =
        mounts.lines().filter(|line| dirs.iter().any(|dir| line.contains(dir))).collect();
    assert_eq!(own, Vec::<&str>::new());
    for dir in &dirs {
        assert!(!fs::exists(dir).unwrap());
    }
}
