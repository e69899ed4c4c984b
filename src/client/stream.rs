//! Archives on their way to a driver, and from one.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue, TE};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};

use super::exchange::{self, Body, reactor, read_answer};
use super::{Client, Error};

/// How many pieces are between who makes an archive and the connection.
const DEPTH: usize = 4;

/// How much is collected before it is sent.
const PIECE: usize = 1 << 16;

/// Where an archive ends: two blocks of zeros.
const END: usize = 1024;

/// Writes an archive.
pub type Make = Box<dyn FnOnce(&mut Upload) -> io::Result<()> + Send>;

/// What an archive is written into on its way to the driver.
#[derive(Debug)]
pub struct Upload {
    parts: Sender<io::Result<Bytes>>,
    collected: Vec<u8>,
}

impl Client {
    /// Calls a method with `request` in the header `header`, and with what `make` writes
    /// as the body. `make` runs in a thread of its own, which is left alone where the
    /// driver answers before all was sent.
    ///
    /// # Errors
    /// Nobody answers, what the driver says is wrong, or `make` fails.
    pub fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        header: &'static str,
        request: &impl Serialize,
        make: Make,
    ) -> Result<T, Error> {
        let stated = serde_json::to_vec(request).expect("a request has only text and numbers");
        let stated = HeaderValue::from_bytes(&stated)
            .map_err(|_| Error::Failed("an option cannot be sent: it has a NUL in it".into()))?;
        let (parts, sent) = channel(DEPTH);
        let failed: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let told = Arc::clone(&failed);
        let request = exchange::request(&Method::POST, &format!("/{method}"))
            .header(HeaderName::from_static(header), stated)
            .body(Body::Parts(sent))
            .expect("a method and a path make a request");
        let making = move || {
            let mut upload = Upload { parts, collected: Vec::new() };
            let made = make(&mut upload).and_then(|()| upload.flush());
            if let Err(error) = made {
                let broken = io::Error::other(error.to_string());
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                // Ignoring: nobody waits for more. The body has no end, and so the
                // driver knows that it was not all.
                let _gone = upload.parts.blocking_send(Err(broken));
            }
        };
        std::thread::spawn(Box::new(making) as Box<dyn FnOnce() + Send>);
        let exchange = async {
            let response = exchange::exchange(&self.socket, request).await;
            // What is wrong with the archive here is the cause of whatever follows.
            let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(error) = failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
                return Err(Error::Failed(error.to_string()));
            }
            read_answer(&self.socket, response?).await
        };
        super::understood(method, reactor()?.block_on(exchange).map_err(super::cured)?)
    }

    /// Calls a method that is answered with an archive, and writes that to `to`. Returns
    /// the trailer `trailer`, if there is one.
    ///
    /// # Errors
    /// Nobody answers, the driver refuses, the archive breaks off, it cannot be written,
    /// or a signal asks to end.
    pub fn receive(
        &self,
        method: &str,
        request: &impl Serialize,
        trailer: &'static str,
        to: &mut dyn Write,
    ) -> Result<Option<String>, Error> {
        let body = serde_json::to_vec(request).expect("a request has only text and numbers");
        let request = exchange::request(&Method::POST, &format!("/{method}"))
            .header(TE, "trailers")
            .body(Body::Whole(body.into()))
            .expect("a method and a path make a request");
        let exchange = async {
            let signals = |error: io::Error| Error::Failed(format!("signals: {error}"));
            let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
            let received = async {
                let response = exchange::exchange(&self.socket, request).await?;
                if response.status() != StatusCode::OK {
                    let answer = read_answer(&self.socket, response).await?;
                    return super::understood(method, answer);
                }
                archive(response, trailer, to).await
            };
            tokio::select! {
                received = received => received,
                _ = interrupt.recv() => Err(Error::Failed("interrupted".into())),
                _ = terminate.recv() => Err(Error::Failed("ended by a signal".into())),
            }
        };
        reactor()?.block_on(exchange).map_err(super::cured)
    }
}

/// Writes the archive that is the body of `response`.
async fn archive(
    response: Response<Incoming>,
    trailer: &'static str,
    to: &mut dyn Write,
) -> Result<Option<String>, Error> {
    let mut body = response.into_body();
    let mut told = None;
    let mut tail: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Error::Failed("the archive broke off: the driver's log says why; try again".into())
        })?;
        match frame.into_data() {
            Ok(bytes) => {
                to.write_all(&bytes).map_err(|error| Error::Failed(error.to_string()))?;
                tail.extend_from_slice(&bytes[bytes.len().saturating_sub(END)..]);
                tail.drain(..tail.len().saturating_sub(END));
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let value = trailers.get(trailer).and_then(|value| value.to_str().ok());
                told = value.map(str::to_owned).or(told);
            }
        }
    }
    if tail != [0; END] {
        return Err(Error::Failed("the archive that came has no end: try again".into()));
    }
    to.flush().map_err(|error| Error::Failed(error.to_string()))?;
    Ok(told)
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fit = bytes.len().min(PIECE - self.collected.len());
        self.collected.extend_from_slice(&bytes[..fit]);
        if self.collected.len() == PIECE {
            self.flush()?;
        }
        Ok(fit)
    }

    fn flush(&mut self) -> io::Result<()> {
        let collected = std::mem::take(&mut self.collected);
        if collected.is_empty() {
            return Ok(());
        }
        let sent = self.parts.blocking_send(Ok(collected.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
