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

/// What sd_listen_fds_with_names(3) calls a socket that was given no name.
const UNNAMED: &str = "unknown";

/// Takes the listening sockets that were passed by the protocol of
/// sd_listen_fds_with_names(3), each with its name; none where none was meant for
/// this process.
///
/// `LISTEN_PID` is compared as well as `LISTEN_FDS` read: the variables are
/// inherited by children, and a child must not take its parent's descriptors.
/// Call it once, before anything else opens a descriptor.
///
/// # Errors
/// There are not as many names as sockets, or a descriptor is not a listening
/// socket.
pub fn passed() -> io::Result<Vec<(String, OwnedFd)>> {
    let ours = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse::<u32>().ok());
    if ours != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<u16>().ok());
    let count = usize::from(count.unwrap_or_default());
    let names = names(env::var("LISTEN_FDNAMES").ok().as_deref(), count)?;
    (FIRST..).zip(names).map(|(fd, name)| Ok((name, take(fd)?))).collect()
}

/// Takes the descriptor `fd`, which is one of those that were passed.
fn take(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: LISTEN_PID names this process, so by sd_listen_fds(3) the descriptors
    // that LISTEN_FDS counts are open and were given to us; `passed` is called once
    // and takes each once, so nobody else owns it.
    let listener = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    if !getsockopt(&listener, sockopt::AcceptConn)? {
        return Err(io::Error::other(format!(
            "descriptor {} from LISTEN_FDS is not a listening socket",
            listener.as_raw_fd()
        )));
    }
    Ok(listener)
}

/// Reads `LISTEN_FDNAMES`: the names of `count` sockets.
fn names(stated: Option<&str>, count: usize) -> io::Result<Vec<String>> {
    let Some(stated) = stated.filter(|stated| !stated.is_empty()) else {
        return Ok(vec![UNNAMED.to_owned(); count]);
    };
    let names: Vec<String> = stated.split(':').map(str::to_owned).collect();
    if names.len() != count {
        return Err(io::Error::other(format!(
            "LISTEN_FDNAMES={stated} has {} names, and LISTEN_FDS is {count}",
            names.len()
        )));
    }
    Ok(names)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_has_its_name() {
        let names = |stated, count| names(stated, count).map_err(|error| error.to_string());
        let owned = |names: &[&str]| Ok(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(names(None, 0), owned(&[]));
        assert_eq!(names(None, 2), owned(&["unknown", "unknown"]));
        assert_eq!(names(Some(""), 1), owned(&["unknown"]));
        assert_eq!(names(Some("plugin"), 1), owned(&["plugin"]));
        assert_eq!(names(Some("metrics:plugin"), 2), owned(&["metrics", "plugin"]));
        let why = "LISTEN_FDNAMES=plugin has 1 names, and LISTEN_FDS is 2";
        assert_eq!(names(Some("plugin"), 2), Err(why.to_owned()));
    }
}
