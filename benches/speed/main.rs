//! How fast the driver is, beside peers that do the same work in the same run: a raw socket,
//! a bare hyper, rclone, Docker's `local`, and the bare system calls of what is durable.
//! Prints tables of ratios, and writes them with a plot to `benches/results/` and to
//! `docs/performance.md`. `QUICK=1` takes a minute and writes to `target/bench` alone.

#[path = "../../tests/engine/daemon.rs"]
#[allow(dead_code)]
mod daemon;
mod disk;
mod engine;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod http;
#[path = "../../tests/engine/image.rs"]
mod image;
mod load;
mod loop_disk;
#[path = "../../tests/engine/namespace.rs"]
#[allow(dead_code)]
mod namespace;
mod peers;
mod plot;
mod process;
mod table;
mod tree;

use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, kind, socket, file, listed @ ..] = &args[..]
        && flag == "--answer"
    {
        return peers::answer(kind, socket, file, listed.first().map(String::as_str));
    }
    let quick = std::env::var_os("QUICK").is_some_and(|value| !value.is_empty());
    // It comes first and goes last: what is on it is in use until then.
    let ext4 = loop_disk::LoopDisk::new();
    let dir = harness::temporary();
    let (rounds, time) = if quick { (1, 60) } else { (5, 250) };
    let (cells, memory) = http::measure(&ext4, dir.path(), rounds, Duration::from_millis(time));
    let few = if quick { 3 } else { 11 };
    let sizes = if quick { &tree::SIZES[..3] } else { &tree::SIZES[..] };
    let disk = disk::measure(&ext4, sizes, if quick { 20 } else { 100 }, few);
    let idle = disk::after_idle_exit(&ext4, few);
    let burst = disk::boot_burst(&ext4, dir.path(), few);
    let engine = engine::measure(if quick { 1 } else { 11 });
    let results = table::Results { cells, memory, disk, idle, burst, engine };
    table::write(&results, quick);
}
