//! A socket between dockerd and the driver that writes down every call, and
//! loses one when it is told to.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// A call, as dockerd sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: String,
    pub body: String,
}

/// Listens at one path and hands on to another. Dropping it closes everything.
pub struct Proxy {
    listening: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    calls: Vec<Call>,
    /// What is done with the next call of a method, once.
    loss: Option<(String, Loss)>,
    holding: bool,
    ended: bool,
    clients: Vec<UnixStream>,
}

enum Loss {
    /// The call is read whole, and the connection is closed.
    Drop,
    /// The call is handed on and answered; the answer is kept back until the
    /// driver closes its connection, and is then lost.
    Hold,
}

impl Proxy {
    /// Listens at `listening`, and hands on to a driver at `driver`, whether or
    /// not there is one yet.
    pub fn start(listening: &Path, driver: &Path) -> Self {
        let listener = UnixListener::bind(listening).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let proxy = Self { listening: listening.to_owned(), shared: Arc::clone(&shared) };
        let driver = driver.to_owned();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut all = shared.lock().unwrap();
                if all.ended {
                    return;
                }
                all.clients.push(client.try_clone().unwrap());
                let (shared, driver) = (Arc::clone(&shared), driver.clone());
                thread::spawn(move || {
                    // However it ended, the client must hear of it.
                    let _ended = serve(&client, &driver, &shared);
                    let _gone = client.shutdown(Shutdown::Both);
                });
            }
        });
        proxy
    }

    /// Has the next call of `method` read and then dropped.
    pub fn drop_next(&self, method: &str) {
        self.shared().loss = Some((method.into(), Loss::Drop));
    }

    /// Has the answer to the next call of `method` kept back.
    pub fn hold_next(&self, method: &str) {
        self.shared().loss = Some((method.into(), Loss::Hold));
    }

    /// Returns whether an answer is kept back.
    pub fn is_holding(&self) -> bool {
        self.shared().holding
    }

    /// Returns the calls of `method` since the last time that they were asked for.
    pub fn take_calls(&self, method: &str) -> Vec<Call> {
        let calls = std::mem::take(&mut self.shared().calls);
        calls.into_iter().filter(|call| call.method == method).collect()
    }

    /// Returns all calls since then, in order.
    pub fn take_all_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.shared().calls)
    }

    /// Returns how many calls of `method` there were since then.
    pub fn count(&self, method: &str) -> usize {
        self.shared().calls.iter().filter(|call| call.method == method).count()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut all = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.ended = true;
        for client in &all.clients {
            let _gone = client.shutdown(Shutdown::Both);
        }
        drop(all);
        // One more connection wakes the thread that waits for it.
        let _woken = UnixStream::connect(&self.listening);
    }
}

/// Serves one connection to its end: `None` is where it ended.
fn serve(mut client: &UnixStream, driver: &Path, shared: &Mutex<Shared>) -> Option<()> {
    let mut from_client = Vec::new();
    let mut from_driver = Vec::new();
    let mut upstream: Option<UnixStream> = None;
    loop {
        let request = read_message(client, &mut from_client)?;
        let call = parse(&request);
        let loss = {
            let mut all = shared.lock().unwrap();
            all.calls.push(call.clone());
            all.loss.take_if(|(method, _)| *method == call.method).map(|(_, loss)| loss)
        };
        if let Some(Loss::Drop) = loss {
            return None;
        }
        // As dockerd sees of itself where it has a connection to the driver.
        upstream.take_if(|driver| has_ended(driver));
        let driver = match &mut upstream {
            Some(driver) => driver,
            none => none.insert(UnixStream::connect(driver).ok()?),
        };
        driver.write_all(&request).ok()?;
        let answer = read_message(driver, &mut from_driver)?;
        if let Some(Loss::Hold) = loss {
            shared.lock().unwrap().holding = true;
            let _end = driver.read(&mut [0]);
            shared.lock().unwrap().holding = false;
            return None;
        }
        client.write_all(&answer).ok()?;
    }
}

/// Returns whether the other end of an idle connection is closed.
fn has_ended(stream: &UnixStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], flags) != Err(Errno::EAGAIN)
}

/// Reads one request or answer, whole; both say how long they are.
fn read_message(mut stream: &UnixStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let end = end + 4 + length.map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= end {
                return Some(buffer.drain(..end).collect());
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
        }
    }
}

fn parse(request: &[u8]) -> Call {
    let request = String::from_utf8_lossy(request);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let path = head.split(' ').nth(1).unwrap();
    Call { method: path.trim_start_matches('/').to_owned(), body: body.to_owned() }
}
