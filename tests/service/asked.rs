//! A person at the command line, who asks the driver of a test.

use std::process::{Command, Stdio};

use crate::expect::neutral;
use crate::harness::Serve;
use crate::program::{self, Ended, run};

/// Runs `dirvol --socket PATH` with a line that is split at its blanks. No engine
/// of the machine's is asked. What differs from run to run is in its neutral form.
pub fn ask(serve: &Serve, line: &str) -> Ended {
    ask_with(serve, &line.split_whitespace().collect::<Vec<_>>())
}

/// As [`ask`], with arguments as they are.
pub fn ask_with(serve: &Serve, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).args(args);
    command.env_remove("DOCKER_HOST").stdin(Stdio::null());
    let ended = run(&mut command);
    Ended { stdout: neutral(&ended.stdout), stderr: neutral(&ended.stderr), ..ended }
}

/// As [`ask`], and it must succeed; returns what it printed.
pub fn said(serve: &Serve, line: &str) -> String {
    let ended = ask(serve, line);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}: {}", ended.stdout);
    ended.stdout
}

/// As [`ask`], and it must fail for the reason `why`, with nothing printed.
pub fn refused(serve: &Serve, line: &str, why: &str) {
    assert_eq!(ask(serve, line), program::failure(why), "{line}");
}
