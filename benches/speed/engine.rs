//! Through a real dockerd: dirvol and the built-in `local`, in turn. Both have their volumes
//! in memory, so that drivers are compared and not disks.

use std::path::Path;
use std::time::Instant;

use crate::daemon::Daemon;
use crate::harness::{Client, Setup};
use crate::process::median;

/// What was measured, in milliseconds.
pub struct Row {
    pub work: &'static str,
    pub local: f64,
    pub dirvol: f64,
}

/// Returns nothing where there is no dockerd.
pub fn measure(rounds: usize) -> Vec<Row> {
    let there =
        ["/usr/sbin/dockerd", "/usr/bin/dockerd"].iter().any(|path| Path::new(path).exists());
    if !there || !nix::unistd::geteuid().is_root() {
        println!("no dockerd, or not root: nothing is measured through an engine");
        return Vec::new();
    }
    eprintln!("through dockerd");
    // dockerd's own volumes lie in the memory of its namespace.
    let memory = tempfile::Builder::new().prefix("dirvol-bench-").tempdir_in("/dev/shm").unwrap();
    let plugins = memory.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let mut setup = Setup::new().log_level("info");
    setup.dir = memory;
    let from = setup.socket();
    let serve = setup.serve();
    std::os::unix::fs::symlink(&from, plugins.join("dirvol.sock")).unwrap();
    let daemon = Daemon::start(&plugins);
    for number in 0..10 {
        for driver in ["local", "dirvol"] {
            daemon.ok(&format!("volume create -d {driver} {driver}-{number}"));
        }
    }
    let volumes = |driver: &str, count: usize| {
        let flags = (0..count).map(|at| format!("-v {driver}-{at}:/data/{at} "));
        flags.collect::<String>()
    };
    let create_and_remove = |driver: &str| {
        let mut client = Client::connect(&daemon.socket());
        let body = format!("{{\"Name\":\"new-{driver}\",\"Driver\":\"{driver}\"}}");
        client.send(format!(
            "POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(client.answer().unwrap().status, 201);
        client.send(format!("DELETE /volumes/new-{driver} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(client.answer().unwrap().status, 204);
    };
    let run = |driver: &str, count: usize| {
        daemon.run(&format!("--rm {}", volumes(driver, count)), "true");
    };
    let rows = [
        row("a volume created and removed (API)", rounds * 5, create_and_remove),
        row("`docker run --rm -v` of one volume", rounds, |driver| run(driver, 1)),
        row("`docker run --rm` with ten volumes", rounds, |driver| run(driver, 10)),
    ];
    drop(daemon);
    serve.stop();
    rows.into()
}

fn row(work: &'static str, rounds: usize, run: impl Fn(&str)) -> Row {
    let timed = |driver: &str| {
        let start = Instant::now();
        run(driver);
        start.elapsed().as_secs_f64() * 1e3
    };
    let [mut local, mut dirvol] = [const { Vec::new() }; 2];
    // The first of each is not counted; after it, who is first changes.
    for round in 0..=rounds {
        let first = (round % 2 == 0).then(|| timed("dirvol"));
        let beside = timed("local");
        let own = first.unwrap_or_else(|| timed("dirvol"));
        if round > 0 {
            local.push(beside);
            dirvol.push(own);
        }
    }
    Row { work, local: median(local), dirvol: median(dirvol) }
}
