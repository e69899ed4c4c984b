//! The other half of the socket: finds a driver that runs, and calls it.

pub mod engine;
mod exchange;
pub mod listening;
pub mod stream;

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::order;
use exchange::{Body, exchange, reactor, read_answer, request};

/// Where engines look for plugins.
const PLUGINS: &str = "/run/docker/plugins";

/// The socket's name, in that directory and in those of managed plugins.
const SOCKET: &str = "dirvol.sock";

/// How long an answer may take: longer than the driver lets any call take.
const LIMIT: Duration = Duration::from_secs(120);

/// How long the calls may take that are many calls in one, copy a volume, or walk.
const LONG_LIMIT: Duration = Duration::from_secs(3600);

/// What the kernel says to those who may not connect, strerror(3).
const FORBIDDEN: &str = "Permission denied";

/// Why there is no answer to be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// The driver answered with an error, or not at all.
    #[error("{0}")]
    Failed(String),
}

/// A driver that runs.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Client {
    /// Finds the driver: at `given`, else at `$DIRVOL_SOCKET`, else where engines
    /// find it. Where there are several, the first that answers is taken, and
    /// which it was is told with the others.
    ///
    /// # Errors
    /// There is none.
    pub fn find(given: Option<PathBuf>) -> Result<(Self, Option<String>), Error> {
        let stated = given.or_else(|| env::var_os("DIRVOL_SOCKET").map(PathBuf::from));
        if let Some(socket) = stated.filter(|path| !path.as_os_str().is_empty()) {
            return Ok((Self { socket }, None));
        }
        let sockets = sockets()?;
        let looked = format!("{PLUGINS}/{SOCKET} and {PLUGINS}/*/{SOCKET}");
        let Some(first) = sockets.first() else {
            return Err(Error::Unreachable(format!(
                "there is no driver at {looked}: start one with 'dirvol serve', or give --socket"
            )));
        };
        // One that cannot be connected to says so when it is called.
        let answers = |path: &&PathBuf| UnixStream::connect(path).is_ok();
        let socket = sockets.iter().find(answers).unwrap_or(first);
        let others: Vec<String> = sockets
            .iter()
            .filter(|other| *other != socket)
            .map(|other| other.display().to_string())
            .collect();
        let told = (!others.is_empty()).then(|| {
            format!("asking {}, not {}; --socket chooses", socket.display(), others.join(" or "))
        });
        Ok((Self { socket: socket.clone() }, told))
    }

    /// Returns the driver's name, as engines know it: that of its socket.
    pub fn driver(&self) -> String {
        self.socket.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Calls a method, and reads its answer.
    ///
    /// # Errors
    /// Nobody answers; or what the driver says is wrong.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request).expect("a request has only text and numbers");
        understood(method, self.call(method, body)?)
    }

    /// Sends `body` to a method as it is, and returns the answer as it is.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn call(&self, method: &str, body: Vec<u8>) -> Result<Answer, Error> {
        let limit = match method {
            "Dirvol.Adopt" | "Dirvol.Clone" | "Dirvol.Prune" | "Dirvol.TrashPurge"
            | "Dirvol.Usage" => LONG_LIMIT,
            _ => LIMIT,
        };
        let sent = send(&self.socket, &Method::POST, &format!("/{method}"), body, limit);
        sent.map_err(cured)
    }
}

/// Reads an answer that is a success, or says what the driver says is wrong.
fn understood<T: DeserializeOwned>(method: &str, answer: Answer) -> Result<T, Error> {
    let answer = succeeded(method, answer)?;
    json::read(&answer.body).map_err(|error| strange(method, &answer, &error))
}

/// Passes on an answer that is a success, or says what the driver says is wrong.
fn succeeded(method: &str, answer: Answer) -> Result<Answer, Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Failed {
        err: String,
    }
    if answer.status == StatusCode::OK.as_u16() {
        return Ok(answer);
    }
    let failed: Failed =
        json::read(&answer.body).map_err(|error| strange(method, &answer, &error))?;
    Err(Error::Failed(failed.err))
}

/// What is said of an answer that is not understood.
fn strange(method: &str, answer: &Answer, error: &serde_json::Error) -> Error {
    let text = String::from_utf8_lossy(&answer.body).escape_debug().to_string();
    let status = answer.status;
    Error::Failed(format!(
        "{method} was answered with status {status} and {text:.200}: {error}; is it another \
         version of dirvol?"
    ))
}

/// Adds to what cannot be reached what to do about it.
fn cured(error: Error) -> Error {
    match error {
        Error::Unreachable(why) if why.contains(FORBIDDEN) => {
            Error::Unreachable(format!("{why}; only its user may: run this as root"))
        }
        Error::Unreachable(why) => {
            Error::Unreachable(format!("{why}; start the driver, or give another --socket"))
        }
        failed => failed,
    }
}

/// Returns where a driver has its socket that is not told otherwise.
pub fn usual_socket() -> PathBuf {
    Path::new(PLUGINS).join(SOCKET)
}

/// The sockets there are where engines look for plugins, the driver's own first.
fn sockets() -> Result<Vec<PathBuf>, Error> {
    let below = below_plugins()
        .map_err(|error| Error::Unreachable(format!("{PLUGINS}: {error}; run it as root")))?;
    let managed = below.into_iter().map(|path| path.join(SOCKET));
    Ok([usual_socket()].into_iter().chain(managed).filter(|path| is_socket(path)).collect())
}

/// What lies where engines look for plugins, in order; nothing where that is missing.
fn below_plugins() -> io::Result<Vec<PathBuf>> {
    let mut below: Vec<PathBuf> = match fs::read_dir(PLUGINS) {
        Ok(below) => below.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    order::sort(&mut below, Ord::cmp);
    Ok(below)
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Sends one request to a Unix socket, and reads the answer whole. `target` is a
/// path that is fit for a URI.
fn send(
    socket: &Path,
    method: &Method,
    target: &str,
    body: Vec<u8>,
    limit: Duration,
) -> Result<Answer, Error> {
    let request = request(method, target)
        .body(Body::Whole(body.into()))
        .expect("a method and a path make a request");
    let exchange = async { read_answer(socket, exchange(socket, request).await?).await };
    let limited = async { tokio::time::timeout(limit, exchange).await };
    reactor()?.block_on(limited).unwrap_or_else(|_| {
        let (shown, seconds) = (socket.display(), limit.as_secs());
        Err(Error::Unreachable(format!("{shown} has not answered for {seconds} s")))
    })
}
