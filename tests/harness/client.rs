//! Raw bytes to the driver's socket, and whole answers from it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::DEADLINE;

/// An answer, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The head without the status line and in the order of arrival.
    pub headers: Vec<String>,
    pub body: String,
}

/// One connection.
pub struct Client<S = UnixStream> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE * 4)).unwrap();
        Self { stream, buffer: Vec::new() }
    }
}

impl Client {
    /// Whether the other end has closed the connection, without waiting.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let closed = !matches!(
            self.stream.read(&mut [0]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock
        );
        self.stream.set_nonblocking(false).unwrap();
        closed
    }
}

impl Client<TcpStream> {
    pub fn connect_tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE * 4)).unwrap();
        Self { stream, buffer: Vec::new() }
    }
}

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a call as dockerd does, and reads its answer; `None` where the
    /// connection was closed instead.
    pub fn call(&mut self, method: &str, body: &str) -> Option<Answer> {
        self.send(request(method, body));
        self.answer()
    }

    /// Reads one answer; `None` where the connection ends before its first byte.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.fill() {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.buffer);
                return None;
            }
        };
        let text = String::from_utf8(self.buffer[..head].to_vec()).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<String> = lines.map(str::to_owned).collect();
        let length = headers
            .iter()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        let end = head + 4 + length;
        while self.buffer.len() < end {
            assert!(self.fill(), "half a body");
        }
        let body = String::from_utf8(self.buffer[head + 4..end].to_vec()).unwrap();
        self.buffer.drain(..end);
        Some(Answer { status, headers, body })
    }

    fn fill(&mut self) -> bool {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.fill(),
            Err(error) => panic!("reading an answer: {error}"),
        }
    }
}

impl From<UnixStream> for Client {
    /// Speaks on a connection that is there; the stream's timeouts stay.
    fn from(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }
}

/// The bytes that dockerd 20.10 sends: no Content-Type, an empty Host.
pub fn request(method: &str, body: &str) -> String {
    format!(
        "POST /{method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {}\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n{body}",
        body.len()
    )
}

pub fn get(socket: &Path, path: &str) -> Answer {
    try_get(socket, path).expect("the connection was closed")
}

pub fn try_get(socket: &Path, path: &str) -> Option<Answer> {
    let mut client = Client::connect(socket);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.answer()
}

pub fn metric(socket: &Path, name: &str, labels: &str) -> u64 {
    let text = get(socket, "/metrics").body;
    let samples = text.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let own = key.split('{').next() == Some(name) && key.contains(labels);
        own.then(|| value.parse::<u64>().unwrap())
    });
    samples.sum()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Whether a call gets any answer, on a connection that may end at any moment.
pub fn is_answered(mut stream: UnixStream, method: &str) -> bool {
    let mut first = [0];
    stream.write_all(request(method, "").as_bytes()).is_ok()
        && stream.read_exact(&mut first).is_ok()
}
