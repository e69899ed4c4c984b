//! `dirvol import NAME DIR --move`: the directory becomes the volume's by a rename, which
//! is made here, for the driver may not see where it lies.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Deserialize;

use super::change::options;
use super::output::show;
use super::{Failure, ask};
use crate::api::{self, Adopt, Adopted, Phase};
use crate::cli::client::Import;
use crate::client::{self, Client};
use crate::store::{NotMoved, layout, move_dir};
use crate::sys::mountinfo;

const METHOD: &str = "Dirvol.Adopt";

/// What to do where a directory cannot be moved.
const COPY: &str = "import without --move, which copies";

/// Makes a volume of a directory, which is moved.
///
/// # Errors
/// An option makes no sense, the directory cannot be moved, the driver cannot be reached,
/// or it refuses.
pub fn adopt(socket: Option<PathBuf>, args: Import) -> Result<(), Failure> {
    let opts = options("--opt", &args.opt)?;
    let dir = Source::open(&args.from)?;
    let (client, format) = ask(socket, args.ask)?;
    let Some(dir) = dir else { return Err(missing(&client, &args.name, &args.from)) };
    let nothing = Adopt {
        phase: Phase::Prepare,
        name: args.name,
        opts: api::Options::new(),
        token: String::new(),
        inode: 0,
    };
    let prepared: Adopted = client.ask(METHOD, &Adopt { opts, ..nothing.clone() })?;
    let asked = Adopt { token: prepared.token.clone(), inode: dir.inode, ..nothing };
    let to = layout::data_in(Path::new(&prepared.path));
    let cancel = Adopt { phase: Phase::Cancel, inode: 0, ..asked.clone() };
    if let Err(why) = dir.refuse_unless_movable(&prepared) {
        return Err(cancelled(&client, &cancel, why));
    }
    match move_dir(&dir.path, &to) {
        Ok(()) => {}
        Err(NotMoved::Refused(error)) => {
            return Err(cancelled(&client, &cancel, dir.refused(&error)));
        }
        Err(NotMoved::Unsynced(error)) => {
            let why = format!("the disk refuses: {error}; see the kernel's log for it");
            return Err(dir.back(&client, &cancel, &to, &why));
        }
    }
    let committed = client.ask::<Adopted>(METHOD, &Adopt { phase: Phase::Commit, ..asked });
    match committed {
        Ok(adopted) => show(format, &adopted, |adopted| {
            format!("{}: {} is its data now\n", adopted.name, dir.path.display())
        }),
        Err(client::Error::Failed(why)) => Err(dir.back(&client, &cancel, &to, &why)),
        Err(client::Error::Unreachable(why)) => {
            Err(Failure::Unreachable(format!("{why}; {}", on_its_way(&to))))
        }
    }
}

/// A directory that is to be moved.
struct Source {
    /// Its path, without a link on the way.
    path: PathBuf,
    file: File,
    inode: u64,
}

