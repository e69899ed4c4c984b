//! The real binary, with strace: also what the probe does not see, such as reads, the
//! opening of directories and their listing, and the state directory.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;

use crate::harness::{Client, Serve, eventually, try_get};
use crate::judge::{Ending, Ends};
use crate::operations::{OPERATIONS, Operation, Real};
use crate::strace::{Injected, Nth, Tracing, calls, was_injected};
use crate::world::World;

/// How many cases the short form tries.
const SAMPLE: usize = 60;

/// How many are tried at once.
const WORKERS: usize = 2;

/// What is injected into a call that changes something; the first two into others.
const INJECTED: [Injected; 5] = [
    Injected::Error("EIO"),
    Injected::Kill,
    Injected::Error("ENOSPC"),
    Injected::Error("EROFS"),
    Injected::Error("EDQUOT"),
];

/// One operation, one of its calls, and what happens there.
type Case = (&'static Operation, Nth, Injected);

#[test]
fn whichever_system_call_of_the_real_binary_fails_a_volume_is_there_wholly_or_not_at_all() {
    let seed = env::var("FAULTS_SEED").map_or_else(
        |_| RandomState::new().hash_one(0),
        |seed| seed.parse().expect("FAULTS_SEED is a number"),
    );
    let ends: BTreeMap<&str, Ends> =
        real().map(|operation| (operation.name, Ends::of(operation))).collect();
    let (mut cases, mut counts) = (Vec::new(), BTreeMap::new());
    for operation in real() {
        let (calls, all) = all(operation);
        counts.insert(operation.name, (calls, all.len()));
        cases.extend(all);
    }
    let of_all = cases.len();
    if env::var("FAULTS").as_deref() != Ok("all") {
        cases = sample(cases, seed);
    }
    let tried = cases.len();
    let (queue, failures, hit) = (Mutex::new(cases), Mutex::new(Vec::new()), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((operation, nth, injected)) = next(&queue) {
                    match case(operation, &ends[operation.name], &nth, injected) {
                        Ok(was_hit) => *hit.lock().unwrap() += usize::from(was_hit),
                        Err(why) => failures.lock().unwrap().push(format!(
                            "{}, {} {}, {injected:?}: {why}",
                            operation.name, nth.name, nth.number
                        )),
                    }
                }
            });
        }
    });
    let (failures, hit) = (failures.into_inner().unwrap(), hit.into_inner().unwrap());
    println!("{tried} cases of {of_all}, FAULTS_SEED={seed}; {hit} were injected as recorded");
    println!("system calls and cases of each operation: {counts:?}");
    assert!(
        failures.is_empty(),
        "{} of {tried}, FAULTS_SEED={seed}:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // Where none is, nothing was tried.
    assert!(hit > tried / 2, "only {hit} of {tried} were injected, FAULTS_SEED={seed}");
}

fn next(queue: &Mutex<Vec<Case>>) -> Option<Case> {
    queue.lock().unwrap().pop()
}

/// The operations that the real binary can be asked for.
fn real() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(|operation| !matches!(operation.real, Real::Unasked))
}

/// As many of `cases` as the short form tries, drawn by `seed`.
fn sample(mut cases: Vec<Case>, seed: u64) -> Vec<Case> {
    let mut state = seed | 1;
    let mut drawn = Vec::new();
    while drawn.len() < SAMPLE && !cases.is_empty() {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = usize::try_from(state % cases.len() as u64).unwrap();
        drawn.push(cases.swap_remove(at));
    }
    drawn
}

/// How many system calls an operation has on the disk, and the cases that those make.
fn all(operation: &'static Operation) -> (usize, Vec<Case>) {
    let mut world = World::before(operation);
    let tracing = Tracing { output: world.setup.path("trace"), inject: None };
    assert_eq!(make(operation, &mut world, &tracing), Some(Ok(())), "{}", operation.name);
    let calls: BTreeSet<Nth> = calls(&tracing.output, world.setup.dir.path()).into_iter().collect();
    assert!(!calls.is_empty(), "{} made no call", operation.name);
    let injected = |nth: &Nth| if changes(&nth.name) { &INJECTED[..] } else { &INJECTED[..2] };
    let cases = calls.iter().flat_map(|nth| {
        injected(nth).iter().map(move |injected| (operation, nth.clone(), *injected))
    });
    (calls.len(), cases.collect())
}

