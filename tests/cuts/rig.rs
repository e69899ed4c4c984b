//! The driver in this process, whose every step on the disk can be stopped at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dirvol::store::{Init, Scope, Settings, Step};
use dirvol::volume::availability::Change;
use dirvol::volume::options::Options;
use dirvol::volume::{self, Driver, Fixture, VolumeName};

use crate::found;
use crate::ledger::{self, Ledger, Spec};

/// What is done before a step; an error makes the step fail.
pub type Hook = Box<dyn FnMut(&Step<'_>) -> io::Result<()> + Send>;

/// A driver, with a hook before each of its steps.
pub struct Rig {
    pub driver: Driver,
    pub root: PathBuf,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Rig {
    /// A driver for `root` that has not opened it yet. Entries of the trash are
    /// due as soon as the clock has passed on.
    pub fn new(root: &Path, state: &Path) -> Self {
        let hook: Arc<Mutex<Option<Hook>>> = Arc::default();
        let hooked = Arc::clone(&hook);
        let driver = Driver::new(volume::Settings {
            root: Settings {
                path: root.to_path_buf(),
                state_dir: state.to_path_buf(),
                init: Init::Auto,
                scope: Scope::Local,
                accept: None,
                plugin: false,
                node: None,
                unusable: None,
                probe: Some(Arc::new(move |step: &Step<'_>| {
                    hooked.lock().unwrap().as_mut().map_or(Ok(()), |hook| hook(step))
                })),
            },
            retention: Duration::from_nanos(1),
            defaults: Options::default(),
            bind_roots: Vec::new(),
            fixture: None,
        });
        Self { driver, root: root.to_path_buf(), hook }
    }

    /// Opens the root, which must succeed.
    pub fn open(&self) {
        let change = self.driver.check();
        assert!(matches!(change, Some(Change::Opened { .. })), "{change:?}");
    }

    /// Runs `operation` with `hook` before each of its steps.
    pub fn hooked<T>(
        &self,
        hook: impl FnMut(&Step<'_>) -> io::Result<()> + Send + 'static,
        operation: impl FnOnce() -> T,
    ) -> T {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
        let done = operation();
        *self.hook.lock().unwrap() = None;
        done
    }

    pub fn create(&self, ledger: &Ledger, name: &str, spec: &Spec) {
        let stated = spec.stated();
        let pairs = stated.iter().map(|(key, value)| (*key, value.as_str()));
        let options = Options::parse(pairs, Fixture::Off).unwrap();
        let change = ledger::Change::Create(spec.clone());
        ledger.change(name, change, || self.driver.create(&volume(name), &options)).unwrap();
    }

    pub fn remove(&self, ledger: &Ledger, name: &str) {
        ledger.change(name, ledger::Change::Remove, || self.driver.remove(&volume(name))).unwrap();
    }

    pub fn set_mode(&self, ledger: &Ledger, name: &str, mode: u32) {
        let options = Options { mode: Some(mode), ..Options::default() };
        let set = || self.driver.set(&volume(name), &options);
        ledger.change(name, ledger::Change::Set(mode), set).unwrap();
    }

    /// Makes `name` a copy of the volume `from`.
    pub fn clone(&self, ledger: &Ledger, from: &str, name: &str) {
        let original = ledger.known(from).volume.unwrap();
        let options = Options { from: Some(volume(from)), ..Options::default() };
        let change = ledger::Change::Create(Spec { from: Some(from.into()), ..original });
        ledger.change(name, change, || self.driver.create(&volume(name), &options)).unwrap();
    }

    /// Restores the one entry of `name` in the trash.
    pub fn restore(&self, ledger: &Ledger, name: &str) {
        let restore = || self.driver.restore(name, None);
        ledger.change(name, ledger::Change::Restore, restore).unwrap();
    }

    /// Writes into the volume as its user would.
    pub fn write(&self, ledger: &Ledger, name: &str, text: &str) {
        let data = self.root.join("volumes").join(name).join("data");
        ledger.change(name, ledger::Change::Write(text.into()), || found::write(&data, text));
    }

    /// Purges everything in the trash, which must be of `name` alone, and deletes
    /// everything that nobody needs.
    pub fn collect(&self, ledger: &Ledger, name: &str) {
        let report = ledger.change(name, ledger::Change::Purge, || self.driver.collect());
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert!(found::entries(&self.root.join("trash")).is_empty());
        assert!(found::entries(&self.root.join("staging")).is_empty());
    }
}

/// The name of a volume, checked.
pub fn volume(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

/// Makes the directory of a root.
pub fn make_root(root: &Path) {
    fs::create_dir(root).unwrap();
}
