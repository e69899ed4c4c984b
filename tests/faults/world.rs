//! A fresh root with neighbours, and drivers in this process that serve it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dirvol::store::{Init, Scope, Settings, Step};
use dirvol::volume::options::Options;
use dirvol::volume::{self, Driver, VolumeName};

use crate::expect::listing;
use crate::harness::{Setup, eventually};
use crate::operations::{On, Operation, RETENTION, open, parsed};

/// What is done before a step; an error makes the step fail.
pub type Hook = Box<dyn FnMut(&Step<'_>) -> io::Result<()> + Send>;

/// A root and a state directory, which last as long as this does.
pub struct World {
    pub setup: Setup,
    driver: Option<Driver>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl World {
    /// All that `operation` needs to be there before it, and a driver that is ready
    /// for it.
    pub fn before(operation: &Operation) -> Self {
        let mut world = Self { setup: in_memory(), driver: None, hook: Arc::default() };
        fs::create_dir(world.root()).unwrap();
        fs::create_dir_all(world.elsewhere().join("a")).unwrap();
        fs::write(world.elsewhere().join("a/file"), "of somebody else").unwrap();
        if operation.on != On::Nothing {
            world.reopen();
            world.create("neighbour", &[("mode", "0750")]);
            world.create_and_remove("old", &[]);
            (operation.set_up)(&world);
        }
        world.renew();
        if operation.on == On::Served {
            world.open();
        }
        world
    }

    pub fn root(&self) -> PathBuf {
        self.setup.root()
    }

    /// Where directories lie that are volumes where they are.
    pub fn elsewhere(&self) -> PathBuf {
        self.root().with_file_name("elsewhere")
    }

    pub fn driver(&self) -> &Driver {
        self.driver.as_ref().expect("it is ended only to begin another")
    }

    /// Ends the driver.
    pub fn close(&mut self) {
        self.driver = None;
    }

    /// Begins another driver, which has not opened the root yet and knows nothing.
    pub fn renew(&mut self) {
        self.close();
        self.hook = Arc::default();
        let hook = Arc::clone(&self.hook);
        self.driver = Some(Driver::new(volume::Settings {
            root: Settings {
                path: self.root(),
                state_dir: self.setup.state(),
                init: Init::Auto,
                scope: Scope::Local,
                accept: None,
                plugin: false,
                node: None,
                unusable: None,
                probe: Some(Arc::new(move |step: &Step<'_>| {
                    // A step that is the last one of an operation leaves by a panic.
                    let mut hook = hook.lock().unwrap_or_else(PoisonError::into_inner);
                    hook.as_mut().map_or(Ok(()), |hook| hook(step))
                })),
            },
            retention: RETENTION,
            defaults: Options::default(),
            bind_roots: vec![self.elsewhere()],
            fixture: None,
        }));
    }

    /// Has another driver open the root.
    pub fn reopen(&mut self) {
        self.renew();
        self.open();
    }

    /// Opens the root, where it is not open: its last process may be ending still, and
    /// one that another thread just begins holds our lock until it is its own program.
    pub fn open(&self) {
        let mut why = String::new();
        eventually("the root is opened", || {
            open(self.driver()).map_err(|error| why = error).ok()?;
            self.driver().unavailable().is_none().then_some(())
        });
    }

    /// Sets what is done before each step from now on.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Creates a volume that holds something.
    pub fn create(&self, name: &str, options: &[(&str, &str)]) {
        let volume = VolumeName::new(name).unwrap();
        self.driver().create(&volume, &parsed(options)).unwrap();
        let data = self.driver().mountpoint(&volume);
        fs::create_dir(data.join("sub")).unwrap();
        fs::write(data.join("sub/file"), format!("what {name} holds")).unwrap();
    }

    /// Creates such a volume, and moves it to the trash.
    pub fn create_and_remove(&self, name: &str, options: &[(&str, &str)]) {
        self.create(name, options);
        self.driver().remove(&VolumeName::new(name).unwrap()).unwrap();
    }

    /// All that is in the root, byte for byte, and what must not change beside it. The
    /// names in `places/` are left out, of which there may be too many.
    pub fn listing(&self) -> Vec<String> {
        let mut lines = listing(&self.root());
        lines.retain(|line| !line.starts_with("places/"));
        lines
            .extend(listing(&self.elsewhere()).into_iter().map(|line| format!("elsewhere/{line}")));
        let here = self.setup.dir.path().to_str().unwrap();
        lines.into_iter().map(|line| line.replace(here, "<dir>")).collect()
    }

    /// The names in a directory of the root or the state directory, in order.
    pub fn names(&self, dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Lies in memory where there is some: syncs cost nothing there.
pub fn in_memory() -> Setup {
    let mut setup = Setup::new().log_level("warn");
    let memory = tempfile::Builder::new().prefix("dirvol-test-").tempdir_in("/dev/shm");
    if let Ok(dir) = memory {
        setup.dir = dir;
    }
    setup
}
