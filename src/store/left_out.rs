//! What an archive could not keep.

use std::fmt;

/// How many things are named; the others are counted.
const NAMED: usize = 8;

/// What was left out, in a few words each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    named: Vec<String>,
    count: usize,
}

impl LeftOut {
    /// Adds something, unless it is among those that are named already.
    pub(super) fn add(&mut self, what: String) {
        if self.named.contains(&what) {
            return;
        }
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(what);
        }
    }

    /// Returns whether that is nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join(", "))?;
        match self.count - self.named.len() {
            0 => Ok(()),
            others => write!(f, " and {others} more"),
        }
    }
}
