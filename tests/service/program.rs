//! The program as a person runs it: to its end, for its exit code and its words.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, Stdio};

use crate::harness::eventually;

/// How a command ended, and all that it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, if all is well.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Runs a command that ends by itself.
pub fn run(command: &mut Command) -> Ended {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let status = eventually("the command ends", || running.0.try_wait().unwrap());
    let stdout = io::read_to_string(running.0.stdout.take().unwrap()).unwrap();
    let stderr = io::read_to_string(running.0.stderr.take().unwrap()).unwrap();
    Ended { code: status.code(), stdout, stderr }
}

/// Runs `dirvol` with `args`.
pub fn dirvol<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ended {
    run(Command::new(env!("CARGO_BIN_EXE_dirvol")).args(args).stdin(Stdio::null()))
}

/// Success that says `stdout`.
pub fn success(stdout: String) -> Ended {
    Ended { code: Some(0), stdout, stderr: String::new() }
}

/// Failure for the reason `why`: exit code 1.
pub fn failure(why: &str) -> Ended {
    Ended { code: Some(1), stdout: String::new(), stderr: format!("dirvol: {why}\n") }
}

/// A command that makes no sense: exit code 2.
pub fn usage(why: &str) -> Ended {
    Ended { code: Some(2), stdout: String::new(), stderr: format!("dirvol: {why}\n") }
}
