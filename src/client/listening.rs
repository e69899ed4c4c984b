//! Who listens on a socket, and whether that is a driver of ours. No call of the
//! protocol is made: of an Activate, a driver concludes that an engine begins a new
//! life, and ends what it waits for.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::{Error, PLUGINS, SOCKET, send};

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
    let below = match fs::read_dir(PLUGINS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        below => below?,
    };
    let mut sockets = Vec::new();
    for entry in below {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(OURS) && name.ends_with(".sock") {
            sockets.push(entry.path());
        }
        sockets.push(entry.path().join(SOCKET));
    }
    let is_socket =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    sockets.retain(is_socket);
    sockets.sort();
    Ok(sockets)
}

/// Finds out who listens at `socket`; it waits for `limit` at most.
pub fn listener(socket: &Path, limit: Duration) -> Listener {
    #[derive(Deserialize)]
    struct Health {
        status: String,
        reason: Option<String>,
    }
    let pid = match peer(socket, limit) {
        Ok(pid) => pid,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Listener::Absent,
                io::ErrorKind::ConnectionRefused => Listener::Stale,
                _ => Listener::Mute(error.to_string()),
            };
        }
    };
    let answer = match send(socket, &Method::GET, "/healthz", Vec::new(), limit) {
        Ok(answer) => answer,
        Err(Error::Unreachable(why) | Error::Failed(why)) => return Listener::Mute(why),
    };
    match serde_json::from_slice::<Health>(&answer.body) {
        Ok(health) if health.status == "ok" => Listener::Driver { pid, unavailable: None },
        Ok(Health { status, reason }) if status == "unavailable" => {
            Listener::Driver { pid, unavailable: reason }
        }
        _ => Listener::Foreign,
    }
}

/// Connects, and returns who made the socket that was connected to.
fn peer(socket: &Path, limit: Duration) -> io::Result<Option<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connect = async { tokio::time::timeout(limit, UnixStream::connect(socket)).await };
    let stream = runtime.block_on(connect).map_err(|_| {
        let seconds = limit.as_secs();
        io::Error::other(format!("it has accepted no connection for {seconds} s"))
    })??;
    // Whoever is in no process namespace that is seen from here has the pid 0.
    Ok(stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid != 0))
}
