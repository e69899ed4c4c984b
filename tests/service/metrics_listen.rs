//! `--metrics-listen`: what is there for a network, what is not, and how much of
//! the driver whoever is on that network can take up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt,
};

use crate::expect::{named, response};
use crate::harness::{Answer, Client, DEADLINE, Serve, Setup, eventually, get, request};
use crate::scraped::{Scraped, steady};

/// How many connections there are at a time.
const CONNECTIONS: usize = 32;

/// How long each may last.
const SLOW: Duration = Duration::from_secs(30);

const PLAIN: &str = "text/plain; charset=utf-8";

/// A driver that serves metrics, and where.
fn listening(setup: &Setup) -> (Serve, SocketAddr) {
    let serve = setup.serve();
    // Not by [`Serve::log`], whose call would be counted.
    let address = eventually("the address is told", || {
        let log = std::fs::read_to_string(&serve.log).unwrap();
        let told = log.split_once(r#" INFO serving metrics listen="http://"#)?.1;
        told.split_once(r#"/metrics""#)?.0.parse().ok()
    });
    (serve, address)
}

fn with_metrics() -> Setup {
    Setup::new().arg("--metrics-listen").arg("0")
}

/// The answer to `bytes` on a connection of its own, which is then closed.
fn ask(address: SocketAddr, bytes: &str) -> Answer {
    let mut client = Client::connect_tcp(address);
    client.send(bytes);
    let answer = client.answer().expect("the connection was closed");
    assert_eq!(client.answer(), None);
    answer
}

fn get_at(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// An answer of the address, which says that it ends there.
fn last(mut answer: Answer) -> Answer {
    answer.headers.insert(answer.headers.len() - 1, "connection: close".into());
    answer
}

/// What listens for TCP in the driver's process.
fn listened_on(serve: &Serve) -> Vec<String> {
    let ss = Command::new("ss").args(["-H", "-l", "-n", "-t", "-p"]).output().unwrap();
    let pid = format!(",pid={},", serve.pid());
    let lines = String::from_utf8(ss.stdout).unwrap();
    let own = lines.lines().filter(|line| line.contains(&pid));
    own.map(|line| line.split_whitespace().nth(3).unwrap().to_owned()).collect()
}

#[test]
fn metrics_and_health_are_answered_as_on_the_socket() {
    let setup = with_metrics();
    let (serve, address) = listening(&setup);
    assert!(address.ip().is_loopback());
    assert_eq!(listened_on(&serve), [address.to_string()]);
    let expected = last(Scraped::of(&setup.root()).answer());
    assert_eq!(steady(&get_at(address, "/metrics")), expected);
    // A scrape is no call, wherever it comes from.
    get_at(address, "/metrics");
    assert_eq!(last(steady(&get(&serve.socket, "/metrics"))), expected);
    let healthy = response(200, "application/json", r#"{"status":"ok"}"#);
    assert_eq!(get_at(address, "/healthz"), last(healthy));
    std::fs::rename(setup.root(), setup.path("away")).unwrap();
    serve.wait_unavailable();
    assert_eq!(get_at(address, "/healthz"), last(get(&serve.socket, "/healthz")));
    serve.stop();
}

#[test]
fn nothing_else_is_there_and_the_protocol_least_of_all() {
    let setup = with_metrics();
    let (serve, address) = listening(&setup);
    let none = last(response(404, PLAIN, "here are /metrics and /healthz\n"));
    for method in ["VolumeDriver.Create", "VolumeDriver.List", "Plugin.Activate"] {
        assert_eq!(ask(address, &request(method, &named("a"))), none, "{method}");
    }
    for path in ["/", "/metrics/", "/healthz/x", "//metrics"] {
        assert_eq!(get_at(address, path), none, "{path}");
    }
    let mut not_so = response(405, PLAIN, "only GET is answered here\n");
    not_so.headers.insert(1, "allow: GET".into());
    let not_so = last(not_so);
    for path in ["metrics", "healthz"] {
        assert_eq!(ask(address, &request(path, "")), not_so, "{path}");
    }
    assert_eq!(serve.names(), [""; 0]);
    // None of it was a call of the protocol, but for this List.
    assert_eq!(serve.metric("dirvol_requests_total", ""), 1);
    serve.stop();
}

#[test]
fn nothing_is_listened_on_unless_it_is_asked_for() {
    let setup = Setup::new().env("DIRVOL_METRICS_LISTEN", "");
    let serve = setup.serve();
    assert_eq!(listened_on(&serve), [""; 0]);
    serve.stop();
}

#[test]
fn an_address_that_is_not_to_be_had_is_told_of_and_engines_are_served() {
    let setup = Setup::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup = setup.env("DIRVOL_METRICS_LISTEN", address.port().to_string());
    let serve = setup.serve();
    let told = format!(
        "ERROR metrics are served on the driver's socket alone, and not on {address}: Address \
         already in use (os error 98); free that address or give another --metrics-listen, and \
         start the driver again"
    );
    let log = serve.log();
    assert!(log.lines().any(|line| line.ends_with(&told)), "{log}");
    serve.create("a");
    assert_eq!(get(&serve.socket, "/metrics").status, 200);
    serve.stop();
}

#[test]
fn one_connection_more_than_there_may_be_waits_and_engines_do_not() {
    let setup = with_metrics();
    let (serve, address) = listening(&setup);
    let mut few: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut late = Client::connect_tcp(address);
    late.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    // Engines come and go, as many as they like.
    for number in 0..2 * CONNECTIONS {
        serve.create(&format!("v{number}"));
    }
    late.stream.set_nonblocking(true).unwrap();
    let unanswered = late.stream.read(&mut [0]).unwrap_err();
    assert_eq!(unanswered.kind(), ErrorKind::WouldBlock);
    late.stream.set_nonblocking(false).unwrap();
    drop(few.pop());
    assert_eq!(late.answer().map(|answer| answer.status), Some(200));
    serve.stop();
}

#[test]
fn no_connection_lasts_whatever_its_client_does() {
    let setup = with_metrics().arg("--metrics-volumes").arg("10000");
    let (serve, address) = listening(&setup);
    // So many and so long names that the kernel does not take an answer whole.
    for number in 1000..7000 {
        let name = format!("{number}").repeat(49);
        std::fs::create_dir(setup.root().join("volumes").join(name)).unwrap();
    }
    eventually("all are seen", || (serve.metric("dirvol_volumes", "") == 6000).then_some(()));
    let begun = Instant::now();
    let mut unread = with_small_buffer(address);
    unread.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let clients: [fn(&mut TcpStream); 3] = [
        // It says nothing.
        |_| {},
        // It begins a head.
        |stream| stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap(),
        // It goes on and on with a head.
        |stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
            while stream.write_all(b"y").is_ok() {
                thread::sleep(Duration::from_millis(200));
            }
        },
    ];
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(DEADLINE * 4)).unwrap();
                client(&mut stream);
                // To the end, however it comes.
                let _end = stream.read_to_end(&mut Vec::new()).map_err(|error| {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                });
            });
        }
        eventually("all are connected", || (connections(&serve) == 4).then_some(()));
    });
    // One has still read nothing of its answer, and is left with what it got.
    eventually("all are gone", || (connections(&serve) == 0).then_some(()));
    assert!(begun.elapsed() >= SLOW);
    let mut read = Vec::new();
    let _end = unread.read_to_end(&mut read).map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    let whole = get(&serve.socket, "/metrics").body;
    assert!(read.len() < whole.len(), "{} of {}", read.len(), whole.len());
    assert_eq!(get_at(address, "/healthz").status, 200);
    serve.stop();
}

