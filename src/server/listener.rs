//! The sockets that the driver listens on, and the files that name them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::connection::Stream;

/// A socket file of our own. Dropping it removes the file, if it still is ours.
#[derive(Debug)]
pub struct UnixSocket {
    path: PathBuf,
    identity: (u64, u64),
}

/// A `.spec` file, which tells engines of an address. Dropping it removes it.
#[derive(Debug)]
pub struct Spec(PathBuf);

/// Everything that is listened on.
#[derive(Debug)]
pub struct Listeners {
    unix: UnixListener,
    /// The socket's file, where we made it.
    file: Option<UnixSocket>,
    tcp: Option<TcpListener>,
    spec: Option<Spec>,
    /// Where metrics are served, and nothing else.
    metrics: Vec<TcpListener>,
}

impl Listeners {
    /// Listens on the socket that a service manager handed over, and leaves its
    /// file alone.
    ///
    /// # Errors
    /// It is not a Unix socket that can be listened on.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        let listener = StdUnixListener::from(socket);
        // It asks what kind of address that is.
        listener.local_addr()?;
        let unix = listen_on(listener)?;
        Ok(Self { unix, file: None, tcp: None, spec: None, metrics: Vec::new() })
    }

    /// Returns the path at which engines find the driver, if it has one.
    pub fn path(&self) -> Option<PathBuf> {
        self.unix.local_addr().ok()?.as_pathname().map(Path::to_path_buf)
    }

    /// Listens on a socket of our own at `path`, which only our user may use,
    /// with the kernel's longest backlog. A socket file on which nobody answers
    /// is replaced.
    ///
    /// # Errors
    /// Others may replace what is there, somebody answers there, something else is
    /// there, or the kernel refuses.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            // Of a path without one, the directory is the one we are in.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            refuse_shared(&fs::canonicalize(parent)?)?;
        }
        remove_if_stale(path)?;
        // The standard library asks for the longest backlog. dockerd connects
        // once for each volume it knows when it starts.
        let listener = StdUnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let file = UnixSocket { path: path.to_path_buf(), identity: identity(path)? };
        let unix = listen_on(listener)?;
        Ok(Self { unix, file: Some(file), tcp: None, spec: None, metrics: Vec::new() })
    }

    /// Listens on `address` too, and returns the address with its port.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_tcp(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        self.tcp = Some(listener);
        Ok(address)
    }

    /// Listens on `address` for those who want metrics, and returns the address
    /// with its port.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_metrics(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        self.metrics.push(listener);
        Ok(address)
    }

    /// Listens for those who want metrics on a socket that a service manager handed
    /// over, and returns its address.
    ///
    /// # Errors
    /// It is not a TCP socket that can be listened on.
    pub fn add_inherited_metrics(&mut self, socket: OwnedFd) -> io::Result<SocketAddr> {
        let listener = StdTcpListener::from(socket);
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        self.metrics.push(TcpListener::from_std(listener)?);
        Ok(address)
    }

    /// Returns the listeners for metrics, which are served apart.
    pub(super) fn take_metrics(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.metrics)
    }

    /// Announces `address` as the driver `name` in the directory `dir`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&mut self, dir: &Path, name: &str, address: SocketAddr) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("{name}.spec"));
        fs::write(&path, format!("tcp://{address}\n"))?;
        self.spec = Some(Spec(path));
        Ok(())
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.tcp {
            None => self.unix.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            Some(tcp) => tokio::select! {
                accepted = self.unix.accept() => accepted.map(|(stream, _)| Stream::Unix(stream)),
                accepted = tcp.accept() => accepted.map(|(stream, _)| Stream::Tcp(stream)),
            },
        }
    }

    /// Stops listening, and returns the connections that were waiting on sockets
    /// of our own.
    pub(super) fn retire(self) -> Vec<Stream> {
        let mut waiting = Vec::new();
        if let Some(file) = self.file {
            // First nobody can find the socket, then it is emptied.
            drop(file);
            if let Ok(listener) = self.unix.into_std() {
                let streams = std::iter::from_fn(|| listener.accept().ok()).filter_map(|(s, _)| {
                    s.set_nonblocking(true).ok()?;
                    UnixStream::from_std(s).ok()
                });
                waiting.extend(streams.map(Stream::Unix));
            }
        }
        drop(self.spec);
        if let Some(listener) = self.tcp.and_then(|tcp| tcp.into_std().ok()) {
            let streams = std::iter::from_fn(|| listener.accept().ok()).filter_map(|(s, _)| {
                s.set_nonblocking(true).ok()?;
                TcpStream::from_std(s).ok()
            });
            waiting.extend(streams.map(Stream::Tcp));
        }
        waiting
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Another driver may have taken the path since.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Ignoring: a file that stays is replaced by the next start.
            let _left = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Spec {
    fn drop(&mut self) {
        // Ignoring: a file that stays is overwritten by the next start.
        let _left = fs::remove_file(&self.0);
    }
}

fn listen_on(listener: StdUnixListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Refuses a directory where others may replace the socket: engines would then ask
/// them. With the sticky bit they may not, and one that everybody may write to is
/// as bad above it.
fn refuse_shared(dir: &Path) -> io::Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    for above in dir.ancestors() {
        let file = fs::metadata(above)?;
        let (mode, owner) = (file.mode() & 0o7777, file.uid());
        let writers = if above == dir { 0o022 } else { 0o002 };
        let shown = above.display();
        if above == dir && owner != own && owner != 0 {
            return Err(io::Error::other(format!(
                "the directory {shown} is user {owner}'s, who could put another socket there: run \
                 'chown {own} {shown}', or give another --socket"
            )));
        }
        if mode & writers != 0 && mode & 0o1000 == 0 {
            return Err(io::Error::other(format!(
                "others may write to the directory {shown} ({mode:04o}), and could put another \
                 socket there: run 'chmod go-w {shown}', or give another --socket"
            )));
        }
    }
    Ok(())
}

fn remove_if_stale(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::other("there is something else than a socket: give another path"));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("somebody answers there: stop it, or give another --socket")),
    }
}
