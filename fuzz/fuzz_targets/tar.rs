#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dirvol_fuzz::tar(bytes));
