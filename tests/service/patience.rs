//! How long the driver waits for its clients: for ever between two requests, and
//! half a minute for the rest of one.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::expect::{done, failed, named};
use crate::harness::{Client, DEADLINE, Serve, Setup, request};

/// What a client may take for a head, and again for a body.
const SLOW: Duration = Duration::from_secs(30);

/// Longer than anything waits that is not to be closed.
const IDLE: Duration = Duration::from_secs(65);

/// Waits while nothing at all comes from the driver, for as long as [`IDLE`].
fn stays_silent_and_open(client: &mut Client) {
    client.stream.set_read_timeout(Some(IDLE)).unwrap();
    let read = client.stream.read(&mut [0; 1]);
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn never_spoke(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    stays_silent_and_open(&mut client);
    assert_eq!(client.call("VolumeDriver.Create", &named("never-spoke")), Some(done()));
}

fn spoke_before(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    assert_eq!(client.call("VolumeDriver.Create", &named("spoke-before")), Some(done()));
    stays_silent_and_open(&mut client);
    assert_eq!(client.call("VolumeDriver.Remove", &named("spoke-before")), Some(done()));
}

fn half_a_head(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    let begun = Instant::now();
    client.send("POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nContent-Le");
    assert_eq!(client.answer(), None);
    assert!(begun.elapsed() >= SLOW);
}

fn half_a_head_after_a_request(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    assert_eq!(client.call("VolumeDriver.Remove", &named("none")), Some(done()));
    let begun = Instant::now();
    client.send("P");
    assert_eq!(client.answer(), None);
    assert!(begun.elapsed() >= SLOW);
}

fn a_head_in_drops(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    let begun = Instant::now();
    client.send("POST /VolumeDriver.Create HTTP/1.1\r\nX: ");
    // Each drop comes before the driver's patience with the last could end.
    while client.stream.write_all(b"y").is_ok() {
        assert!(begun.elapsed() < DEADLINE * 4, "a head may take for ever");
        thread::sleep(Duration::from_secs(1));
    }
    assert!(begun.elapsed() >= SLOW);
}

fn half_a_body(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    let begun = Instant::now();
    let whole = request("VolumeDriver.Create", &named("half-a-body"));
    client.send(&whole[..whole.len() - 2]);
    let late = failed(408, "the request's body did not arrive within 30 s");
    assert_eq!(client.answer(), Some(late));
    assert!(begun.elapsed() >= SLOW);
    assert_eq!(client.answer(), None);
}

fn a_body_in_drops(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    let begun = Instant::now();
    client.send("POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nContent-Length: 1000\r\n\r\n{");
    while begun.elapsed() < SLOW {
        client.send(" ");
        thread::sleep(Duration::from_secs(1));
    }
    let late = failed(408, "the request's body did not arrive within 30 s");
    assert_eq!(client.answer(), Some(late));
    assert_eq!(client.answer(), None);
}

fn half_a_body_of_a_get(serve: &Serve) {
    let mut client = Client::connect(&serve.socket);
    let begun = Instant::now();
    let whole = request("VolumeDriver.Get", &named("half-a-body"));
    client.send(&whole[..whole.len() - 2]);
    assert_eq!(client.answer(), None);
    assert!(begun.elapsed() >= SLOW);
}

#[test]
fn who_is_idle_may_stay_and_who_is_slow_may_not() {
    let setup = Setup::new();
    let serve = setup.serve();
    let clients = [
        never_spoke,
        spoke_before,
        half_a_head,
        half_a_head_after_a_request,
        a_head_in_drops,
        half_a_body,
        a_body_in_drops,
        half_a_body_of_a_get,
    ];
    thread::scope(|scope| {
        for client in clients {
            let serve = &serve;
            scope.spawn(move || client(serve));
        }
    });
    assert_eq!(serve.names(), ["never-spoke"]);
    serve.stop();
}
