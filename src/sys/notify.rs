//! What a service manager is told: sd_notify(3), and sd_watchdog_enabled(3).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A service manager that wants to be told.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notify {
    /// Returns the service manager that `NOTIFY_SOCKET` names, or `None` where
    /// nobody wants to be told.
    ///
    /// # Errors
    /// It is neither an absolute path nor `@` and an abstract name, or the kernel
    /// refuses.
    pub fn from_env() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever reads nothing must not hold up the reactor.
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, address: address(&name)? }))
    }

    /// Tells `state`, one assignment a line, as `READY=1`. It never waits.
    ///
    /// # Errors
    /// The kernel refuses; where it is for want of space, it may be tried again.
    pub fn tell(&self, state: &str) -> io::Result<()> {
        self.socket.send_to_addr(state.as_bytes(), &self.address).map(drop)
    }
}

/// Returns how often the service manager waits for `WATCHDOG=1`, or `None` where it
/// does not wait for this process.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let ours = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    let every = number("WATCHDOG_USEC").filter(|&every| ours && every > 0)?;
    Some(Duration::from_micros(every))
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::other("it is neither an absolute path nor @ and a name")),
    }
}
