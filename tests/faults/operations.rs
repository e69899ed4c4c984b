//! The operations whose steps fail. One more is one more row.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use dirvol::store::{self, Scope};
use dirvol::volume::availability::Change;
use dirvol::volume::options::Options;
use dirvol::volume::trash::Which;
use dirvol::volume::{Driver, Fixture, VolumeName};

use crate::world::World;

/// One operation.
pub struct Operation {
    pub name: &'static str,
    /// What it is made on.
    pub on: On,
    /// Makes what it works on.
    pub set_up: fn(&World),
    /// Makes it, in this process; the error is what a person reads.
    pub run: fn(&Driver) -> Result<(), String>,
    /// Makes it with the real binary.
    pub real: Real,
    /// What may be there after it failed, or was cut off.
    pub outcomes: &'static [Outcome],
    /// Whether it may be refused once it is done.
    pub once: bool,
}

/// What an operation is made on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A root that is served, with neighbours.
    Served,
    /// A root with neighbours that is not served.
    Closed,
    /// An empty directory.
    Nothing,
}

/// How the real binary is made to do it.
#[derive(Clone, Copy)]
pub enum Real {
    /// By this call of its socket.
    Call(&'static str, &'static str),
    /// By serving.
    Serve,
    /// By `dirvol init`.
    Init,
    /// It is not, for it is nothing that one call with the program's defaults does.
    Unasked,
}

