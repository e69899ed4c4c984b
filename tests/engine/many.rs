//! As many volumes as large hosts have. dockerd asks for all of them at once when
//! it starts, each on a connection of its own.

use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::harness::{Client, Setup};

/// `DIRVOL_TEST_VOLUMES=5000` is for who has some minutes.
fn volumes() -> usize {
    std::env::var("DIRVOL_TEST_VOLUMES").map_or(1500, |volumes| volumes.parse().unwrap())
}

/// How many clients create them.
const CLIENTS: usize = 8;

fn name(number: usize) -> String {
    format!("volume{number:04}")
}

/// Every third has a label, and an option.
fn given(number: usize) -> (Value, Value) {
    if number.is_multiple_of(3) {
        (json!({"number": number.to_string()}), json!({"uid": number.to_string()}))
    } else {
        (json!({}), json!({}))
    }
}

/// Creates a volume as the `docker` command does, which would take a process each.
fn create(client: &mut Client, number: usize) {
    let (labels, options) = given(number);
    let body = json!({
        "Name": name(number), "Driver": "dirvol", "Labels": labels, "DriverOpts": options,
    });
    let body = body.to_string();
    let length = body.len();
    client.send(format!(
        "POST /volumes/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// What dockerd says of all volumes: a name and the labels each.
fn listed(daemon: &Daemon) -> Vec<String> {
    let listed = daemon.ok("volume ls --format {{.Name}},{{.Labels}}");
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn dockerd_restarts_with_1500_volumes_without_one_retry() {
    let (volumes, setup) = (volumes(), Setup::new());
    let serve = setup.serve();
    let mut daemon = Daemon::start(setup.dir.path());
    thread::scope(|scope| {
        for first in 0..CLIENTS {
            let mut client = Client::connect(&daemon.socket());
            scope.spawn(move || {
                (first..volumes).step_by(CLIENTS).for_each(|number| create(&mut client, number));
            });
        }
    });
    let expected: Vec<String> = (0..volumes)
        .map(|number| match given(number).0.as_object().unwrap().get("number") {
            Some(label) => format!("{},number={}", name(number), label.as_str().unwrap()),
            None => name(number) + ",",
        })
        .collect();
    assert_eq!(listed(&daemon), expected);

    let gets = || serve.metric("dirvol_requests_total", "endpoint=\"get\"");
    let before = gets();
    let begun = Instant::now();
    daemon.restart();
    println!("{volumes} volumes: dockerd was back after {:?}", begun.elapsed());

    assert_eq!(gets() - before, volumes as u64);
    let log = daemon.log();
    let retries = |line: &&str| line.contains("Unable to ") || line.contains("retrying in");
    assert_eq!(log.lines().filter(retries).collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(listed(&daemon), expected);
    let some: Vec<usize> = (0..volumes).step_by(50).collect();
    let names: Vec<String> = some.iter().map(|&number| name(number)).collect();
    for (shown, number) in daemon.inspect(&names.join(" ")).into_iter().zip(some) {
        let (labels, options) = given(number);
        // Of a volume that has none, engines say `null` or `{}`.
        let none = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
        assert_eq!((none(&shown["Labels"]), none(&shown["Options"])), (labels, options));
        assert_eq!(shown["Status"]["health"], "ok");
    }
}
