//! Bytes of the binary.

use std::fs;

use crate::{binary, document};

#[test]
fn the_binary_is_within_its_budget() {
    let size = fs::metadata(binary()).unwrap().len();
    document::check(&document::over("Binary, in bytes", None, &[("`dirvol`", size)]));
}
