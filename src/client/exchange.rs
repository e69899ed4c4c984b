//! One request to a Unix socket, and its answer. Each has a connection of its own.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, Response, http};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Receiver;

use super::{Answer, Error};

/// The longest path of a socket: unix(7), `sun_path` with its closing NUL.
const LONGEST_PATH: usize = 107;

/// What is sent: of one type, for a connection is built for each type there is.
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// What comes out of a channel. It ends where that does.
    Parts(Receiver<io::Result<Bytes>>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Parts(parts) => parts.poll_recv(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Parts(_) => SizeHint::default(),
        }
    }
}

/// Begins a request; `target` is a path that is fit for a URI.
pub(super) fn request(method: &Method, target: &str) -> http::request::Builder {
    // Docker's API wants a host, and does not mind which.
    Request::builder().method(method).uri(target).header(HOST, "localhost")
}

/// Sends a request to a socket, and returns the answer when its head is there.
pub(super) async fn exchange(
    socket: &Path,
    request: Request<Body>,
) -> Result<Response<Incoming>, Error> {
    let shown = socket.display();
    if socket.as_os_str().len() > LONGEST_PATH {
        let start = shown.to_string();
        let why = format!("{start:.60}... is too long for the path of a socket");
        return Err(Error::Unreachable(why));
    }
    let connected = UnixStream::connect(socket).await;
    let stream = connected
        .map_err(|error| Error::Unreachable(format!("cannot connect to {shown}: {error}")))?;
    let closed = |error: hyper::Error| {
        let why = innermost(&error);
        Error::Failed(format!(
            "the connection at {shown} was closed without an answer: {why}; see the log there"
        ))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(closed)?;
    // How it ended is told to who reads the answer.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await.map_err(closed)
}

/// Reads an answer whole.
pub(super) async fn read_answer(
    socket: &Path,
    response: Response<Incoming>,
) -> Result<Answer, Error> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| {
        let (shown, why) = (socket.display(), innermost(&error));
        Error::Failed(format!("the answer from {shown} broke off: {why}"))
    })?;
    Ok(Answer { status, body: body.to_bytes().to_vec() })
}

/// Makes what runs an exchange.
pub(super) fn reactor() -> Result<Runtime, Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::Failed(format!("the reactor: {error}")))
}

/// The cause below all wrappings, which says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
