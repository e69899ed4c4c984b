//! Many clients at once, for as long as one likes: every answer, and what the driver
//! holds of memory, descriptors and threads meanwhile.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::events::{Event, event};
use crate::expect::{named, root_with, swept_listing, with_options};
use crate::harness::{Client, Serve, Setup};
use crate::model::Model;

const CLIENTS: usize = 64;

/// Volumes of each client, which nobody else touches.
const OWN: usize = 3;

/// Volumes of all.
const SHARED: [&str; 3] = ["shared0", "shared1", "shared2"];

/// The most that the driver may need: KiB of memory, in a debug build; descriptors above
/// those of its connections; and threads, of which 32 may wait for the disk.
const MEMORY: u64 = 65_536;
const DESCRIPTORS: usize = 300;
const THREADS: u64 = 48;

/// What the driver's process holds: `VmRSS` and `VmHWM` in KiB, descriptors, threads.
pub fn held(serve: &Serve) -> (u64, u64, usize, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{}/fd", serve.pid())).unwrap().count();
    (field("VmRSS:"), field("VmHWM:"), descriptors, field("Threads:"))
}

/// What one client does until it is over; returns what should be there of its volumes.
fn client(
    serve: &Serve,
    own: &'static [&'static str],
    over: &AtomicBool,
    calls: &AtomicU64,
) -> Model {
    let mut client = Client::connect(&serve.socket);
    let mut call = |method: &str, body: &str| {
        calls.fetch_add(1, Ordering::Relaxed);
        client.call(method, body).expect("the connection was closed").neutral()
    };
    let (mut model, mut runner) = (Model::new(&serve.root), TestRunner::default());
    let events = event(own);
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        if turn % 8 == 0 {
            shared(turn / 8, &mut call);
            continue;
        }
        let event = events.new_tree(&mut runner).unwrap().current();
        let Some((method, body)) = event.call() else { continue };
        match event {
            Event::List => {
                let answer = call(method, &body);
                let list: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                let all = list["Volumes"].as_array().unwrap().iter();
                let mine =
                    all.filter_map(|volume| own.iter().find(|name| volume["Name"] == **name));
                assert!(mine.copied().eq(model.names()), "{}", answer.body);
                continue;
            }
            // At most one entry of each volume is kept, or the trash would grow.
            Event::Remove(name) if model.keeps(name) => {
                let purge = Event::Purge(name);
                let (method, body) = purge.call().unwrap();
                assert_eq!(call(method, &body), model.answer(purge), "before {event:?}");
            }
            _ => (),
        }
        assert_eq!(call(method, &body), model.answer(event.clone()), "{event:?}");
    }
    model
}

/// One call about a volume of all, whose answer may be any that makes sense.
fn shared(turn: usize, call: &mut impl FnMut(&str, &str) -> crate::harness::Answer) {
    let name = SHARED[turn % SHARED.len()];
    let create = with_options(name, &json!({"retain": "0s"}));
    let (method, body, may) = match turn % 5 {
        0 | 1 => ("VolumeDriver.Create", create, &[200][..]),
        2 => ("VolumeDriver.Remove", named(name), &[200][..]),
        3 => ("VolumeDriver.Get", named(name), &[200, 404][..]),
        _ => ("VolumeDriver.Path", named(name), &[200, 404][..]),
    };
    let answer = call(method, &body);
    assert!(may.contains(&answer.status), "{method} {name}: {answer:?}");
}

/// `DIRVOL_TEST_SECONDS=600` is for who has ten minutes.
#[test]
fn sixty_four_clients_are_answered_as_if_each_were_alone_and_the_driver_does_not_grow() {
    let seconds =
        std::env::var("DIRVOL_TEST_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let setup = Setup::new().log_level("error");
    let serve = setup.serve();
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let (models, most) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let own = (0..OWN).map(|own| &*format!("own{number}.{own}").leak());
                let own: &'static [&'static str] = own.collect::<Vec<_>>().leak();
                let (serve, over, calls) = (&serve, &over, &calls);
                scope.spawn(move || client(serve, own, over, calls))
            })
            .collect();
        let (began, mut told, mut most) = (Instant::now(), 0, held(&serve));
        // A client that ends early has failed.
        while began.elapsed().as_secs() < seconds
            && !clients.iter().any(ScopedJoinHandle::is_finished)
        {
            thread::sleep(Duration::from_millis(100));
            let now = held(&serve);
            most = (most.0.max(now.0), now.1, most.2.max(now.2), most.3.max(now.3));
            let elapsed = began.elapsed().as_secs();
            if elapsed / 60 > told {
                told = elapsed / 60;
                let calls = calls.load(Ordering::Relaxed);
                println!("{told} min: {calls} calls; now {now:?}, at most {most:?}");
            }
        }
        over.store(true, Ordering::Relaxed);
        let models = clients.into_iter().map(|client| client.join().expect("a client failed"));
        (models.collect::<Vec<_>>(), most)
    });
    let calls = calls.into_inner();
    println!("{calls} calls in {seconds} s; KiB, peak, descriptors, threads: at most {most:?}");
    assert!(most.1 < MEMORY, "{most:?}");
    assert!(most.2 < CLIENTS + DESCRIPTORS, "{most:?}");
    assert!(most.3 <= THREADS, "{most:?}");

    SHARED.iter().for_each(|name| serve.remove(name));
    let mut names: Vec<_> = models.iter().flat_map(Model::names).collect();
    names.sort_unstable();
    assert_eq!(serve.names(), names);
    assert_eq!(swept_listing(&setup.root()), root_with(models.iter().flat_map(Model::lines)));
    let log = serve.log();
    assert!(!log.contains(" ERROR "), "{log}");
    serve.stop();
}
