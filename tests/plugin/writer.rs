//! A container that writes all the time, so that a write that is lost shows.

use std::fs;
use std::path::PathBuf;

use crate::harness::eventually;
use crate::plugged::Plugged;

/// A container `writer` that writes one number after the other into the file
/// `numbers` of its volume.
pub struct Writer<'a> {
    plugged: &'a Plugged,
    file: PathBuf,
}

impl<'a> Writer<'a> {
    /// Starts it, and waits until it writes.
    pub fn start(plugged: &'a Plugged, volume: &str) -> Self {
        // Its first process ignores every signal that it can ignore.
        let options = format!("-d --name writer --stop-signal KILL -v {volume}:/x");
        // What cannot be written ends it, and is seen.
        let script = "set -e; i=0; while true; do \
            i=$((i + 1)); echo $i >> /x/numbers; sleep 0.02; done";
        plugged.daemon.shell(&options, script);
        let writer = Self::found(plugged, volume);
        writer.still_writes();
        writer
    }

    /// The one that was started before, where the engine was restarted since.
    pub fn found(plugged: &'a Plugged, volume: &str) -> Self {
        let file = plugged.root().join("volumes").join(volume).join("data/numbers");
        Self { plugged, file }
    }

    /// Asserts that on the host are all numbers up to one; returns that.
    pub fn written(&self) -> usize {
        let numbers = fs::read_to_string(&self.file).unwrap_or_default();
        let count = numbers.lines().count();
        let all: String = (1..=count).map(|number| format!("{number}\n")).collect();
        assert_eq!(numbers, all);
        count
    }

    /// Asserts that it goes on, and that no number is missing.
    pub fn still_writes(&self) {
        let before = self.written();
        eventually("the container writes", || (self.written() > before).then_some(()));
    }

    /// Ends it and removes the file, and with it what a comparison would differ in.
    pub fn end(self) {
        self.still_writes();
        self.plugged.daemon.ok("rm -f writer");
        self.written();
        fs::remove_file(&self.file).unwrap();
    }
}
