//! Cuts at any moment, while four clients create, write and remove.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::disk::{Cut, FileSystem};
use crate::harness::Client;
use crate::ledger::{Ledger, Spec};
use crate::live::{self, Live};
use crate::on_each_file_system;

on_each_file_system!(what_four_clients_were_told_holds_at_any_moment);

const CLIENTS: usize = 4;
const NAMES: usize = 5;
const CUTS: u64 = 10;
/// The longest time between two cuts: some dozens of changes.
const LONGEST: Duration = Duration::from_millis(100);

fn what_four_clients_were_told_holds_at_any_moment(fs: FileSystem) {
    let live = Live::new(fs);
    let over = AtomicBool::new(false);
    let root = live.disk.path("root");
    let cuts: Vec<Cut> = thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (live, over, root) = (&live, &over, &root);
            scope.spawn(move || {
                let mut client = Client::connect(&live.serve.socket);
                work(number, &mut client, root, &live.ledger, over);
            });
        }
        // Also when a cut fails, the clients must come to an end.
        let _over = SetOnDrop(&over);
        (0..CUTS)
            .map(|number| {
                thread::sleep(LONGEST.mul_f64(random(number)));
                live.cut(&format!("number {number} under load"))
            })
            .collect()
    });
    live.examine(&cuts);
}

/// What one client does until it is over, to names of its own: each is created,
/// with other options every time, perhaps written to, and removed.
fn work(number: usize, client: &mut Client, root: &Path, ledger: &Ledger, over: &AtomicBool) {
    for round in 0.. {
        for name in 0..NAMES {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let full = format!("client-{number}-{name}");
            let volume = ledger.known(&full).volume;
            match volume {
                None => live::create(client, ledger, &full, &spec(round + name)),
                Some(spec) if spec.payload.is_none() && (round + name) % 3 == 0 => {
                    live::write(root, ledger, &full, &format!("of round {round}"));
                }
                Some(_) => live::remove(client, ledger, &full),
            }
        }
    }
}

fn spec(variant: usize) -> Spec {
    match variant % 4 {
        0 => Spec::plain(),
        1 => Spec::owned(1000, 2000, 0o2770),
        2 => Spec::keeping_nothing(),
        _ => Spec { mode: Some(0o700), ..Spec::plain() },
    }
}

/// A number from 0 to 1, another one in every run.
fn random(salt: u64) -> f64 {
    let drawn = u32::try_from(RandomState::new().hash_one(salt) >> 32).unwrap();
    f64::from(drawn) / f64::from(u32::MAX)
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
