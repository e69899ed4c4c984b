//! A driver that is run step by step: what it executes and asks of the kernel between
//! two moments at which all its threads wait. No clock is in what is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::harness::{Client, DEADLINE};

/// The names of the threads that no request waits for.
const OTHERS: [&str; 3] = ["log", "check", "collect"];

/// `syscall`, as its two bytes.
const SYSCALL: i64 = 0x050f;

/// What one request costs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Instructions of the program; one that repeats itself counts once.
    pub instructions: u64,
    /// System calls, by name, without those by which threads wait for each other and
    /// wake each other: how many those are is a matter of their pace.
    pub calls: BTreeMap<String, u64>,
}

impl Cost {
    /// The calls as `name count`, in their order.
    pub fn calls(&self) -> String {
        let calls = self.calls.iter().map(|(name, count)| format!("{name} {count}"));
        calls.collect::<Vec<_>>().join(", ")
    }
}

/// What a call costs until its answer, with status 200, and quiet after it.
pub fn cost(driver: Pid, client: &mut Client, method: &str, body: &str) -> Cost {
    let mut traced = Traced::new(driver);
    let cost = thread::scope(|scope| {
        let call = scope.spawn(|| client.call(method, body).unwrap());
        let cost = traced.run(|| call.is_finished());
        let answer = call.join().unwrap();
        assert_eq!(answer.status, 200, "{method} {body}: {}", answer.body);
        cost
    });
    traced.end();
    cost
}

/// A driver of which the threads that answer are traced by this one.
struct Traced {
    driver: Pid,
    /// Where each thread was last.
    threads: BTreeMap<Pid, u64>,
    /// Those that stand, before their next step.
    ready: BTreeSet<Pid>,
    /// Whether the instruction at an address is a system call.
    calls: HashMap<u64, bool>,
}

impl Traced {
    /// Traces the reactor's thread and those of its pool, and not those that write the
    /// log, watch the root and delete garbage in their own time.
    fn new(driver: Pid) -> Self {
        let (threads, ready, calls) = (BTreeMap::new(), BTreeSet::new(), HashMap::new());
        let mut traced = Self { driver, threads, ready, calls };
        for task in fs::read_dir(format!("/proc/{driver}/task")).unwrap() {
            let task = task.unwrap();
            let name = fs::read_to_string(task.path().join("comm")).unwrap();
            if OTHERS.contains(&name.trim()) {
                continue;
            }
            let thread = Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
            let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
            ptrace::seize(thread, options).unwrap();
            ptrace::interrupt(thread).unwrap();
            traced.threads.insert(thread, 0);
        }
        traced.run(|| true);
        traced
    }

    /// Lets them run as before.
    fn end(self) {
        for thread in self.threads.into_keys() {
            ptrace::interrupt(thread).unwrap();
            waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
            ptrace::detach(thread, None).unwrap();
        }
    }

    /// Steps the threads until all wait in the kernel and `done` holds then. One at a
    /// time, for as long as it does not wait: so each request takes the same course.
    fn run(&mut self, done: impl Fn() -> bool) -> Cost {
        let mut cost = Cost::default();
        let start = Instant::now();
        loop {
            self.look();
            let Some(thread) = self.ready.first().copied() else {
                if done() && self.threads.keys().all(|thread| self.waits(*thread)) {
                    return cost;
                }
                assert!(start.elapsed() < DEADLINE, "no answer");
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            while self.ready.contains(&thread) {
                self.step(thread, &mut cost);
            }
        }
    }

    /// Makes a step, of which a system call may not come back for long.
    fn step(&mut self, thread: Pid, cost: &mut Cost) {
        let registers = ptrace::getregs(thread).unwrap();
        let at = registers.rip;
        let is_call = *self.calls.entry(at).or_insert_with(|| {
            ptrace::read(thread, at as ptrace::AddressType).unwrap() & 0xffff == SYSCALL
        });
        if self.threads.insert(thread, at) != Some(at) {
            cost.instructions += 1;
            if is_call && !self.is_waiting(&registers) {
                *cost.calls.entry(name(registers.rax)).or_default() += 1;
            }
        }
        self.ready.remove(&thread);
        ptrace::step(thread, None).unwrap();
        // Where it was interrupted in a call, the call is gone on with.
        let may_wait = is_call || registers.orig_rax.cast_signed() >= 0;
        if !may_wait {
            self.see(waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap());
        }
        while may_wait && !self.ready.contains(&thread) && self.threads.contains_key(&thread) {
            let waits = self.waits(thread);
            self.look();
            if waits {
                break;
            }
            thread::yield_now();
        }
    }

    fn is_waiting(&self, registers: &libc::user_regs_struct) -> bool {
        let call = registers.rax.cast_signed();
        let file = || fs::read_link(format!("/proc/{}/fd/{}", self.driver, registers.rdi));
        [libc::SYS_futex, libc::SYS_epoll_wait].contains(&call)
            || call == libc::SYS_write
                && file().is_ok_and(|file| file.as_os_str() == "anon_inode:[eventfd]")
    }

    /// Takes note of every thread that has come to a stop.
    fn look(&mut self) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
        loop {
            match waitpid(Pid::from_raw(-1), Some(flags)).unwrap() {
                WaitStatus::StillAlive => return,
                seen => self.see(seen),
            }
        }
    }

    fn see(&mut self, seen: WaitStatus) {
        match seen {
            WaitStatus::Stopped(thread, _) | WaitStatus::PtraceEvent(thread, _, _) => {
                self.threads.entry(thread).or_default();
                self.ready.insert(thread);
            }
            // A thread of the pool that had nothing to do for a while.
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) => {
                assert_ne!(thread, self.driver, "the driver ended");
                self.threads.remove(&thread);
                self.ready.remove(&thread);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Whether a thread sleeps in the kernel. It cannot be woken meanwhile by another,
    /// of which each stands at a step or sleeps as well.
    fn waits(&self, thread: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/task/{thread}/stat", self.driver));
        stat.is_ok_and(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('S'))
    }
}

/// The names of the calls that are in a budget; another is told by its number.
fn name(number: u64) -> String {
    let names = [
        (libc::SYS_close, "close"),
        (libc::SYS_fchmod, "fchmod"),
        (libc::SYS_fchown, "fchown"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_fstatfs, "fstatfs"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_getdents64, "getdents64"),
        (libc::SYS_getrandom, "getrandom"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_lseek, "lseek"),
        (libc::SYS_mkdirat, "mkdirat"),
        (libc::SYS_newfstatat, "newfstatat"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_openat2, "openat2"),
        (libc::SYS_quotactl_fd, "quotactl_fd"),
        (libc::SYS_read, "read"),
        (libc::SYS_readlink, "readlink"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_renameat2, "renameat2"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_statx, "statx"),
        (libc::SYS_unlinkat, "unlinkat"),
        (libc::SYS_utimensat, "utimensat"),
        (libc::SYS_write, "write"),
        (libc::SYS_writev, "writev"),
    ];
    let found = names.iter().find(|(known, _)| u64::try_from(*known).unwrap() == number);
    found.map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned())
}
