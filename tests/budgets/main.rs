//! What the release binary costs, held below ceilings that no clock is in. Needs the
//! binary that `make build` makes; `docs/budgets.md` says why each ceiling is where it is.

#[path = "../harness/mod.rs"]
mod harness;

#[cfg(target_arch = "x86_64")]
mod requests;
mod resident;
#[cfg(target_arch = "x86_64")]
mod trace;

mod size;

use std::path::PathBuf;
use std::process::Command;

use harness::{Serve, Setup};

/// The binary that is shipped.
fn binary() -> PathBuf {
    let target = format!("target/{}-unknown-linux-gnu/release/dirvol", std::env::consts::ARCH);
    let binary = harness::project(&target);
    assert!(binary.exists(), "run 'make build' first");
    binary
}

/// That binary, serving, with a log as it has for real.
fn serve(setup: &Setup) -> Serve {
    std::fs::create_dir_all(setup.root()).unwrap();
    let serving = setup.command();
    let mut command = Command::new(binary());
    command.args(serving.get_args()).stdin(std::process::Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    serve
}
