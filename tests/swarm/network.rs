//! Hosts as far as a swarm sees them: each has a name and a network of its own, and all
//! are plugged into one switch. Nothing of it has a name on the machine: it is gone when
//! the last process in it and the last of these are.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::sethostname;

/// What a process on a host is in.
pub struct Host {
    pub name: String,
    pub address: String,
    network: File,
    names: File,
}

/// The switch, and the hosts that are plugged into it.
pub struct Network {
    switch: Host,
    pub hosts: Vec<Host>,
}

impl Host {
    fn new(name: &str, address: String) -> Self {
        let made = thread::scope(|scope| {
            let make = || {
                unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS).unwrap();
                sethostname(name).unwrap();
                ip("link set lo up");
                let open = |kind| File::open(format!("/proc/thread-self/ns/{kind}")).unwrap();
                (open("net"), open("uts"))
            };
            scope.spawn(make).join()
        });
        let (network, names) = made.unwrap_or_else(|panic| resume_unwind(panic));
        Self { name: name.to_owned(), address, network, names }
    }

    /// Runs `what` on this host. The processes that it starts stay there.
    pub fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let ran = thread::scope(|scope| {
            let run = || {
                setns(&self.network, CloneFlags::CLONE_NEWNET).unwrap();
                setns(&self.names, CloneFlags::CLONE_NEWUTS).unwrap();
                what()
            };
            scope.spawn(run).join()
        });
        ran.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Network {
    /// Makes a host of each name; the first has the address 10.99.0.1.
    pub fn new(names: &[&str]) -> Self {
        let switch = Host::new("switch", String::new());
        switch.within(|| {
            ip("link add name switch type bridge");
            ip("link set switch up");
        });
        let hosts = names.iter().zip(1..).map(|(name, number)| {
            let host = Host::new(name, format!("10.99.0.{number}"));
            let at = format!("/proc/{}/fd/{}", std::process::id(), host.network.as_raw_fd());
            switch.within(|| {
                ip(&format!("link add name {name} type veth peer name eth0 netns {at}"));
                ip(&format!("link set {name} master switch up"));
            });
            host.within(|| {
                ip(&format!("address add {}/24 dev eth0", host.address));
                ip("link set eth0 up");
            });
            host
        });
        let hosts = hosts.collect();
        Self { switch, hosts }
    }

    /// Pulls a host's plug.
    pub fn cut(&self, name: &str) {
        self.switch.within(|| ip(&format!("link set {name} down")));
    }

    /// Puts it in again.
    pub fn mend(&self, name: &str) {
        self.switch.within(|| ip(&format!("link set {name} up")));
    }
}

/// Runs `ip` where the thread is.
fn ip(line: &str) {
    let output = Command::new("ip").args(line.split_whitespace()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {complaint}");
}
