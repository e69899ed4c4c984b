//! The steps of an operation, written down without what is chance in them.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dirvol::store::Step;
use tempfile::TempDir;

use crate::harness::temporary;
use crate::ledger::Ledger;
use crate::rig::{Rig, make_root};

/// A rig whose steps are written down.
pub struct Traced {
    pub rig: Rig,
    pub ledger: Ledger,
    pub dir: TempDir,
}

impl Traced {
    pub fn new() -> Self {
        let dir = temporary();
        make_root(&dir.path().join("root"));
        Self::on(dir)
    }

    pub fn on(dir: TempDir) -> Self {
        let rig = Rig::new(&dir.path().join("root"), &dir.path().join("state"));
        Self::of(rig, dir)
    }

    pub fn of(rig: Rig, dir: TempDir) -> Self {
        Self { rig, ledger: Ledger::default(), dir }
    }

    pub fn opened() -> Self {
        let traced = Self::new();
        traced.rig.open();
        traced
    }

    /// The steps of an operation.
    pub fn steps(&self, operation: impl FnOnce(&Rig, &Ledger)) -> Vec<String> {
        let steps: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, root) = (Arc::clone(&steps), self.rig.root.clone());
        let hook = move |step: &Step<'_>| -> io::Result<()> {
            seen.lock().unwrap().push(shown(step, &root));
            Ok(())
        };
        self.rig.hooked(hook, || operation(&self.rig, &self.ledger));
        in_order(std::mem::take(&mut *steps.lock().unwrap()))
    }
}

/// A step as its operation and the path that it is made to, from the root on.
fn shown(step: &Step<'_>, root: &Path) -> String {
    let below = step.path.strip_prefix(root).unwrap();
    let parts: Vec<String> =
        below.iter().map(|part| without_chance(part.to_str().unwrap())).collect();
    let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    format!("{} {path}", step.op)
}

fn without_chance(part: &str) -> String {
    let is_token =
        |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A device and an inode, of a file with more than one name.
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_inode =
        |part: &str| part.split_once('-').is_some_and(|(one, two)| is_hex(one) && is_hex(two));
    match part.split('~').collect::<Vec<_>>()[..] {
        [name, seconds, token] if seconds.parse::<u64>().is_ok() && is_token(token) => {
            format!("{name}~<time>~<token>")
        }
        [token] if is_token(token) => "<token>".to_owned(),
        [inode] if is_inode(inode) => "<inode>".to_owned(),
        _ => part.to_owned(),
    }
}

/// Brings the steps that delete into one order, for that in which a directory
/// lists its names is the file system's own. What is in a directory stays before
/// the directory.
fn in_order(mut steps: Vec<String>) -> Vec<String> {
    let deletes = |step: &String| step.starts_with("unlinkat staging/");
    for run in steps.chunk_by_mut(|one, next| deletes(one) && deletes(next)) {
        run.sort_by(|one, next| next.cmp(one));
    }
    steps
}