/// Whether a call of that name may change something.
fn changes(name: &str) -> bool {
    let changing =
        ["mkdir", "open", "write", "sync", "rename", "unlink", "chmod", "chown", "utime"];
    changing.iter().any(|part| name.contains(part))
}

/// Makes an operation, of which something fails, and judges what it left; returns
/// whether it did fail.
fn case(
    operation: &'static Operation,
    ends: &Ends,
    nth: &Nth,
    injected: Injected,
) -> Result<bool, String> {
    let mut world = World::before(operation);
    let tracing = Tracing { output: world.setup.path("trace"), inject: Some((nth, injected)) };
    let answer = make(operation, &mut world, &tracing);
    // One that is killed may be so before strace has written of it.
    let hit = answer.is_none() || was_injected(&tracing.output);
    world.reopen();
    let full = injected == Injected::Error("ENOSPC");
    ends.judge(operation, &mut world, &Ending { answer, full, reopened: true })?;
    Ok(hit)
}

/// Makes an operation with the real binary, and ends that. Returns its answer, or
/// `None` where there was none.
fn make(
    operation: &Operation,
    world: &mut World,
    tracing: &Tracing<'_>,
) -> Option<Result<(), String>> {
    world.close();
    match operation.real {
        Real::Call(method, body) => call(world, tracing, method, body),
        Real::Serve => serve(world, tracing),
        Real::Init => init(world, tracing),
        Real::Unasked => unreachable!("it is not among those that are made"),
    }
}

fn call(
    world: &World,
    tracing: &Tracing<'_>,
    method: &str,
    body: &str,
) -> Option<Result<(), String>> {
    let serve = world.setup.serve();
    // The thread that makes it will be one that waits for work.
    serve.ok("VolumeDriver.List", "{}");
    let attached = tracing.attach(serve.pid(), &blocking(&serve));
    let answer = Client::connect(&serve.socket).call(method, body);
    drop(attached);
    serve.kill();
    let answer = answer?;
    // A purge answers of each entry, and why it stays.
    let kept = answer.body.contains(r#""Kept":[{"#);
    Some(if answer.status == 200 && !kept { Ok(()) } else { Err(answer.body) })
}

/// The threads on which a driver waits for its disk.
fn blocking(serve: &Serve) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", serve.pid())).unwrap();
    let threads: Vec<u32> = tasks
        .map(|task| task.unwrap())
        .filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with("tokio"))
        })
        .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
        .collect();
    assert!(!threads.is_empty(), "the driver has no thread that waits for work");
    threads
}

fn serve(world: &World, tracing: &Tracing<'_>) -> Option<Result<(), String>> {
    let mut command = tracing.of(&world.setup.command(), &paths(world));
    world.setup.log_to(&mut command);
    let mut child = Running(command.spawn().unwrap());
    let socket = world.setup.socket();
    let answer = eventually("it is said whether the root is served", || {
        if child.0.try_wait().unwrap().is_some() {
            return Some(None);
        }
        UnixStream::connect(&socket).ok()?;
        let health = try_get(&socket, "/healthz")?;
        match health.status {
            200 => Some(Some(Ok(()))),
            _ if health.body.contains("being opened") => None,
            _ => Some(Some(Err(health.body))),
        }
    });
    drop(child);
    ended(&tracing.output);
    answer
}

fn init(world: &World, tracing: &Tracing<'_>) -> Option<Result<(), String>> {
    let mut init = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    init.arg("init").arg(world.root());
    let output = tracing.of(&init, &paths(world)).output().unwrap();
    ended(&tracing.output);
    // A process that was killed has no code.
    output.status.code()?;
    let said = String::from_utf8(output.stderr).unwrap();
    Some(if output.status.success() { Ok(()) } else { Err(said.trim_end().to_owned()) })
}

/// What making and opening a root is about.
fn paths(world: &World) -> Vec<PathBuf> {
    let (root, state) = (world.root(), world.setup.state());
    let in_root = ["lock", "dirvol.json", "dirvol.json.new", "volumes", "staging", "trash"];
    let in_state = ["seen", "root-id", "root-id.new"];
    let of_root = in_root.iter().map(|name| root.join(name));
    let of_state = in_state.iter().map(|name| state.join(name));
    [root.clone(), state.clone()].into_iter().chain(of_root).chain(of_state).collect()
}

/// Waits until strace has written everything of a process that has ended.
fn ended(output: &Path) {
    eventually("strace has ended", || {
        let trace = fs::read_to_string(output).ok()?;
        trace.lines().last()?.contains("+++ ").then_some(())
    });
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}
