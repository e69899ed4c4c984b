//! Many connections that do nothing, more than there are descriptors for, and those that
//! ask and never read the answer.

use std::fs;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::expect::{named, ok};
use crate::harness::{Client, Serve, Setup, eventually, request};
use crate::soak::held;

const IDLE: usize = 1000;

/// The most that an idle connection may take of the driver's memory, in a debug build.
const EACH_KIB: u64 = 32;

const CAPABILITIES: &str = "VolumeDriver.Capabilities";

/// Starts the driver with `limit` descriptors at most; this process may have as many too.
fn serve_with(setup: &Setup, limit: u64) -> Serve {
    fs::create_dir_all(setup.root()).unwrap();
    let driver = setup.command();
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={limit}")).arg(driver.get_program()).args(driver.get_args());
    let serve = setup.start_with({
        command.stdin(Stdio::null());
        command
    });
    serve.wait_available();
    serve
}

fn works(client: &mut Client) {
    let scope = ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#);
    assert_eq!(client.call(CAPABILITIES, "{}"), Some(scope));
}

/// The time that a process has computed, in hundredths of a second.
fn computed(serve: &Serve) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", serve.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_thousand_idle_connections_hold_up_nobody_and_stay_usable() {
    let own = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, hard) = nix::sys::resource::getrlimit(own).unwrap();
    nix::sys::resource::setrlimit(own, hard, hard).unwrap();
    let setup = Setup::new().log_level("error");
    let serve = serve_with(&setup, 4096);
    serve.create("a");
    let before = held(&serve);
    let mut idle: Vec<Client> = (0..IDLE).map(|_| Client::connect(&serve.socket)).collect();
    idle.iter_mut().for_each(works);
    let after = held(&serve);
    let each = after.0.saturating_sub(before.0) * 1024 / IDLE as u64;
    println!("{each} bytes for each connection: {before:?}, {after:?}");
    assert!(each < EACH_KIB * 1024, "{each}");
    assert!(after.2 <= before.2 + IDLE, "{before:?} {after:?}");
    assert!(after.3 < before.3 + 10, "{before:?} {after:?}");
    for turn in 0..20 {
        let name = format!("v{turn}");
        serve.create(&name);
        serve.remove(&name);
    }
    assert_eq!(serve.names(), ["a"]);
    idle.iter_mut().for_each(works);
    drop(idle);
    eventually("its descriptors are free again", || (held(&serve).2 <= before.2).then_some(()));
    serve.stop();
}

#[test]
fn a_driver_without_descriptors_says_so_and_goes_on_when_it_has_some() {
    let setup = Setup::new().log_level("warn");
    let serve = serve_with(&setup, 64);
    serve.create("a");
    serve.create("b");
    let mut first = Client::connect(&serve.socket);
    works(&mut first);
    let waiting: Vec<Client> = (0..100).map(|_| Client::connect(&serve.socket)).collect();
    let log = || fs::read_to_string(&serve.log).unwrap();
    let line = "cannot accept a connection error=Too many open files (os error 24)";
    eventually("it says so", || log().contains(line).then_some(()));
    let (begun, before) = (Instant::now(), computed(&serve));
    thread::sleep(Duration::from_secs(2));
    let spent = computed(&serve) - before;
    assert!(u128::from(spent) * 10 < begun.elapsed().as_millis() / 2, "it spins: {spent}");
    // Who is connected is answered; that a volume is not there is said of none that is.
    works(&mut first);
    let answer = first.call("VolumeDriver.Get", &named("b"));
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 200), "{answer:?}");
    drop(waiting);
    eventually("it has descriptors", || (held(&serve).2 < 40).then_some(()));
    serve.wait_available();
    for name in ["a", "b"] {
        assert_eq!(serve.call("VolumeDriver.Get", &named(name)).status, 200, "{}", log());
    }
    serve.create("c");
    assert_eq!(serve.names(), ["a", "b", "c"]);
    serve.stop();
}

#[test]
fn who_never_reads_takes_no_more_memory_than_one_answer_and_holds_up_nobody() {
    let setup = Setup::new().log_level("error");
    let serve = setup.serve();
    (0..300).for_each(|number| serve.create(&format!("{number:0>100}")));
    let list = request("VolumeDriver.List", "{}");
    let answer = serve.call("VolumeDriver.List", "{}");
    let before = held(&serve);
    let deaf: Vec<(Client, usize)> = (0..32)
        .map(|_| {
            let mut client = Client::connect(&serve.socket);
            client.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            // Until nothing more is taken.
            let mut sent = 0;
            while sent < 10_000 {
                match client.stream.write(list.as_bytes()) {
                    Ok(length) if length == list.len() => sent += 1,
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(sent < 10_000, "the driver reads on though nobody reads from it");
            (client, sent)
        })
        .collect();
    serve.create("other");
    serve.remove("other");
    let after = held(&serve);
    let each = after.0.saturating_sub(before.0) * 1024 / deaf.len() as u64;
    println!("{each} bytes for each; an answer has {}: {before:?} {after:?}", answer.body.len());
    assert!(each < 8 * answer.body.len() as u64 + (EACH_KIB << 10), "{each}");
    // Who reads after all gets what it asked for.
    for (mut client, sent) in deaf {
        (0..sent.min(3)).for_each(|_| assert_eq!(client.answer(), Some(answer.clone())));
    }
    serve.stop();
}
