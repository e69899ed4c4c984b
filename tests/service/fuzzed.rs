//! The targets of `fuzz/` on any toolchain: their corpus, and inputs made of it. What is
//! made is the same in each run. `make fuzz` is what looks for new ones.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use crate::harness::project;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// How many inputs are made of each seed.
const MUTATIONS: u64 = 400;

/// xorshift64*: the same numbers for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end.max(1)
    }
}

/// What is put in where something else was.
const WORDS: [&[u8]; 16] = [
    b"\0",
    b"\n",
    b"\x1b[2J",
    b"\xff",
    b"\xc2\x85",
    b"..",
    b"/",
    b"~",
    b"\\u0000",
    b"\\040",
    b"{",
    b"\"",
    b"-1",
    b"18446744073709551616",
    b"9.999999999999999E",
    b"Name",
];

/// Makes another input of `seed`: up to eight of a few simple changes.
fn mutated(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(8) {
        let at = numbers.below(bytes.len() + 1);
        let end = at + numbers.below(bytes.len() + 1 - at);
        match numbers.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, WORDS[numbers.below(WORDS.len())].iter().copied())),
            3 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => {
                let from = numbers.below(other.len() + 1);
                drop(bytes.splice(at..end, other[from..].iter().copied()));
            }
            _ => bytes.truncate(bytes.len().min(at.max(1))),
        }
    }
    bytes
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = project("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn whatever_is_thrown_at_a_reader_it_reads_or_refuses_in_one_line() {
    for (target, run) in targets::TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target}");
        let mut numbers = Numbers(0x5eed);
        for (path, seed) in &seeds {
            run(seed);
            for _ in 0..MUTATIONS {
                let other = &seeds[numbers.below(seeds.len())].1;
                let input = mutated(seed, other, &mut numbers);
                let ran = catch_unwind(|| run(&input));
                assert!(ran.is_ok(), "{target}, from {}: {:?}", path.display(), input.as_slice());
            }
        }
    }
}

/// A corpus that no target has, and a target that is nowhere built, test nothing.
#[test]
fn each_target_has_its_corpus_and_its_program() {
    let names = |dir: &str| {
        let entries = fs::read_dir(project(dir)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect();
        names.sort();
        names
    };
    let targets = targets::TARGETS.map(|(name, _)| name);
    assert_eq!(names("fuzz/corpus"), targets);
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    let manifest = fs::read_to_string(project("fuzz/Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}
