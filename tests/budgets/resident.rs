//! Resident memory, idle and in use.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{Client, Serve, Setup};
use crate::{binary, document};

/// The cache of volumes is full with 1,792 of them; more than that shows its ceiling.
const VOLUMES: usize = 10_000;
const REQUESTS: usize = 100_000;

#[test]
fn what_is_resident_is_within_its_budget() {
    let setup = Setup::new().log_level("info");
    let serving = serve(&setup);
    let idle = resident(&serving);
    serving.stop();

    for number in 0..VOLUMES {
        let volume = setup.root().join(format!("volumes/volume-{number}"));
        fs::create_dir_all(volume.join("data")).unwrap();
        let record = format!(
            r#"{{"format":1,"name":"volume-{number}","created":"2026-01-01T00:00:00Z","options":{{}}}}"#
        );
        fs::write(volume.join("volume.json"), record + "\n").unwrap();
    }
    let serving = serve(&setup);
    let mut client = Client::connect(&serving.socket);
    for number in 0..REQUESTS {
        let body = format!("{{\"Name\":\"volume-{}\"}}\n", number % VOLUMES);
        assert_eq!(client.call("VolumeDriver.Get", &body).unwrap().status, 200);
    }
    let used = resident(&serving);
    serving.stop();
    let measured = [("idle", idle), ("after 100,000 Gets of 10,000 volumes", used)];
    document::check(&document::over("Memory, in kB", None, &measured));
}

/// The binary, serving, with a log as it has for real.
fn serve(setup: &Setup) -> Serve {
    fs::create_dir_all(setup.root()).unwrap();
    let mut command = Command::new(binary());
    command.args(setup.command().get_args()).stdin(Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    serve
}

fn resident(serve: &Serve) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