impl Source {
    /// Opens the directory at `from`, or returns `None` where there is nothing.
    fn open(from: &Path) -> Result<Option<Self>, Failure> {
        let shown = from.display();
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{shown}: {error}"));
        if from == Path::new("-") {
            return Err(Failure::Usage("--move moves a directory, not what is piped in".into()));
        }
        // Without a slash at its end, over which a link would be followed.
        let from: PathBuf = from.components().collect();
        let found = match fs::symlink_metadata(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|error| failed(&error))?,
        };
        if found.is_symlink() {
            return Err(failed(&"it is a symbolic link: give the path that it leads to"));
        }
        if !found.is_dir() {
            let why = format!("--move moves a directory, and {shown} is none");
            return Err(Failure::Usage(why));
        }
        let path = fs::canonicalize(&from).map_err(|error| failed(&error))?;
        let file = File::open(&path).map_err(|error| failed(&error))?;
        let inode = file.metadata().map_err(|error| failed(&error))?.ino();
        let dir = Self { path, file, inode };
        dir.refuse_if_mounted().map_err(|why| failed(&why))?;
        Ok(Some(dir))
    }

    /// Refuses a directory that somebody sees at another path: what is written there would
    /// be written into the volume.
    fn refuse_if_mounted(&self) -> Result<(), String> {
        let fd = self.file.as_fd();
        let lies = mountinfo::locate(fd).map_err(|error| error.to_string())?;
        if lies.is_mount_point() {
            return Err(format!("it is the top of a mount, which cannot be moved: {COPY}"));
        }
        if mountinfo::has_mounts_below(fd).map_err(|error| error.to_string())? {
            return Err("something is mounted below it: unmount that first".into());
        }
        match mountinfo::uses(&[lies]).map_err(|error| error.to_string())?.first() {
            None => Ok(()),
            Some(user) => Err(format!(
                "process {} has it mounted at {}: stop its container first",
                user.pid,
                user.mountpoint.display()
            )),
        }
    }

    /// Checks that this is where the driver's root can be seen, and that the directory has
    /// nothing to do with it.
    fn refuse_unless_movable(&self, to: &Adopted) -> Result<(), String> {
        let place = match File::open(&to.path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(format!("{}: {error}: run this as root", to.path));
            }
            place => place.ok(),
        };
        let same = |file: &File| {
            file.metadata().is_ok_and(|found| (found.dev(), found.ino()) == (to.device, to.inode))
        };
        let Some(place) = place.filter(same) else {
            return Err(format!(
                "the root of this driver is not to be seen here (a managed plugin?): {COPY}"
            ));
        };
        let lies = |file: &File| mountinfo::locate(file.as_fd()).map_err(|error| error.to_string());
        let own = lies(&self.file)?;
        // ROOT/adopting/TOKEN
        let root = Path::new(&to.path).ancestors().nth(2).unwrap_or(Path::new("/"));
        for (what, path) in [("root", root), ("state directory", Path::new(&to.state_dir))] {
            // A state directory in a container of the driver's own is none that is here.
            let Ok(file) = File::open(path) else { continue };
            if own.overlaps(&lies(&file)?) {
                return Err(format!(
                    "{} and the driver's {what} {} lie in one another",
                    self.path.display(),
                    path.display()
                ));
            }
        }
        drop(place);
        Ok(())
    }

    fn refused(&self, error: &io::Error) -> String {
        let shown = self.path.display();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EXDEV) => format!(
                "{shown} lies on another file system or mount than the root, or in another \
                 subvolume or project: {COPY}"
            ),
            Some(Errno::ENOENT) => {
                format!("{shown} could not be moved: the driver was started anew; try again")
            }
            Some(Errno::EACCES | Errno::EPERM) => {
                format!("{shown} could not be moved: {error}: run this as root")
            }
            _ => format!("{shown} could not be moved: {error}"),
        }
    }

    /// Moves the directory back to where it was, if the driver says that it is not the
    /// volume's.
    fn back(&self, client: &Client, cancel: &Adopt, from: &Path, why: &str) -> Failure {
        let waits = client.ask::<Adopted>(METHOD, cancel);
        if !waits.is_ok_and(|answer| answer.holds_data) {
            return Failure::Failed(format!("{why}; {}", on_its_way(from)));
        }
        let shown = self.path.display();
        match move_dir(from, &self.path) {
            Ok(()) => cancelled(client, cancel, format!("{why}; {shown} is where it was")),
            Err(NotMoved::Unsynced(error)) => {
                let why = format!("{why}; {shown} is where it was, but the disk refuses: {error}");
                cancelled(client, cancel, why)
            }
            Err(NotMoved::Refused(error)) => Failure::Failed(format!(
                "{why}; it could not be moved back either ({error}); {}",
                on_its_way(from)
            )),
        }
    }
}

/// Says where the directory is when it cannot be told whether the volume was made.
fn on_its_way(to: &Path) -> String {
    format!(
        "nothing is lost: the directory is the volume's already, or it is {} until the driver \
         makes the volume of it, at its next start or in some minutes",
        to.display()
    )
}

/// Tells the driver that nothing comes, and fails.
fn cancelled(client: &Client, cancel: &Adopt, why: String) -> Failure {
    // Ignoring: where nothing is, the driver takes it away in some minutes.
    let _left = client.ask::<Adopted>(METHOD, cancel);
    Failure::Failed(why)
}

/// Says of a directory that is not there whether it may be a volume already.
fn missing(client: &Client, name: &str, from: &Path) -> Failure {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Got {
        volume: Found,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        created_at: Option<String>,
    }
    let shown = from.display();
    match client.ask::<Got>("VolumeDriver.Get", &api::Named { name: name.to_owned() }) {
        Ok(got) => {
            let since = got.volume.created_at.map(|at| format!(" since {at}")).unwrap_or_default();
            Failure::Failed(format!("{shown} is missing; volume {name} exists{since}"))
        }
        Err(client::Error::Failed(why)) => Failure::Failed(format!("{shown} is missing; {why}")),
        Err(unreachable) => unreachable.into(),
    }
}
