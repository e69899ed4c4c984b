//! The load: connections that each send a request, wait for its whole answer, and send the
//! next. One thread and poll(2), so that the load itself costs little and the same for all.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::process;

/// The requests of one connection, sent in turn and over again.
pub type Script = Vec<Vec<u8>>;

/// What one run of load has shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub per_second: f64,
    /// The server's processor time for each request, its own and the kernel's.
    pub processor: f64,
}

/// One connection with its script, and what has arrived of the answer.
struct Connection<'a> {
    stream: UnixStream,
    script: &'a Script,
    next: usize,
    sent: Instant,
    arrived: Vec<u8>,
    /// How long the answer is, once its head is there: `None` where it comes in chunks.
    length: Option<Option<usize>>,
}

impl<'a> Connection<'a> {
    fn open(socket: &Path, script: &'a Script) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let arrived = Vec::with_capacity(1 << 16);
        Self { stream, script, next: 0, sent: Instant::now(), arrived, length: None }
    }

    fn send(&mut self) {
        self.sent = Instant::now();
        self.stream.write_all(&self.script[self.next]).unwrap();
        self.next = (self.next + 1) % self.script.len();
    }

    /// Reads once, and returns how long the answer took where it is whole now.
    fn read(&mut self, buffer: &mut [u8]) -> Option<Duration> {
        let count = match self.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return None,
            count => count.unwrap(),
        };
        assert!(count > 0, "the connection was closed");
        self.arrived.extend_from_slice(&buffer[..count]);
        if self.length.is_none() {
            let end = self.arrived.windows(4).position(|four| four == b"\r\n\r\n")?;
            let head = String::from_utf8_lossy(&self.arrived[..end]).to_lowercase();
            assert_eq!(&head[9..12], "200", "{}", String::from_utf8_lossy(&self.arrived));
            let stated = head.split("content-length: ").nth(1);
            let stated = stated.map(|rest| rest.split('\r').next().unwrap());
            self.length = Some(stated.map(|length| end + 4 + length.parse::<usize>().unwrap()));
        }
        let whole = match self.length? {
            Some(length) => self.arrived.len() >= length,
            None => self.arrived.ends_with(b"\r\n0\r\n\r\n"),
        };
        whole.then(|| {
            self.arrived.clear();
            self.length = None;
            self.sent.elapsed()
        })
    }

    fn call(&mut self, buffer: &mut [u8]) -> Duration {
        self.send();
        loop {
            if let Some(took) = self.read(buffer) {
                return took;
            }
        }
    }
}

/// Loads the server `pid` at `socket` for `time` with a connection for each script.
pub fn run(socket: &Path, pid: u32, scripts: &[Script], time: Duration) -> Shown {
    let mut buffer = vec![0; 1 << 16];
    let mut connections: Vec<Connection> =
        scripts.iter().map(|script| Connection::open(socket, script)).collect();
    // The first answers are not counted: threads start, memory is touched.
    for connection in &mut connections {
        for _ in 0..(2 * connection.script.len()).min(20) {
            connection.call(&mut buffer);
        }
    }
    let before = process::processor(pid);
    let start = Instant::now();
    let took = if let [connection] = &mut connections[..] {
        let mut took = Vec::new();
        while start.elapsed() < time || connection.next != 0 {
            took.push(connection.call(&mut buffer));
        }
        took
    } else {
        many(&mut connections, &mut buffer, start, time)
    };
    let elapsed = start.elapsed();
    // While the connections are open, and the threads that serve them are there.
    let processor = process::processor(pid) - before;
    shown(took, elapsed, processor)
}

fn many(
    connections: &mut [Connection],
    buffer: &mut [u8],
    start: Instant,
    time: Duration,
) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut waiting: Vec<usize> = (0..connections.len()).collect();
    connections.iter_mut().for_each(Connection::send);
    while !waiting.is_empty() {
        let mut polled: Vec<PollFd> = waiting
            .iter()
            .map(|&at| PollFd::new(connections[at].stream.as_fd(), PollFlags::POLLIN))
            .collect();
        let ready = poll(&mut polled, PollTimeout::from(60_000_u16)).unwrap();
        assert!(ready > 0, "no answer for 60 s");
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let now: Vec<usize> =
            waiting.iter().zip(ready).filter(|(_, ready)| *ready).map(|(at, _)| *at).collect();
        for at in now {
            let Some(time_taken) = connections[at].read(buffer) else { continue };
            took.push(time_taken);
            // A script is run to its end: what was mounted is unmounted.
            if start.elapsed() < time || connections[at].next != 0 {
                connections[at].send();
            } else {
                waiting.retain(|other| *other != at);
            }
        }
    }
    took
}

/// Sends every script once, all at the same time, and returns how long it took.
pub fn burst(socket: &Path, scripts: &[Script]) -> Duration {
    let mut buffer = vec![0; 1 << 16];
    let start = Instant::now();
    let mut connections: Vec<Connection> =
        scripts.iter().map(|script| Connection::open(socket, script)).collect();
    many(&mut connections, &mut buffer, start, Duration::ZERO);
    start.elapsed()
}

/// One call on a connection of its own; returns the whole answer.
pub fn once(socket: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        answer.extend_from_slice(&buffer[..count]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length.split('\r').next().unwrap().parse().unwrap();
        if answer.len() >= end + 4 + length {
            return answer;
        }
        assert!(count > 0, "half an answer");
    }
}

fn shown(mut took: Vec<Duration>, elapsed: Duration, processor: Duration) -> Shown {
    took.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let count = took.len() as f64;
    Shown {
        p50: micros(took[took.len() / 2]),
        p99: micros(took[took.len() * 99 / 100]),
        max: micros(took[took.len() - 1]),
        per_second: count / elapsed.as_secs_f64(),
        processor: micros(processor) / count,
    }
}
