//! One connection: bytes in, bytes out, and how long we wait for them.
//!
//! An idle client is never closed: dockerd keeps its connections, does not
//! replay a POST that meets a closed one, and its own retry carries an empty
//! body. hyper's timer for slow heads runs while a connection is idle, so it is
//! not used; the one here starts with the first byte of a head.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::activity::{Activity, Running};
use super::app::App;
use super::{metrics_listener, routes};

/// How long a client may take for a head, from its first byte; and for a body.
pub(super) const SLOW: Duration = Duration::from_secs(30);

/// How long the exit waits for a scrape, which is answered within a second.
const LAST_SCRAPE: Duration = Duration::from_secs(2);

/// A connection of either kind. They are one type, and so is what hyper makes of
/// it, which is much code for each.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What is answered on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// The protocol, one request after the other.
    Calls,
    /// One request of those who watch.
    Metrics,
}

/// Serves a connection to its end. When `draining` turns true, what has arrived
/// by then is still answered.
pub(super) async fn serve(
    mut stream: Stream,
    answers: Answers,
    app: Arc<App>,
    mut draining: watch::Receiver<bool>,
) {
    let fd = stream.socket().as_raw_fd();
    let phase = Arc::new(Phase::new(&app));
    let stream = Patient { stream, phase: Arc::clone(&phase), slow: None };
    let service = service_fn(|request: Request<Incoming>| {
        phase.set(Phase::REQUEST);
        let (app, phase) = (Arc::clone(&app), Arc::clone(&phase));
        async move {
            let response = match answers {
                Answers::Calls => routes::answer(&app, request).await,
                Answers::Metrics => Some(metrics_listener::answer(&app, &request).await),
            };
            phase.set(Phase::IDLE);
            // Without a response the connection is closed.
            response.ok_or("closed without an answer")
        }
    });
    let connection = http1::Builder::new()
        // A client may have shut down its sending half, as our own drain does
        // for it, and still wait for answers.
        .half_close(true)
        .auto_date_header(false)
        .keep_alive(answers == Answers::Calls)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(&mut draining) => {
            // The descriptor is open as long as `connection`, which owns it. That
            // the client has gone already is no matter.
            let _gone = shutdown(fd, Shutdown::Read);
            match answers {
                Answers::Calls => connection.await,
                Answers::Metrics => timeout(LAST_SCRAPE, connection).await.unwrap_or(Ok(())),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?answers, "connection ended");
    }
}

/// Waits until the drain begins.
pub(super) async fn drained(draining: &mut watch::Receiver<bool>) {
    // The sender outlives every connection; were it gone, that were the end too.
    let _either = draining.wait_for(|&draining| draining).await.map(drop);
}

/// What a connection is doing.
#[derive(Debug)]
struct Phase {
    phase: AtomicU8,
    activity: Arc<Activity>,
    /// While a head or a request is not done.
    asked: Mutex<Option<Running>>,
    /// While the client does not read what is written.
    unread: Mutex<Option<Running>>,
}

impl Phase {
    /// Between two requests, for as long as the client likes.
    const IDLE: u8 = 0;
    /// In the middle of a head.
    const HEAD: u8 = 1;
    /// A head was read, and its request is not answered yet.
    const REQUEST: u8 = 2;

    fn new(app: &App) -> Self {
        Self {
            phase: AtomicU8::new(Self::IDLE),
            activity: Arc::clone(&app.activity),
            asked: Mutex::default(),
            unread: Mutex::default(),
        }
    }

    fn set(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        self.note(&self.asked, phase != Self::IDLE);
    }

    fn is(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Relaxed) == phase
    }

    /// Notes whether a write waits for the client to read, and returns it.
    fn written<T>(&self, write: Poll<T>) -> Poll<T> {
        self.note(&self.unread, write.is_pending());
        write
    }

    fn note(&self, what: &Mutex<Option<Running>>, runs: bool) {
        // A panic leaves either in its place.
        let mut running = what.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() != runs {
            *running = runs.then(|| self.activity.begin());
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + AsRawFd + Unpin {}

impl<S: AsyncRead + AsyncWrite + AsRawFd + Unpin> Socket for S {}

impl Stream {
    fn socket(&mut self) -> Pin<&mut dyn Socket> {
        match self {
            Self::Unix(stream) => Pin::new(stream),
            Self::Tcp(stream) => Pin::new(stream),
        }
    }
}

/// A stream that waits for ever for the first byte of a head, and [`SLOW`] for
/// the rest of it.
struct Patient {
    stream: Stream,
    phase: Arc<Phase>,
    slow: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = self.stream.socket().poll_read(cx, buffer) {
            if buffer.filled().len() > before && self.phase.is(Phase::IDLE) {
                self.phase.set(Phase::HEAD);
                match &mut self.slow {
                    Some(slow) => slow.as_mut().reset(Instant::now() + SLOW),
                    None => self.slow = Some(Box::pin(sleep(SLOW))),
                }
            }
            return Poll::Ready(read);
        }
        if !self.phase.is(Phase::HEAD) {
            return Poll::Pending;
        }
        if let Some(slow) = &mut self.slow {
            ready!(slow.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a slow head")));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = self.stream.socket().poll_write(cx, bytes);
        self.phase.written(write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = self.stream.socket().poll_write_vectored(cx, bytes);
        self.phase.written(write)
    }

    fn is_write_vectored(&self) -> bool {
        // Either kind takes many pieces at once.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.socket().poll_shutdown(cx)
    }
}
