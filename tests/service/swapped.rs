//! What is swapped between the look at a directory and the deletion of what was seen:
//! here at a known step, and in [`crate::hostile`] by a thread.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dirvol::store::{Init, Probe, Scope, Settings, Step};
use dirvol::volume::{self, Driver, Options, VolumeName};
use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;

use crate::harness::Setup;
use crate::harness::hostile::Sentinel;

/// How deep the driver descends before it moves up what lies below: there is no deeper
/// way to a directory than by its name then.
const DEPTH: usize = 64;

/// A driver in this process.
fn driver(setup: &Setup, probe: Option<Probe>) -> Driver {
    let driver = Driver::new(volume::Settings {
        bind_roots: Vec::new(),
        root: Settings {
            path: setup.root(),
            state_dir: setup.state(),
            init: Init::Auto,
            scope: Scope::Local,
            accept: None,
            plugin: false,
            node: None,
            unusable: None,
            probe,
        },
        retention: Duration::ZERO,
        defaults: Options::default(),
        fixture: None,
    });
    driver.check();
    driver
}

/// Removes a volume for good while `swap` is called with the volume's data directory and
/// each step that is about to be made below it.
fn remove_while(setup: &Setup, fill: &dyn Fn(&Path), swap: fn(&Path, &Step<'_>, &Path)) {
    let root = setup.root();
    fs::create_dir(&root).unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let (hooked, aim) = (Arc::clone(&armed), setup.path("sentinel"));
    let staging = root.join("staging");
    let probe = move |step: &Step<'_>| {
        if hooked.load(Ordering::Relaxed) && step.path.starts_with(&staging) {
            let below = step.path.strip_prefix(&staging).unwrap();
            let volume: PathBuf = below.components().take(1).collect();
            swap(&staging.join(volume).join("data"), step, &aim);
        }
        Ok(())
    };
    let driver = driver(setup, Some(Arc::new(probe)));
    let name = VolumeName::new("a").unwrap();
    driver.create(&name, &Options::default()).unwrap();
    fill(&root.join("volumes/a/data"));
    driver.remove(&name).unwrap();
    armed.store(true, Ordering::Relaxed);
    let report = driver.collect();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(fs::read_dir(root.join("staging")).unwrap().count(), 0);
}

#[test]
fn a_link_in_a_directorys_place_and_a_directory_in_a_files_place_are_deleted() {
    let setup = Setup::new();
    let sentinel = Sentinel::new(setup.path("sentinel"));
    let fill = |data: &Path| {
        for number in 0..20 {
            fs::create_dir(data.join(format!("tree-{number}"))).unwrap();
            fs::write(data.join(format!("file-{number}")), "").unwrap();
        }
    };
    remove_while(&setup, &fill, |data, step, aim| {
        if step.op != "unlinkat" || step.path.parent() != Some(data) {
            return;
        }
        for number in 0..20 {
            let (tree, file) =
                (data.join(format!("tree-{number}")), data.join(format!("file-{number}")));
            if tree != step.path && fs::remove_dir(&tree).is_ok() {
                symlink(aim, tree).unwrap();
            }
            if file != step.path && fs::remove_file(&file).is_ok() {
                fs::create_dir(&file).unwrap();
                fs::write(file.join("below"), "").unwrap();
            }
        }
    });
    sentinel.assert_untouched("a removal for good");
}

#[test]
fn a_link_that_is_moved_up_in_the_place_of_a_deep_directory_is_deleted() {
    let setup = Setup::new();
    let sentinel = Sentinel::new(setup.path("sentinel"));
    let fill = |data: &Path| {
        let deep: PathBuf = std::iter::repeat_n("d", DEPTH + 5).collect();
        fs::create_dir_all(data.join(deep)).unwrap();
    };
    remove_while(&setup, &fill, |_, step, aim| {
        if step.op == "renameat" && fs::remove_dir_all(step.path).is_ok() {
            symlink(aim, step.path).unwrap();
        }
    });
    sentinel.assert_untouched("a removal for good");
}

/// To open a device does something: a watchdog begins to wait.
#[test]
fn a_device_or_a_fifo_that_takes_a_files_place_while_that_is_read_is_not_opened() {
    let setup = Setup::new();
    fs::create_dir(setup.root()).unwrap();
    let driver = driver(&setup, None);
    let name = VolumeName::new("a").unwrap();
    driver.create(&name, &Options::default()).unwrap();
    let data = setup.root().join("volumes/a/data");
    fs::write(data.join("file"), "of the volume").unwrap();
    mkfifo(&data.join("fifo"), Mode::S_IRWXU).unwrap();
    // Nobody drives it: who opens it is told so.
    let none = nix::sys::stat::makedev(60, 1);
    mknod(&data.join("device"), SFlag::S_IFCHR, Mode::S_IRWXU, none).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = fs::File::open(&data).unwrap();
            while !stop.load(Ordering::Relaxed) {
                for other in ["device", "fifo"] {
                    let flags = RenameFlags::RENAME_EXCHANGE;
                    renameat2(&dir, "file", &dir, other, flags).unwrap();
                }
            }
        });
        let read: Vec<String> = (0..3000)
            .filter_map(|_| {
                let export = driver.export(&name, true);
                export.and_then(|export| export.write(&driver, &mut Vec::new())).err()
            })
            .map(|error| error.to_string())
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(read, [""; 0]);
    });
}