/// What a failed operation may leave, once the root was opened again.
pub enum Outcome {
    /// All as it was before.
    Before,
    /// All as it is when it is done.
    Done,
    /// All as it was before, but for the first text in the place of which the second is.
    BeforeBut(&'static [(&'static str, &'static str)]),
}

use Outcome::{Before, BeforeBut, Done};

const EITHER: &[Outcome] = &[Before, Done];

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "create",
        on: On::Served,
        set_up: |_| {},
        run: |driver| create(driver, &[]),
        real: Real::Call("VolumeDriver.Create", r#"{"Name":"a"}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "create with an owner",
        on: On::Served,
        set_up: |_| {},
        run: |driver| create(driver, &[("uid", "5"), ("gid", "7"), ("mode", "2770")]),
        real: Real::Call(
            "VolumeDriver.Create",
            r#"{"Name":"a","Opts":{"uid":"5","gid":"7","mode":"2770"}}"#,
        ),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "create of what is there",
        on: On::Served,
        set_up: |world| world.create("a", &[]),
        run: |driver| create(driver, &[]),
        real: Real::Call("VolumeDriver.Create", r#"{"Name":"a"}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "clone",
        on: On::Served,
        set_up: |world| {
            world.create("source", &[("mode", "0711")]);
            let data = world.root().join("volumes/source/data");
            symlink("sub/file", data.join("link")).unwrap();
            fs::hard_link(data.join("sub/file"), data.join("again")).unwrap();
        },
        run: |driver| create(driver, &[("from", "source")]),
        real: Real::Call("VolumeDriver.Create", r#"{"Name":"a","Opts":{"from":"source"}}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "create of a directory where it is",
        on: On::Served,
        set_up: |_| {},
        run: create_placed,
        real: Real::Unasked,
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "remove of a directory where it is",
        on: On::Served,
        set_up: |world| create_placed(world.driver()).unwrap(),
        run: |driver| driver.remove(&a()).map(drop).map_err(text),
        real: Real::Unasked,
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "a directory that was moved in",
        on: On::Served,
        set_up: |world| {
            let prepared = world.driver().prepare(&a(), &Options::default()).unwrap();
            let data = prepared.path.join("data");
            fs::create_dir(&data).unwrap();
            fs::write(data.join("file"), "precious").unwrap();
        },
        run: adopt,
        real: Real::Unasked,
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "remove",
        on: On::Served,
        set_up: |world| world.create("a", &[]),
        run: |driver| driver.remove(&a()).map(drop).map_err(text),
        real: Real::Call("VolumeDriver.Remove", r#"{"Name":"a"}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "remove for good",
        on: On::Served,
        set_up: |world| world.create("a", &[("retain", "0s")]),
        run: |driver| driver.remove(&a()).map(drop).map_err(text),
        real: Real::Call("VolumeDriver.Remove", r#"{"Name":"a"}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "mount",
        on: On::Served,
        set_up: |world| world.create("a", &[]),
        run: |driver| driver.mount(&a(), "id").map(drop).map_err(text),
        real: Real::Call("VolumeDriver.Mount", r#"{"Name":"a","ID":"id"}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "set",
        on: On::Served,
        set_up: |world| world.create("a", &[]),
        run: |driver| set(driver, &[("protect", "true")]),
        real: Real::Call("Dirvol.Set", r#"{"Name":"a","Opts":{"protect":"true"}}"#),
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "set an owner",
        on: On::Served,
        set_up: |world| world.create("a", &[]),
        run: |driver| set(driver, &[("uid", "5"), ("mode", "0700")]),
        real: Real::Call("Dirvol.Set", r#"{"Name":"a","Opts":{"uid":"5","mode":"0700"}}"#),
        // What the record says has been done; what it does not say yet may have been.
        outcomes: &[
            Before,
            BeforeBut(&[("volumes/a/data/ 0755 0:0", "volumes/a/data/ 0755 5:0")]),
            BeforeBut(&[("volumes/a/data/ 0755 0:0", "volumes/a/data/ 0700 5:0")]),
            Done,
        ],
        once: false,
    },
    Operation {
        name: "restore",
        on: On::Served,
        set_up: |world| world.create_and_remove("a", &[]),
        run: |driver| driver.restore("a", None).map(drop).map_err(text),
        real: Real::Call("Dirvol.TrashRestore", r#"{"Entry":"a"}"#),
        outcomes: EITHER,
        once: true,
    },
    Operation {
        name: "restore under another name",
        on: On::Served,
        set_up: |world| world.create_and_remove("a", &[]),
        run: |driver| driver.restore("a", VolumeName::new("b")).map(drop).map_err(text),
        real: Real::Call("Dirvol.TrashRestore", r#"{"Entry":"a","Name":"b"}"#),
        // The record is replaced while it is in the trash, where nobody goes by its name.
        outcomes: &[Before, BeforeBut(&[(r#"\"name\":\"a\""#, r#"\"name\":\"b\""#)]), Done],
        once: true,
    },
    Operation {
        name: "purge",
        on: On::Served,
        set_up: |world| world.create_and_remove("a", &[]),
        run: |driver| {
            for entry in driver.to_purge(&Which::One("a".into())).map_err(text)? {
                driver.purge(&entry).map_err(text)?.map_or(Ok(()), Err)?;
            }
            Ok(())
        },
        real: Real::Call("Dirvol.TrashPurge", r#"{"Entry":"a"}"#),
        outcomes: EITHER,
        once: true,
    },
    Operation {
        name: "expiry",
        on: On::Served,
        set_up: |world| world.create_and_remove("a", &[("retain", "1ns")]),
        run: collect,
        real: Real::Unasked,
        // It is over by the time that the root was opened again.
        outcomes: &[Done],
        once: false,
    },
    Operation {
        name: "deletion",
        on: On::Served,
        set_up: |world| {
            world.create("a", &[("retain", "0s")]);
            world.driver().remove(&a()).unwrap();
        },
        run: collect,
        real: Real::Unasked,
        outcomes: &[Done],
        once: false,
    },
    Operation {
        name: "open",
        on: On::Closed,
        set_up: |world| world.create("a", &[]),
        run: open,
        real: Real::Serve,
        outcomes: EITHER,
        once: false,
    },
    Operation {
        name: "open of a new root",
        on: On::Nothing,
        set_up: |_| {},
        run: open,
        real: Real::Serve,
        // Opening it again makes it.
        outcomes: &[Done],
        once: false,
    },
    Operation {
        name: "init",
        on: On::Nothing,
        set_up: |_| {},
        run: |driver| store::init(driver.root_path(), Scope::Local).map(drop).map_err(text),
        real: Real::Init,
        outcomes: &[Done],
        once: false,
    },
];

/// The volume that operations are made on.
fn a() -> VolumeName {
    VolumeName::new("a").unwrap()
}

fn create(driver: &Driver, options: &[(&str, &str)]) -> Result<(), String> {
    driver.create(&a(), &parsed(options)).map(drop).map_err(text)
}

fn create_placed(driver: &Driver) -> Result<(), String> {
    let place = driver.root_path().with_file_name("elsewhere").join("a");
    create(driver, &[("path", place.to_str().unwrap())])
}

/// Finishes what waits to be the volume, or is it already.
fn adopt(driver: &Driver) -> Result<(), String> {
    let waiting = fs::read_dir(driver.root_path().join("adopting")).unwrap().next();
    let token = waiting.map(|token| token.unwrap().file_name().into_string().unwrap());
    let data = driver.root_path().join("volumes/a/data");
    let inode = fs::metadata(data).map_or(0, |data| data.ino());
    driver.adopt(&a(), &token.unwrap_or_default(), inode).map_err(text)
}

fn set(driver: &Driver, options: &[(&str, &str)]) -> Result<(), String> {
    driver.set(&a(), &parsed(options)).map(drop).map_err(text)
}

fn collect(driver: &Driver) -> Result<(), String> {
    let report = driver.collect();
    if report.failed.is_empty() { Ok(()) } else { Err(report.failed.join("; ")) }
}

/// Opens the root, where it is not open.
pub fn open(driver: &Driver) -> Result<(), String> {
    match driver.check() {
        Some(Change::Lost { reason }) => Err(reason),
        Some(Change::Opened { .. }) | None => Ok(()),
    }
}

/// Options as a test states them.
pub fn parsed(options: &[(&str, &str)]) -> Options {
    Options::parse(options.iter().copied(), Fixture::Off).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "errors are passed by value")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

/// For how long a removed volume is kept where it does not say.
pub const RETENTION: Duration = Duration::from_secs(24 * 3600);
