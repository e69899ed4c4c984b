//! strace on the real binary: which system calls an operation makes on the disk, and
//! how to have one of them fail, or be the last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{DEADLINE, eventually};

/// What reads or changes the disk.
const DISK: &str = "trace=%file,%desc";

/// What cannot fail in a way that says something of the disk, or has nothing to do
/// with it.
const PASSED_OVER: [&str; 7] = ["close", "execve", "mmap", "dup", "dup3", "fcntl", "epoll_ctl"];

/// A system call: its name, and which of that name it is in its thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nth {
    pub name: String,
    pub number: usize,
}

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// It fails with this error.
    Error(&'static str),
    /// The process is killed as it enters it.
    Kill,
}

/// What strace does to a process.
pub struct Tracing<'a> {
    /// Where it writes the calls.
    pub output: PathBuf,
    /// What happens, and at which call.
    pub inject: Option<(&'a Nth, Injected)>,
}

impl Tracing<'_> {
    fn strace(&self) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-q", "-y", "-o"]).arg(&self.output);
        match self.inject {
            None => strace.args(["-e", DISK]),
            Some((Nth { name, number }, injected)) => {
                let what = match injected {
                    Injected::Error(error) => format!("error={error}"),
                    Injected::Kill => "signal=KILL".to_owned(),
                };
                let inject = format!("inject={name}:{what}:when={number}");
                strace.args(["-e", &format!("trace={name}"), "-e", &inject])
            }
        };
        strace
    }

    /// Traces `threads` of the process `pid` from now on.
    pub fn attach(&self, pid: u32, threads: &[u32]) -> Attached {
        let mut strace = self.strace();
        for thread in threads {
            strace.arg("-p").arg(thread.to_string());
        }
        let strace = Attached(strace.spawn().unwrap());
        let is_traced = |thread: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap();
            !status.contains("TracerPid:\t0\n")
        };
        eventually("strace has attached", || threads.iter().all(is_traced).then_some(()));
        strace
    }

    /// The command that runs `command` and traces what it does to `paths`.
    pub fn of(&self, command: &Command, paths: &[PathBuf]) -> Command {
        let mut strace = self.strace();
        // strace stays in the background: the process is the command's.
        strace.args(["-f", "-D"]);
        for path in paths {
            strace.arg("-P").arg(path);
        }
        strace.arg(command.get_program()).args(command.get_args());
        strace
    }
}

/// A strace that traces a thread. Dropping it lets the thread go.
pub struct Attached(Child);

impl Drop for Attached {
    fn drop(&mut self) {
        // SIGTERM, for it lets the thread go by then; it may have ended already.
        let _ended = kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM);
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < DEADLINE / 3 {
            thread::sleep(Duration::from_millis(1));
        }
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// The calls that were made on something below `top`, in their order.
pub fn calls(output: &Path, top: &Path) -> Vec<Nth> {
    let trace = fs::read_to_string(output).unwrap_or_default();
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut calls, top) = (Vec::new(), top.to_str().unwrap());
    for line in trace.lines() {
        let Some((thread, name, rest)) = call(line) else { continue };
        let count = counts.entry((thread.to_owned(), name.to_owned())).or_default();
        *count += 1;
        let nth = Nth { name: name.to_owned(), number: *count };
        let is_disk =
            rest.contains(&format!("{top}/root")) || rest.contains(&format!("{top}/state"));
        if is_disk && !PASSED_OVER.contains(&name) && !calls.contains(&nth) {
            calls.push(nth);
        }
    }
    calls
}

/// Whether something was injected into a call.
pub fn was_injected(output: &Path) -> bool {
    fs::read_to_string(output).unwrap_or_default().contains("(INJECTED)")
}

/// Reads a line such as `12 openat2(5</top/root>, "a", ...) = 7</top/root/a>`, where
/// the thread's number is left out if there is one alone.
fn call(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, line) = match line.split_once(' ') {
        Some((thread, rest)) if thread.bytes().all(|byte| byte.is_ascii_digit()) => {
            (thread, rest.trim_start())
        }
        _ => ("", line),
    };
    let (name, rest) = line.split_once('(')?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && !name.is_empty()).then_some((thread, name, rest))
}
