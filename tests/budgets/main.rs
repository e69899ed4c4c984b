//! What the release binary costs, held below the ceilings of `docs/budgets.md`: no clock
//! is in what is counted. Needs the binary that `make build` makes.
//! With `BUDGETS_PRINT=1` the document's rows are printed as they would be now.

// The ceilings are those of this architecture.
#![cfg(target_arch = "x86_64")]

#[path = "../harness/mod.rs"]
mod harness;

mod alone;
mod document;
mod requests;
mod resident;
mod size;
mod trace;

use std::path::PathBuf;

/// The binary that is shipped.
fn binary() -> PathBuf {
    let binary = harness::project("target/x86_64-unknown-linux-gnu/release/dirvol");
    assert!(binary.exists(), "run 'make build' first");
    binary
}
