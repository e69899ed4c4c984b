//! strace on the driver: to see what it makes durable, and to kill it before it
//! does.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use crate::harness::eventually;

/// The calls that make something durable, and those that give a file its name.
const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,syncfs,sync,rename,renameat,renameat2";

const KILL: [&str; 6] =
    ["-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:signal=KILL:when=1"];

/// A process of strace, or one that it traces. Dropping it kills that.
pub struct Traced(Child);

/// Kills the process `pid` just before it syncs `path` the next time.
pub fn kill_before_sync(pid: u32, path: &Path) -> Traced {
    let mut strace = strace();
    strace.args(KILL).arg("-P").arg(path).arg("-p").arg(pid.to_string());
    let strace = Traced(strace.spawn().unwrap());
    eventually("strace has attached", || {
        let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let traced = |task: fs::DirEntry| {
            // A thread that has ended meanwhile needs no attention.
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        tasks.all(|task| traced(task.unwrap())).then_some(())
    });
    strace
}

/// Runs a command that is killed just before it syncs `path`.
pub fn run_until_sync(command: &Command, path: &Path) {
    let mut strace = strace();
    strace.args(KILL).arg("-P").arg(path);
    let mut running = Traced(under(strace, command).spawn().unwrap());
    let status = eventually("it is killed", || running.0.try_wait().unwrap());
    assert!(!status.success(), "{command:?} did not sync {}", path.display());
}

/// The command that runs `command` and writes its calls to `output`.
pub fn tracing(command: &Command, output: &Path) -> Command {
    let mut strace = strace();
    strace.arg("-y").args(["-e", CALLS]).arg("-o").arg(output);
    under(strace, command)
}

/// The calls of a command that has ended, in their order: each one's name and the
/// path, from `top` on, of the file that it is made to.
pub fn calls(output: &Path, top: &Path) -> Vec<String> {
    let trace = eventually("strace has written everything", || {
        let trace = fs::read_to_string(output).ok()?;
        let last = trace.lines().last()?;
        last.contains("+++ exited with ").then_some(trace)
    });
    trace.lines().filter_map(|line| call(line, top)).collect()
}

/// Reads a line such as `12 fsync(5</top/root/trash>) = 0` or
/// `12 renameat(4</top/root>, "a.new", 4</top/root>, "a") = 0`.
fn call(line: &str, top: &Path) -> Option<String> {
    let (_pid, rest) = line.split_once(' ')?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    let (_fd, path) = arguments.split_once('<')?;
    let (path, rest) = path.split_once('>')?;
    let below = Path::new(path).strip_prefix(top).ok()?.display();
    let file = rest.strip_prefix(", \"").and_then(|rest| rest.split_once('"'));
    Some(
        file.map_or_else(
            || format!("{name} {below}"),
            |(file, _)| format!("{name} {below}/{file}"),
        ),
    )
}

/// All threads are traced, and nothing is said that is not asked for.
fn strace() -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q"]);
    strace
}

/// Puts `command` under `strace`, which stays in the background: the process is
/// the command's, and killing it ends both.
fn under(mut strace: Command, command: &Command) -> Command {
    strace.arg("-D").arg(command.get_program()).args(command.get_args());
    strace
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}
