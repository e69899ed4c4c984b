//! The work that waits for the disk, and starts: with none to very many volumes there.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Client, DONE, Setup, eventually, request};
use crate::http::mounts;
use crate::load;
use crate::loop_disk::LoopDisk;
use crate::peers;
use crate::process::{Process, median};
use crate::tree::{self, Bare};

/// What was measured with so many volumes there, in microseconds.
pub struct Row {
    pub volumes: usize,
    pub create: f64,
    pub bare_create: f64,
    pub remove: f64,
    pub bare_remove: f64,
    pub start: f64,
}

/// Creates and removes, each beside the bare system calls, one by one in turn, and starts.
pub fn measure(disk: &LoopDisk, sizes: &[usize], count: usize, starts: usize) -> Vec<Row> {
    // Nothing is purged meanwhile.
    let setup = disk.setup().env("DIRVOL_TRASH_RETENTION", "1000d");
    setup.serve().stop();
    let mut rows = Vec::new();
    let mut there = 0;
    for &volumes in sizes {
        eprintln!("Create with {volumes} volumes");
        tree::fill(&setup, there, volumes);
        there = volumes;
        let start = median((0..starts).map(|_| start_to_first_answer(&setup)).collect());
        let serve = setup.serve();
        let mut client = Client::connect(&serve.socket);
        let mut call = |verb: &str, name: &str| {
            let body = format!("{{\"Name\":\"{name}\",\"Opts\":{{}}}}\n");
            let method = format!("VolumeDriver.{verb}");
            timed(|| assert_eq!(client.call(&method, &body).unwrap().body, DONE))
        };
        let bare = Bare::new(&setup);
        let [mut create, mut bare_create, mut remove, mut bare_remove] = [const { Vec::new() }; 4];
        let names =
            |at: usize| [format!("by-dirvol-{volumes}-{at}"), format!("bare-{volumes}-{at}")];
        for at in 0..=count {
            let [own, other] = names(at);
            // Who is first changes, as one may leave the other some work.
            if at % 2 == 0 {
                create.push(call("Create", &own));
            }
            bare_create.push(timed(|| bare.create(&other)));
            if at % 2 == 1 {
                create.push(call("Create", &own));
            }
        }
        for at in 0..=count {
            let [own, other] = names(at);
            if at % 2 == 0 {
                remove.push(call("Remove", &own));
            }
            bare_remove.push(timed(|| bare.remove(&other)));
            if at % 2 == 1 {
                remove.push(call("Remove", &own));
            }
        }
        serve.stop();
        rows.push(Row {
            volumes,
            create: median(create),
            bare_create: median(bare_create),
            remove: median(remove),
            bare_remove: median(bare_remove),
            start,
        });
    }
    rows
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    micros(start.elapsed())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Asks for a volume that is not there until the driver answers.
fn start_to_first_answer(setup: &Setup) -> f64 {
    let mut command = setup.command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let process = Process(command.spawn().unwrap());
    while UnixStream::connect(setup.socket()).is_err() {
        std::thread::sleep(Duration::from_micros(50));
    }
    load::once(&setup.socket(), request("VolumeDriver.Get", "{\"Name\":\"x\"}\n").as_bytes());
    let took = micros(start.elapsed());
    stop(process);
    took
}

/// Ends a driver as a service manager does.
fn stop(mut process: Process) {
    let pid = nix::unistd::Pid::from_raw(process.pid().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    eventually("the driver ends", || process.0.try_wait().unwrap());
}

/// The first answer of a driver that systemd's socket starts for it, as after an idle exit;
/// and the time from its start to its end, so to its idle exit, is awaited each time.
pub fn after_idle_exit(disk: &LoopDisk, count: usize) -> f64 {
    let setup = disk.setup().env("DIRVOL_IDLE_EXIT", "100ms");
    // The first start makes it a root; what is shown is the median.
    std::fs::create_dir(setup.root()).unwrap();
    let serve = setup.command();
    let took = (0..count).map(|_| {
        let _gone = std::fs::remove_file(setup.socket());
        let mut command = Command::new("systemd-socket-activate");
        command.arg("-l").arg(setup.socket());
        for (name, value) in serve.get_envs() {
            command.arg("-E").arg(format!(
                "{}={}",
                name.to_str().unwrap(),
                value.unwrap().to_str().unwrap()
            ));
        }
        command.arg(serve.get_program()).args(serve.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process(command.spawn().unwrap());
        eventually("the socket is there", || setup.socket().exists().then_some(()));
        // It is bound before it listens.
        std::thread::sleep(Duration::from_millis(50));
        let request = request("VolumeDriver.Get", "{\"Name\":\"x\"}\n");
        let took = timed(|| drop(load::once(&setup.socket(), request.as_bytes())));
        let status = eventually("it ends by itself", || process.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
        took
    });
    median(took.collect())
}

/// What an engine does at its start, at once on 64 connections: every volume is asked for
/// and mounted. In microseconds: dirvol, bare hyper, raw socket.
pub fn boot_burst(disk: &LoopDisk, dir: &Path, rounds: usize) -> [f64; 3] {
    let scripts: Vec<load::Script> = mounts(64)
        .into_iter()
        .zip(0..)
        .map(|(pair, at)| {
            let body = format!("{{\"Name\":\"volume-{}\"}}\n", at % 10);
            let get = request("VolumeDriver.Get", &body).into_bytes();
            let [mount, _] = <[Vec<u8>; 2]>::try_from(pair).unwrap();
            vec![get.clone(), get.clone(), get, mount]
        })
        .collect();
    let setup = disk.setup();
    setup.serve().stop();
    tree::fill(&setup, 0, 10);
    let serve = setup.serve();
    let answer = load::once(&serve.socket, &scripts[0][0]);
    serve.stop();
    let mut took = [const { Vec::new() }; 3];
    for round in 0..rounds {
        let serve = setup.serve();
        took[0].push(micros(load::burst(&serve.socket, &scripts)));
        serve.stop();
        for (kind, took) in ["hyper", "raw"].into_iter().zip(&mut took[1..]) {
            let peer = peers::fixed(dir, kind, &format!("burst-{round}"), &answer);
            took.push(micros(load::burst(&peer.socket, &scripts)));
        }
    }
    took.map(median)
}
