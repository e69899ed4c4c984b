//! Bytes of the binary.

use std::fs;

use crate::binary;

/// A plugin's root file system is this one file, which every node pulls.
pub const BYTES: u64 = 3_500_000;

#[test]
fn the_binary_is_within_its_budget() {
    let size = fs::metadata(binary()).unwrap().len();
    println!("the binary: {size} of {BYTES} bytes");
    assert!(size <= BYTES, "{size} bytes, and {BYTES} are allowed");
}
