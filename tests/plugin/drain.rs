//! The plugin is stopped while it is at work.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::daemon::run;
use crate::harness::{Client, eventually, request};
use crate::plugged::Plugged;

const CLIENTS: usize = 16;

/// How much is answered before the plugin is stopped.
const BEFORE: usize = 500;

/// Calls on a connection until the driver reads no more, and returns whether every
/// request that was handed over whole was answered.
fn call_to_the_end(mut client: Client, first: usize, answered: &AtomicUsize) -> bool {
    let calls = [
        ("Capabilities", "{}"),
        ("Path", r#"{"Name":"db"}"#),
        ("Get", r#"{"Name":"db"}"#),
        ("Mount", r#"{"Name":"db","ID":"x"}"#),
        ("Unmount", r#"{"Name":"db","ID":"x"}"#),
        ("List", "{}"),
    ];
    for (method, body) in calls.iter().cycle().skip(first) {
        let bytes = request(&format!("VolumeDriver.{method}"), body);
        if let Err(error) = client.stream.write_all(bytes.as_bytes()) {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            return true;
        }
        let Some(answer) = client.answer() else { return false };
        assert_eq!(answer.status, 200, "{method}: {}", answer.body);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("a cycle has no end")
}

/// A plugin that ignores SIGTERM, or hangs behind it, is killed after 10 s. dockerd
/// says which of the two it was.
#[test]
fn a_plugin_that_is_disabled_answers_every_request_and_needs_no_kill() {
    let plugged = Plugged::made_with(r#"{"debug": true}"#);
    plugged.enable();
    plugged.fill("db");
    let before = plugged.everything();
    let answered = AtomicUsize::new(0);
    let socket = plugged.socket();
    let lost: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                let (client, answered) = (Client::connect(&socket), &answered);
                scope.spawn(move || call_to_the_end(client, first, answered))
            })
            .collect();
        eventually("there is load", || (answered.load(Ordering::Relaxed) > BEFORE).then_some(()));
        plugged.disable();
        clients.into_iter().map(|client| usize::from(!client.join().unwrap())).sum()
    });
    assert_eq!(lost, 0, "of {}", answered.load(Ordering::Relaxed));
    assert_eq!(plugged.processes(), Vec::<String>::new());
    let log = plugged.daemon.log();
    let ends: Vec<&str> = ["Clean shutdown of plugin", "Force shutdown plugin"]
        .into_iter()
        .filter(|end| log.contains(end))
        .collect();
    assert_eq!(ends, ["Clean shutdown of plugin"]);
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}

/// While it is disabled, docker commands fail; they may cost no volume its labels.
#[test]
fn a_plugin_that_is_disabled_and_enabled_under_docker_commands_keeps_labels() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.fill("web");
    let before = plugged.everything();
    let (over, succeeded) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // The load ends with this guard, also when a step fails.
        let _over = Over(&over);
        let read = run("--rm -v db:/y:ro", "cat /y/file");
        let lines = ["volume inspect db web".to_owned(), "volume ls".to_owned(), read];
        for line in lines {
            let (plugged, over, succeeded) = (&plugged, &over, &succeeded);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let done = plugged.daemon.docker(&line).status.success();
                    succeeded.fetch_add(usize::from(done), Ordering::Relaxed);
                }
            });
        }
        for _ in 0..4 {
            let until = succeeded.load(Ordering::Relaxed) + 5;
            eventually("docker commands succeed", || {
                (succeeded.load(Ordering::Relaxed) >= until).then_some(())
            });
            plugged.disable();
            plugged.enable();
        }
    });
    assert_eq!(plugged.everything(), before);
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