/// Connects with the smallest buffer for what is received.
fn with_small_buffer(address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let kind = SockType::Stream;
    let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::RcvBuf, &1).unwrap();
    connect(socket.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    TcpStream::from(socket)
}

/// How many TCP connections the driver has open.
fn connections(serve: &Serve) -> usize {
    let ss = Command::new("ss").args(["-H", "-n", "-t", "-p"]).output().unwrap();
    let lines = String::from_utf8(ss.stdout).unwrap();
    lines.matches(&format!(",pid={},", serve.pid())).count()
}

#[test]
fn the_end_answers_a_scrape_and_waits_for_nobody_else() {
    let setup = with_metrics();
    let (mut serve, address) = listening(&setup);
    let mut idle = Client::connect_tcp(address);
    let mut slow = Client::connect_tcp(address);
    slow.send("GET /metrics HTTP/1.1\r\nHo");
    let mut scraper = Client::connect_tcp(address);
    // So that each was heard before the end.
    eventually("all are connected", || (connections(&serve) == 3).then_some(()));
    serve.freeze();
    scraper.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    serve.signal(Signal::SIGTERM);
    serve.signal(Signal::SIGCONT);
    let ending = Instant::now();
    assert!(serve.wait().success());
    // It takes milliseconds, and two seconds where somebody is waited for.
    assert!(ending.elapsed() < Duration::from_secs(2), "{:?}", ending.elapsed());
    assert_eq!(scraper.answer().map(|answer| answer.status), Some(200));
    for client in [&mut idle, &mut slow] {
        assert_eq!(client.answer(), None);
    }
    let log = serve.log();
    assert!(!log.contains("exiting with requests"), "{log}");
    assert!(TcpStream::connect(address).is_err());
}
