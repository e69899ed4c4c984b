//! Who listens on a socket, and whether that is a driver of ours. No call of the
//! protocol is made: of an Activate, a driver concludes that an engine begins a new
//! life, and ends what it waits for.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use serde::Deserialize;

use super::{Error, SOCKET, below_plugins, is_socket, send};
use crate::json;

/// What the file names of our sockets begin with, in the directory of all plugins.
const OURS: &str = "dirvol";

/// What was found behind a socket's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    /// There is no file.
    Absent,
    /// There is a file, and nobody listens.
    Stale,
    /// Somebody listens, and does not answer; or it could not be found out, and why.
    Mute(String),
    /// Somebody else listens.
    Foreign,
    /// A driver of ours.
    Driver {
        /// The process that made the socket, as far as it is visible.
        pid: Option<u32>,
        /// Why it does not serve its root.
        unavailable: Option<String>,
    },
}

/// Returns where sockets of ours may be beside the one that is known, in order: in
/// the directory where engines look for plugins, and in those of managed plugins.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn candidates() -> io::Result<Vec<PathBuf>> {
    let mut sockets = Vec::new();
    for path in below_plugins()? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(OURS) && name.ends_with(".sock") {
            sockets.push(path.clone());
        }
        sockets.push(path.join(SOCKET));
    }
    sockets.retain(|path| is_socket(path));
    Ok(sockets)
}

/// Finds out who listens at `socket`; it waits for `limit` at most.
pub fn listener(path: &Path, limit: Duration) -> Listener {
    #[derive(Deserialize)]
    struct Health {
        status: String,
        reason: Option<String>,
    }
    let pid = match peer(path) {
        Ok(pid) => pid,
        Err(Errno::ENOENT) => return Listener::Absent,
        Err(Errno::ECONNREFUSED) => return Listener::Stale,
        Err(Errno::EAGAIN) => return Listener::Mute("it accepts no connections".into()),
        Err(errno) => return Listener::Mute(io::Error::from(errno).to_string()),
    };
    let answer = match send(path, &Method::GET, "/healthz", Vec::new(), limit) {
        Ok(answer) => answer,
        Err(Error::Unreachable(why) | Error::Failed(why)) => return Listener::Mute(why),
    };
    match json::read::<Health>(&answer.body) {
        Ok(health) if health.status == "ok" => Listener::Driver { pid, unavailable: None },
        Ok(Health { status, reason }) if status == "unavailable" => {
            Listener::Driver { pid, unavailable: reason }
        }
        _ => Listener::Foreign,
    }
}

/// Connects without waiting, and returns who made the socket that was connected to. A
/// queue of connections that is full is told at once, unix(7).
fn peer(path: &Path) -> nix::Result<Option<u32>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    let pid = getsockopt(&stream, PeerCredentials)?.pid();
    // Whoever is in no process namespace that is seen from here has the pid 0.
    Ok(u32::try_from(pid).ok().filter(|&pid| pid != 0))
}
