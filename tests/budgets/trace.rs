//! A driver that is run step by step: what it executes and asks of the kernel between
//! two moments at which all its threads wait. No clock is in what is counted.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::harness::{Client, DEADLINE, Serve};

/// With no stop for so long, and the answer there, every thread waits.
const QUIET: Duration = Duration::from_millis(100);

/// `syscall`, as its two bytes.
const SYSCALL: i64 = 0x050f;

/// What one request costs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Instructions of the program; one that repeats itself counts once.
    pub instructions: u64,
    /// System calls, by name.
    pub calls: BTreeMap<String, u64>,
}

impl Cost {
    /// The calls as `name:count`, by name.
    pub fn calls(&self) -> String {
        let calls = self.calls.iter().map(|(name, count)| format!("{name}:{count}"));
        calls.collect::<Vec<_>>().join(" ")
    }
}

/// A driver with all its threads traced by this one.
pub struct Traced<'a> {
    _serve: &'a Serve,
    last: BTreeMap<Pid, u64>,
}

impl<'a> Traced<'a> {
    pub fn new(serve: &'a Serve) -> Self {
        let tasks = fs::read_dir(format!("/proc/{}/task", serve.pid())).unwrap();
        for task in tasks {
            let name = task.unwrap().file_name();
            let thread = Pid::from_raw(name.to_str().unwrap().parse().unwrap());
            ptrace::seize(thread, Options::PTRACE_O_TRACECLONE).unwrap();
            ptrace::interrupt(thread).unwrap();
        }
        let mut traced = Self { _serve: serve, last: BTreeMap::new() };
        traced.run(|| true);
        traced
    }

    /// What a call costs until its answer, with status 200, and quiet after it.
    pub fn cost(&mut self, client: &mut Client, method: &str, body: &str) -> Cost {
        client.send(crate::harness::request(method, body));
        let mut answered = None;
        let cost = self.run(|| {
            // A read that waits would wait for a thread that waits to be stepped.
            if answered.is_none() && is_readable(client) {
                answered = client.answer();
            }
            answered.is_some()
        });
        let answer = answered.unwrap();
        assert_eq!(answer.status, 200, "{method} {body}: {}", answer.body);
        cost
    }

    /// Steps every thread until all wait and `done` holds then.
    fn run(&mut self, mut done: impl FnMut() -> bool) -> Cost {
        let mut cost = Cost::default();
        let mut stopped = Instant::now();
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
        loop {
            match waitpid(Pid::from_raw(-1), Some(flags)).unwrap() {
                WaitStatus::StillAlive if stopped.elapsed() > QUIET => {
                    if done() {
                        return cost;
                    }
                    assert!(stopped.elapsed() < DEADLINE, "no answer");
                }
                WaitStatus::StillAlive => std::thread::yield_now(),
                WaitStatus::Stopped(thread, _) | WaitStatus::PtraceEvent(thread, _, _) => {
                    self.step(thread, &mut cost);
                    stopped = Instant::now();
                }
                // A thread of the pool that had nothing to do for a while.
                WaitStatus::Exited(thread, _) => {
                    self.last.remove(&thread);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn step(&mut self, thread: Pid, cost: &mut Cost) {
        let registers = ptrace::getregs(thread).unwrap();
        if self.last.insert(thread, registers.rip) != Some(registers.rip) {
            cost.instructions += 1;
            let at = registers.rip as ptrace::AddressType;
            if ptrace::read(thread, at).unwrap() & 0xffff == SYSCALL {
                *cost.calls.entry(name(registers.rax)).or_default() += 1;
            }
        }
        ptrace::step(thread, None).unwrap();
    }
}

fn is_readable(client: &Client) -> bool {
    let mut polled = [PollFd::new(client.stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
}

/// The names of the calls that are in a budget; another is told by its number.
fn name(number: u64) -> String {
    let names = [
        (libc::SYS_close, "close"),
        (libc::SYS_epoll_wait, "epoll_wait"),
        (libc::SYS_fchmod, "fchmod"),
        (libc::SYS_fchown, "fchown"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_getdents64, "getdents64"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_lseek, "lseek"),
        (libc::SYS_mkdirat, "mkdirat"),
        (libc::SYS_newfstatat, "newfstatat"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_openat2, "openat2"),
        (libc::SYS_read, "read"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_renameat2, "renameat2"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_statx, "statx"),
        (libc::SYS_unlinkat, "unlinkat"),
        (libc::SYS_write, "write"),
        (libc::SYS_writev, "writev"),
    ];
    let found = names.iter().find(|(known, _)| u64::try_from(*known).unwrap() == number);
    found.map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned())
}
