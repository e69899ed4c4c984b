//! A log that cannot be written: that is nobody's matter but the log's.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;

use crate::expect::named;
use crate::harness::{Client, Setup};

/// Far more lines than a pipe holds.
const CALLS: usize = 3000;

/// Serves with all output to `log`, sees that it does not matter, and returns how
/// many lines were dropped.
fn assert_served(setup: &Setup, log: &Path) -> u64 {
    std::fs::create_dir(setup.root()).unwrap();
    let serve = setup.command();
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" >"$LOG" 2>&1"#]).env("LOG", log);
    command.arg(serve.get_program()).args(serve.get_args());
    let serve = setup.start_with(command);
    serve.wait_available();
    let mut client = Client::connect(&serve.socket);
    for _ in 0..CALLS {
        assert_eq!(client.call("VolumeDriver.Get", &named("new")).unwrap().status, 404);
    }
    serve.create("a");
    // The threads behind the requests are not ended by it either.
    let away = setup.path("away");
    std::fs::rename(setup.root(), &away).unwrap();
    serve.wait_unavailable();
    std::fs::rename(&away, setup.root()).unwrap();
    serve.wait_available();
    assert_eq!(serve.names(), ["a"]);
    let dropped = serve.metric("dirvol_log_lines_dropped_total", "");
    serve.stop();
    dropped
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    assert_served(&Setup::new(), Path::new("/dev/full"));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let setup = Setup::new();
    let pipe = setup.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let dropped = assert_served(&setup, &pipe);
    // A pipe holds 64 KiB, less than a thousand lines, and as many more wait.
    assert!((1..CALLS as u64).contains(&dropped), "{dropped}");
    drop(reader);
}
