//! Bodies that are not whole in memory: archives on their way in and out.
//!
//! Between the reactor and the closure on the blocking pool is a channel of a few pieces,
//! so that whoever is slow holds up the other, and memory stays bounded.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::SendTimeoutError};
use tokio::time::timeout;

use super::activity::Running;
use super::app::App;

/// How many pieces are between the two.
const DEPTH: usize = 4;

/// How much is collected before it is sent.
const PIECE: usize = 1 << 16;

/// For how long nothing may come from who sends an archive.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// For how long who reads an archive may take nothing of it.
const STALL: Duration = Duration::from_secs(600);

/// How often whoever waits looks whether the root is still there.
const LOOK: Duration = Duration::from_secs(1);

/// The body of an answer.
pub(super) enum Body {
    /// One that is known.
    Whole(Full<Bytes>),
    /// An archive.
    Archive(Sent),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(whole) => {
                Pin::new(whole).poll_frame(cx).map_err(|impossible| match impossible {})
            }
            Self::Archive(sent) => sent.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Archive(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Archive(_) => SizeHint::default(),
        }
    }
}

/// A part of an archive.
enum Part {
    Bytes(Bytes),
    /// That was all, with what is told after it.
    End(HeaderMap),
}

/// The end of the channel at which an archive that is sent comes out.
#[derive(Debug)]
pub(super) struct Sent {
    parts: Option<Receiver<Part>>,
    /// The driver does not end while it is sent.
    _running: Running,
}

impl Sent {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        Poll::Ready(match ready!(parts.poll_recv(cx)) {
            Some(Part::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Part::End(told)) => {
                self.parts = None;
                Some(Ok(Frame::trailers(told)))
            }
            // The connection is broken off, so that the client sees it.
            None => Some(Err(io::Error::other("the archive could not be finished"))),
        })
    }
}

/// The end of the channel at which an archive that is sent goes in. Dropped without
/// [`Sending::end`], it breaks off.
pub(super) struct Sending {
    parts: Sender<Part>,
    collected: Vec<u8>,
    reactor: Handle,
    app: std::sync::Arc<App>,
}

/// Makes a channel for an archive that is sent.
pub(super) fn sending(app: &std::sync::Arc<App>) -> (Sending, Sent) {
    let (parts, received) = channel(DEPTH);
    let (reactor, collected) = (Handle::current(), Vec::new());
    let sending = Sending { parts, collected, reactor, app: std::sync::Arc::clone(app) };
    (sending, Sent { parts: Some(received), _running: app.activity.begin() })
}

impl Sending {
    /// Ends the archive, and tells something after it.
    pub(super) fn end(mut self, told: HeaderMap) -> io::Result<()> {
        self.flush()?;
        self.send(Part::End(told))
    }

    fn send(&self, mut part: Part) -> io::Result<()> {
        let since = Instant::now();
        loop {
            let sent = self.parts.send_timeout(part, LOOK);
            part = match self.reactor.block_on(sent) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Closed(_)) => {
                    return Err(io::Error::other("whoever wanted it has gone"));
                }
                Err(SendTimeoutError::Timeout(part)) => part,
            };
            if let Some((why, _)) = self.app.driver.unavailable() {
                return Err(io::Error::other(why));
            }
            if since.elapsed() >= STALL {
                let minutes = STALL.as_secs() / 60;
                let why = format!("whoever wanted it has taken nothing for {minutes} minutes");
                return Err(io::Error::other(why));
            }
        }
    }
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fit = bytes.len().min(PIECE - self.collected.len());
        self.collected.extend_from_slice(&bytes[..fit]);
        if self.collected.len() == PIECE {
            self.flush()?;
        }
        Ok(fit)
    }

    fn flush(&mut self) -> io::Result<()> {
        let collected = std::mem::replace(&mut self.collected, Vec::with_capacity(PIECE));
        match collected.is_empty() {
            true => Ok(()),
            false => self.send(Part::Bytes(collected.into())),
        }
    }
}

/// The end of the channel at which an archive that is received comes out. It ends only
/// where the archive did; else reading fails.
pub(super) struct Received {
    parts: Receiver<io::Result<Option<Bytes>>>,
    bytes: Bytes,
    ended: bool,
}

/// The end at which it goes in.
pub(super) struct Receiving(Sender<io::Result<Option<Bytes>>>);

/// Makes a channel for an archive that is received.
pub(super) fn receiving() -> (Receiving, Received) {
    let (parts, received) = channel(DEPTH);
    (Receiving(parts), Received { parts: received, bytes: Bytes::new(), ended: false })
}

impl Receiving {
    /// Passes a request's body on, until it ends or nobody wants it any more.
    pub(super) async fn pass(self, body: &mut Incoming, app: &App) {
        let mut heard = Instant::now();
        loop {
            let part = match timeout(LOOK, body.frame()).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(_trailers) => continue,
                },
                Ok(Some(Err(error))) => {
                    Err(io::Error::other(format!("the archive broke off on its way: {error}")))
                }
                Ok(None) => Ok(None),
                Err(_) if self.0.is_closed() => return,
                Err(_) => match app.driver.unavailable() {
                    Some((why, _)) => Err(io::Error::other(why)),
                    None if heard.elapsed() < SILENCE => continue,
                    None => {
                        let seconds = SILENCE.as_secs();
                        let why = format!("nothing of the archive has come for {seconds} s");
                        Err(io::Error::other(why))
                    }
                },
            };
            let last = !matches!(part, Ok(Some(_)));
            // Where nobody reads any more, the result is known.
            if self.0.send(part).await.is_err() || last {
                return;
            }
            heard = Instant::now();
        }
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.bytes.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Ok(Some(bytes))) => self.bytes = bytes,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::other("whoever sent the archive has gone")),
            }
        }
        let len = buffer.len().min(self.bytes.len());
        buffer[..len].copy_from_slice(&self.bytes.split_to(len));
        Ok(len)
    }
}
