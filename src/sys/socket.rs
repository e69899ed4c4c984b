//! Listening sockets: one that a service manager opened for us, and who has one.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{getsockopt, sockopt};

/// The first descriptor that sd_listen_fds(3) hands over.
const FIRST: i32 = 3;

/// Takes the listening socket that was passed by the protocol of
/// sd_listen_fds(3), or `None` where none was meant for this process.
///
/// `LISTEN_PID` is compared as well as `LISTEN_FDS` read: the variables are
/// inherited by children, and a child must not take its parent's descriptor.
/// Call it once, before anything else opens a descriptor.
///
/// # Errors
/// More than one socket was passed, or the descriptor is not a listening socket.
pub fn inherited_listener() -> io::Result<Option<OwnedFd>> {
    let ours = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse::<u32>().ok());
    if ours != Some(std::process::id()) {
        return Ok(None);
    }
    let count = env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<u32>().ok());
    match count {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(more) => {
            return Err(io::Error::other(format!(
                "LISTEN_FDS={more}: dirvol serves one socket; pass exactly one"
            )));
        }
    }
    // SAFETY: LISTEN_PID names this process, so by sd_listen_fds(3) descriptor 3
    // is open and was given to us; this function is called once, so nobody else
    // owns it.
    let listener = unsafe { OwnedFd::from_raw_fd(FIRST) };
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    if !getsockopt(&listener, sockopt::AcceptConn)? {
        return Err(io::Error::other(format!(
            "descriptor {} from LISTEN_FDS is not a listening socket",
            listener.as_raw_fd()
        )));
    }
    Ok(Some(listener))
}

/// What proc_net_unix(5) shows of a socket that listens: `__SO_ACCEPTCON`.
const LISTENS: &str = "00010000";

/// Returns whether two processes have the same socket open that listens at `path`, as
/// a service manager has that which it handed over. It is `false` where `/proc` does not
/// show that.
pub fn share_listener(one: u32, other: u32, path: &Path) -> bool {
    let listeners = listeners(other, path);
    self::listeners(one, path).iter().any(|socket| listeners.contains(socket))
}

/// The sockets that a process has open and that listen at `path`, as proc_pid_fd(5)
/// names them.
fn listeners(pid: u32, path: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let listening = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let own = *fields.get(3)? == LISTENS && OsStr::new(fields.get(7)?) == path;
        own.then(|| PathBuf::from(format!("socket:[{}]", fields[6])))
    });
    let listening: Vec<PathBuf> = listening.collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|socket| listening.contains(socket)).collect()
}
