//! A socket that is handed to the driver, as a service manager does it: as
//! descriptor 3, by the protocol of sd_listen_fds(3).

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::harness::Setup;

/// Returns `command` with `listener` handed over.
pub fn with_socket(command: &Command, listener: &UnixListener) -> Command {
    handed_over(command, listener.try_clone().unwrap().into(), "1", "$$")
}

/// Returns `command` with `descriptor` as number 3, and what the environment is
/// to say of it: `count` descriptors for the process `pid`.
pub fn handed_over(command: &Command, descriptor: OwnedFd, count: &str, pid: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!(
        r#"exec 3<&0 0</dev/null; export LISTEN_FDS={count} LISTEN_PID={pid}; exec "$0" "$@""#
    );
    shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.expect("no variable is taken away"));
    }
    // As standard input, which no other child of this process inherits.
    shell.stdin(descriptor);
    shell
}

/// Starts the driver whenever somebody connects and none runs, as a service manager
/// does, until it is over and the last driver has ended by itself. Counts how often
/// one did in `ended`. The log of all is in one file.
pub fn start_when_asked(
    setup: &Setup,
    listener: &UnixListener,
    over: &AtomicBool,
    ended: &AtomicUsize,
) {
    loop {
        let mut readable = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut readable, PollTimeout::from(20_u16)).unwrap() == 0 {
            if over.load(Ordering::Relaxed) {
                return;
            }
            continue;
        }
        let mut command = with_socket(&setup.command(), listener);
        setup.log_to(&mut command);
        let status = command.status().unwrap();
        assert!(status.success(), "{status}");
        ended.fetch_add(1, Ordering::Relaxed);
    }
}
