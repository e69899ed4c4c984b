//! Who answers: dirvol, a raw socket, a bare hyper, rclone. Each is a process of its own.

use std::convert::Infallible;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::harness::{eventually, tool};
use crate::process::Process;

/// A server of the same work as dirvol.
pub struct Peer {
    pub socket: PathBuf,
    pub process: Process,
}

/// Starts this program again as the peer `kind`, which answers with what is in `answer`.
pub fn fixed(dir: &Path, kind: &str, name: &str, answer: &[u8]) -> Peer {
    reading(dir, kind, name, answer, None)
}

/// As [`fixed`], for a raw socket that reads the names in `listed` before each answer.
pub fn reading(dir: &Path, kind: &str, name: &str, answer: &[u8], listed: Option<&Path>) -> Peer {
    let socket = dir.join(format!("{kind}-{name}.sock"));
    let file = dir.join(format!("{kind}-{name}.answer"));
    fs::write(&file, answer).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--answer", kind]).arg(&socket).arg(file).args(listed).stdin(Stdio::piped());
    started(command, socket)
}

/// Starts rclone's `serve docker` on a directory, or returns `None` where it is not to be
/// had, or has nothing to mount with.
pub fn rclone(dir: &Path) -> Option<Peer> {
    let socket = dir.join("rclone.sock");
    let at = |name: &str| {
        let path = dir.join("rclone").join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let mut command = tool("rclone");
    let version = tool("rclone").arg("version").output().ok()?;
    if !version.status.success() {
        return None;
    }
    command
        .args(["serve", "docker", "--config", "/dev/null", "--socket-addr"])
        .arg(&socket)
        .arg("--base-dir")
        .arg(at("base"))
        .arg("--cache-dir")
        .arg(at("cache"))
        .args(["--forget-state", "--no-spec"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("rclone.log")).unwrap());
    Some(started(command, socket))
}

fn started(mut command: Command, socket: PathBuf) -> Peer {
    let mut process = Process(command.spawn().unwrap());
    eventually("the peer listens", || {
        assert!(process.0.try_wait().unwrap().is_none(), "{command:?} ended");
        UnixStream::connect(&socket).ok().map(drop)
    });
    Peer { socket, process }
}

/// What the program is when it was started by [`fixed`]. It ends with its standard input,
/// so with whoever started it.
pub fn answer(kind: &str, socket: &str, file: &str, listed: Option<&str>) {
    let answer = fs::read(file).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    match kind {
        "raw" | "names" => {
            let listed = listed.map(PathBuf::from);
            drop(thread::spawn(move || raw(&listener, &answer, listed.as_deref())));
        }
        "hyper" => drop(thread::spawn(move || bare_hyper(listener, answer))),
        other => panic!("no peer {other}"),
    }
    // The end is what is waited for.
    let _end = std::io::stdin().read(&mut [0]);
}

fn raw(listener: &UnixListener, answer: &[u8], listed: Option<&Path>) {
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            scope.spawn(move || raw_connection(stream, answer, listed));
        }
    });
}

/// Reads requests to the ends of their bodies, and answers.
fn raw_connection(mut stream: UnixStream, answer: &[u8], listed: Option<&Path>) {
    let mut arrived = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = arrived.windows(4).position(|four: &[u8]| four == b"\r\n\r\n");
        let whole = end.map(|end| {
            let name = b"Content-Length: ";
            let at = arrived[..end].windows(name.len()).position(|part| part == name);
            let digits = at.into_iter().flat_map(|at| {
                arrived[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit())
            });
            end + 4 + digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
        });
        if let Some(whole) = whole.filter(|whole| arrived.len() >= *whole) {
            arrived.drain(..whole);
            if let Some(listed) = listed {
                assert!(fs::read_dir(listed).unwrap().all(|entry| entry.is_ok()));
            }
            if stream.write_all(answer).is_err() {
                return;
            }
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => arrived.extend_from_slice(&buffer[..count]),
        }
    }
}

fn bare_hyper(listener: UnixListener, answer: Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = Bytes::from(answer).slice(end + 4..);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let body = body.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let body = body.clone();
                async move {
                    // The body is read to its end, as whoever uses it must.
                    let _read = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes ends its connection.
            tokio::task::spawn_local(async move { drop(connection.await) });
        }
    }));
}
