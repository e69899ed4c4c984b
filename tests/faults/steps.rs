//! In this process, with the probe: all steps that change the disk, each error, each
//! for how long it lasts, and a crash.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use dirvol::store::Step;
use nix::errno::Errno;

use crate::judge::{Ending, Ends};
use crate::operations::{OPERATIONS, On, Operation};
use crate::world::World;

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It fails, for as long as is said.
    Fails(Errno, Lasting),
    /// The operation ends there, and nothing after it happens.
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    /// It alone.
    Once,
    /// And each further one of its kind.
    Kind,
    /// And all that comes after it.
    All,
}

/// How many operations are tried at once.
const WORKERS: usize = 2;

const ERRORS: [Errno; 4] = [Errno::EIO, Errno::ENOSPC, Errno::EROFS, Errno::EDQUOT];

/// Who opens the root again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// A new driver.
    Another,
    /// The one that it happened to, once the disk is well.
    Same,
}

/// The steps of an operation, and what came of them.
#[derive(Debug, Default)]
struct Seen {
    /// Each step's operation, and the path that it is made to.
    steps: Vec<(&'static str, PathBuf)>,
    /// The paths of the syncs that failed.
    unsynced: Vec<PathBuf>,
    /// Those of them that were tried again.
    retried: Vec<PathBuf>,
}

#[test]
fn whichever_step_fails_a_volume_is_there_wholly_or_not_at_all() {
    let operations = Mutex::new(OPERATIONS.iter());
    let (counts, failures) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    let next = || operations.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(operation) = next() {
                    let (count, failed) = try_all(operation);
                    counts.lock().unwrap().insert(operation.name, count);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let (counts, failures) = (counts.into_inner().unwrap(), failures.into_inner().unwrap());
    let tried: usize = counts.values().map(|(_, cases)| cases).sum();
    println!("{tried} cases; steps and cases of each operation: {counts:?}");
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
}

/// Tries all cases of an operation. Returns how many steps it has and how many cases
/// those make, and what went wrong.
fn try_all(operation: &Operation) -> ((usize, usize), Vec<String>) {
    let (ends, steps) = (Ends::of(operation), steps_of(operation));
    let cases: Vec<_> = all(steps.len()).collect();
    let mut failures = Vec::new();
    for (at, again, fault) in &cases {
        if let Err(why) = case(operation, &ends, *at, *fault, *again) {
            let (name, op) = (operation.name, steps[*at].0);
            failures.push(format!("{name}, step {at} ({op}), {fault:?}, {again:?}: {why}"));
        }
    }
    ((steps.len(), cases.len()), failures)
}

fn all(steps: usize) -> impl Iterator<Item = (usize, Again, Fault)> {
    let lasting = [Lasting::Once, Lasting::Kind, Lasting::All];
    let errors = ERRORS.into_iter().flat_map(move |errno| {
        lasting.into_iter().map(move |lasting| Fault::Fails(errno, lasting))
    });
    let once = ERRORS.map(|errno| (Again::Same, Fault::Fails(errno, Lasting::Once)));
    let ways: Vec<(Again, Fault)> =
        errors.chain([Fault::Crash]).map(|fault| (Again::Another, fault)).chain(once).collect();
    (0..steps)
        .flat_map(move |at| ways.clone().into_iter().map(move |(again, fault)| (at, again, fault)))
}

fn steps_of(operation: &Operation) -> Vec<(&'static str, PathBuf)> {
    let world = World::before(operation);
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let watched = Arc::clone(&seen);
    world.set_hook(Some(Box::new(move |step| {
        watched.lock().unwrap().steps.push((step.op, step.path.to_path_buf()));
        Ok(())
    })));
    (operation.run)(world.driver()).unwrap();
    std::mem::take(&mut seen.lock().unwrap().steps)
}

fn case(
    operation: &Operation,
    ends: &Ends,
    at: usize,
    fault: Fault,
    again: Again,
) -> Result<(), String> {
    let mut world = World::before(operation);
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let watched = Arc::clone(&seen);
    world.set_hook(Some(Box::new(move |step| {
        let mut seen = watched.lock().unwrap_or_else(PoisonError::into_inner);
        before_step(&mut seen, step, at, fault)
    })));
    let ended = catch_unwind(AssertUnwindSafe(|| (operation.run)(world.driver())));
    let answer = match ended {
        Ok(answer) => Some(answer),
        Err(panic) if panic.is::<Crash>() => None,
        Err(panic) => resume_unwind(panic),
    };
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let lost = world.driver().unavailable();
    if let (Fault::Fails(errno, _), Some(Err(why))) = (fault, &answer)
        && !why.contains(&io::Error::from(errno).to_string())
    {
        return Err(format!("the answer does not say what failed: {why}"));
    }
    if !seen.retried.is_empty() {
        return Err(format!("synced again: {:?}", seen.retried));
    }
    if operation.on == On::Served
        && let Some(path) = seen.unsynced.iter().find(|path| ends_the_root(&world.root(), path))
    {
        let refused = world.driver().list().is_err();
        if lost.is_none() || !refused {
            return Err(format!("the root is served although {} was not synced", path.display()));
        }
    }
    world.set_hook(None);
    let reopened = again == Again::Another || lost.is_some();
    match again {
        Again::Another => world.reopen(),
        Again::Same => world.open(),
    }
    let full = matches!(fault, Fault::Fails(Errno::ENOSPC, _));
    ends.judge(operation, &mut world, &Ending { answer, full, reopened })
}

/// What the operation ends with, when it ends at a step.
struct Crash;

fn before_step(seen: &mut Seen, step: &Step<'_>, at: usize, fault: Fault) -> io::Result<()> {
    let number = seen.steps.len();
    let this = (step.op, step.path.to_path_buf());
    if step.op == "write" {
        // It is another file, of the same name.
        seen.unsynced.retain(|path| path != step.path);
    }
    if step.op == "fsync" && seen.unsynced.contains(&this.1) {
        seen.retried.push(this.1.clone());
    }
    let kind = |step: &(&'static str, PathBuf)| (step.0, place(&step.1));
    let like_first = seen.steps.get(at).map(kind) == Some(kind(&this));
    seen.steps.push(this);
    let Fault::Fails(errno, lasting) = fault else {
        if number >= at {
            resume_unwind(Box::new(Crash));
        }
        return Ok(());
    };
    let fails = match lasting {
        Lasting::Once => number == at,
        Lasting::Kind => number == at || number > at && like_first,
        Lasting::All => number >= at,
    };
    if !fails {
        return Ok(());
    }
    if step.op == "fsync" {
        seen.unsynced.push(step.path.to_path_buf());
    }
    Err(errno.into())
}

/// A path without what is drawn: the name of what is being built.
fn place(path: &Path) -> Vec<String> {
    let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
    let mut parts: Vec<String> = parts.collect();
    if let Some(at) = parts.iter().position(|part| part == "staging")
        && let Some(token) = parts.get_mut(at + 1)
    {
        token.clear();
    }
    parts
}

/// Whether a sync of `path` that failed leaves it open what the disk holds of a volume
/// that is there. What is being built is thrown away, and so is a record without its
/// name.
fn ends_the_root(root: &Path, path: &Path) -> bool {
    let is_new = path.extension().is_some_and(|end| end == "new");
    !path.starts_with(root.join("staging")) && !is_new
}
