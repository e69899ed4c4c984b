//! Instructions and system calls of each request.

use crate::harness::{Client, Setup};
use crate::serve;
use crate::trace::{Cost, Traced};

/// A request, the most instructions of it, and its system calls, which are exact.
pub const REQUESTS: [(&str, u64, &str); 8] = [
    ("Get", 0, ""),
    ("Path", 0, ""),
    ("Create", 0, ""),
    ("Mount", 0, ""),
    ("Unmount", 0, ""),
    ("Remove", 0, ""),
    ("List of 10", 0, ""),
    ("List of 1,000", 0, ""),
];

/// Runs each request, the first two times unmeasured: what is made once is made then.
fn measure() -> Vec<Cost> {
    let setup = Setup::new().log_level("info");
    let serve = serve(&setup);
    for number in 0..8 {
        serve.create(&format!("volume-{number}"));
    }
    let mut client = Client::connect(&serve.socket);
    let mut traced = Traced::new(&serve);
    let mut turn = Vec::new();
    for number in 0..3 {
        let named = format!("{{\"Name\":\"new-{number}\"}}\n");
        let created = format!("{{\"Name\":\"new-{number}\",\"Opts\":null}}\n");
        let mounted = format!("{{\"Name\":\"new-{number}\",\"ID\":\"x\"}}\n");
        let get = "{\"Name\":\"volume-1\"}\n";
        let mut cost = |verb: &str, body: &str| {
            traced.cost(&mut client, &format!("VolumeDriver.{verb}"), body)
        };
        turn = vec![cost("Get", get), cost("Path", get)];
        turn.push(cost("Create", &created));
        turn.push(cost("Mount", &mounted));
        turn.push(cost("Unmount", &mounted));
        turn.push(cost("Remove", &named));
        turn.push(cost("List", "{}\n"));
    }
    drop(traced);
    serve.kill();
    turn
}

#[test]
#[ignore = "unfinished: no ceiling is set, and the thread that watches the root is counted too"]
fn each_request_is_within_its_budget() {
    let mut over = Vec::new();
    for ((what, ceiling, calls), cost) in REQUESTS.iter().zip(measure()) {
        println!("{what}: {} of {ceiling} instructions, {}", cost.instructions, cost.calls());
        if cost.instructions > *ceiling || cost.calls() != *calls {
            over.push(format!("{what}: {} instructions, {}", cost.instructions, cost.calls()));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
