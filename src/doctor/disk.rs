//! What is found on the disk: of the root, and of the state directory.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};

use super::{HEALTH, LEFTOVERS, PERMISSIONS, ROOT, Report, SELINUX, SPACE, Subject};
use crate::store::{Amount, FileName, OpenError, ReadOnly, Remembered, State, layout};
use crate::sys::selinux::{self, CONTAINER_FILE, Mode};
use crate::volume::adopt::PATIENCE;
use crate::volume::collect::{has_few_inodes, is_low};
use crate::volume::{Health, Volume, VolumeName};

/// What the other checks need to know of the disk.
#[derive(Debug, Default)]
pub struct Disk {
    pub report: Report,
    /// Who holds the root's lock, where there is a root.
    pub holders: Option<Vec<u32>>,
    /// The volumes that there are.
    pub volumes: Vec<VolumeName>,
}

/// Looks at the root and the state directory; `answered` says whether a driver answers.
pub fn look(subject: &Subject, answered: bool) -> Disk {
    let mut disk = Disk::default();
    let report = &mut disk.report;
    let shown = subject.state_dir.display();
    let remembered = State::remembered(&subject.state_dir).unwrap_or_else(|error| {
        report.find(
            PERMISSIONS,
            &shown,
            error.to_string(),
            "run this as the driver's user, or mend it",
        );
        Remembered::default()
    });
    let root = match ReadOnly::open(&subject.root) {
        Ok(root) => root,
        Err(error) => {
            no_root(&subject.root, error, remembered.root_id, report);
            return disk;
        }
    };
    identity(&subject.root, &root, remembered.root_id.as_deref(), report);
    match root.lock_holders() {
        Ok(holders) => disk.holders = Some(holders),
        Err(error) => report.find(
            super::LOCK,
            &subject.root.display(),
            format!("it cannot be told who holds the lock: {error}"),
            "run this as root, where /proc is mounted",
        ),
    }
    let holder = disk.holders.as_ref().and_then(|holders| holders.first().copied());
    permissions(subject, holder, report);
    space(&subject.root, &root, report);
    let listed = volumes(&subject.root, &root, &mut disk);
    let served = answered || holder.is_some();
    let left = leftovers(subject, &root, &remembered.seen, &listed, served, &mut disk.report);
    if let Err(error) = left {
        let cure = "see the kernel's log, and who may use that path";
        disk.report.find(LEFTOVERS, &error.path.display(), error.to_string(), cure);
    }
    disk
}

fn no_root(path: &Path, error: OpenError, known: Option<String>, report: &mut Report) {
    let shown = path.display();
    let (finding, cure) = match (error, known) {
        (OpenError::Missing(_), _) => (
            "it does not exist".to_owned(),
            format!("mount its disk, give --root, or make it with 'dirvol init {shown}'"),
        ),
        (OpenError::NotADirectory(_), _) => {
            ("it is not a directory".into(), "give another --root".into())
        }
        (OpenError::Unmarked(_), Some(known)) => (
            format!("it is no root of dirvol, and root {known} was served last"),
            "mount the disk of that one".into(),
        ),
        (OpenError::Unmarked(_), None) => (
            "it is no root of dirvol".into(),
            format!(
                "make it one with 'dirvol init {shown}', if it is empty, or give another --root"
            ),
        ),
        (OpenError::Marker { why, .. }, _) => (
            format!("its marker cannot be used: {why}"),
            "restore dirvol.json from a copy, or run the version of dirvol that wrote it".into(),
        ),
        (other, _) => (other.to_string(), "run this as the driver's user, or mend it".into()),
    };
    report.find(ROOT, &shown, finding, cure);
}

fn identity(path: &Path, root: &ReadOnly, known: Option<&str>, report: &mut Report) {
    let (shown, id) = (path.display(), root.id());
    report.saw(ROOT, format!("{shown} is root {id}"));
    if let Some(known) = known.filter(|known| *known != id) {
        let cure =
            format!("mount the disk of that one, or accept this one with DIRVOL_ACCEPT_ROOT={id}");
        report.find(ROOT, &shown, format!("it is root {id}, and {known} was served last"), cure);
    }
    match root.fleeting() {
        Ok(None) => {}
        Ok(Some(kind)) => {
            let finding = format!("it lies on {kind}: its volumes are gone at the next boot");
            report.find(ROOT, &shown, finding, "move it to a disk, or mount the disk there");
        }
        Err(error) => report.find(ROOT, &shown, error.to_string(), "see the kernel's log"),
    }
}

fn permissions(subject: &Subject, holder: Option<u32>, report: &mut Report) {
    let (root, state) = (&subject.root, &subject.state_dir);
    // Who runs the driver, where one runs; else whoever asks may be about to.
    let user = holder.and_then(|pid| fs::metadata(format!("/proc/{pid}")).ok());
    let user = user.map_or_else(|| geteuid().as_raw(), |process| process.uid());
    report.saw(PERMISSIONS, format!("{} and {}", root.display(), state.display()));
    match fs::metadata(root) {
        Ok(meta) => {
            let mode = meta.mode() & 0o7777;
            if mode & 0o077 != 0 {
                let finding = format!("others than its owner may enter it (mode {mode:04o})");
                report.find(
                    PERMISSIONS,
                    &root.display(),
                    finding,
                    format!("chmod 0700 {}", root.display()),
                );
            }
            if meta.uid() != user {
                let finding = format!("it belongs to user {}, and not to {user}", meta.uid());
                let cure = format!("chown {user} {}, or run as its owner", root.display());
                report.find(PERMISSIONS, &root.display(), finding, cure);
            }
        }
        Err(error) => report.find(PERMISSIONS, &root.display(), error.to_string(), "mend it"),
    }
    match access(state, AccessFlags::W_OK | AccessFlags::X_OK) {
        // The driver makes it.
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => {
            let finding = format!("it cannot be written: {}", io::Error::from(errno));
            let cure = "make it writable for the driver, or give it another --state-dir";
            report.find(PERMISSIONS, &state.display(), finding, cure);
        }
    }
}

fn space(path: &Path, root: &ReadOnly, report: &mut Report) {
    let shown = path.display();
    let space = match root.space() {
        Ok(space) => space,
        Err(error) => return report.find(SPACE, &shown, error.to_string(), "see the kernel's log"),
    };
    // Not the figures: they differ from one moment to the next.
    report.saw(SPACE, format!("bytes and inodes of {shown}"));
    if is_low(space) {
        let finding = format!("{} MiB of {} MiB are free", space.free >> 20, space.total >> 20);
        let cure = "free space: below a tenth, or 20 GiB, the trash is emptied";
        report.find(SPACE, &shown, finding, cure);
    }
    if has_few_inodes(space) {
        let finding = format!("{} of {} inodes are free", space.inodes_free, space.inodes);
        report.find(
            SPACE,
            &shown,
            finding,
            "delete files, or empty the trash: 'dirvol trash purge --all'",
        );
    }
}

/// Reads every volume, and returns the names of all that lies there.
fn volumes(path: &Path, root: &ReadOnly, disk: &mut Disk) -> HashSet<FileName> {
    let report = &mut disk.report;
    let mode = selinux::mode();
    report.saw(
        SELINUX,
        match mode {
            Mode::Off => "it is off",
            Mode::Permissive => "it is permissive",
            Mode::Enforcing => "it is enforcing",
        },
    );
    let entries = match root.volumes() {
        Ok(Some(entries)) => entries,
        Ok(None) => {
            let finding = "it has lost the directory of its volumes";
            report.find(HEALTH, &path.display(), finding, "restore it from a copy");
            return HashSet::new();
        }
        Err(error) => {
            report.find(HEALTH, &path.display(), error.to_string(), "see the kernel's log");
            return HashSet::new();
        }
    };
    for entry in &entries {
        let name = entry.name.clone().and_then(VolumeName::from_file);
        let Some(name) = name else {
            let cure = "move it away: no volume may be called so, and the driver passes it over";
            let subject = format!("{:?} among the volumes", entry.shown);
            report.find(LEFTOVERS, &subject, "it is no volume", cure);
            continue;
        };
        let volume = match root.read(name.file()) {
            Ok(None) => continue,
            Ok(Some(stored)) => Volume::new(&name, stored),
            Err(error) => Volume::only(name.clone(), Health::Damaged(error.to_string())),
        };
        if let Some(path) = volume.place() {
            place(&name, path, report);
        }
        if let Health::Damaged(why) | Health::Unknown(why) = &volume.health {
            let whole = crate::store::layout::mountpoint(path, name.file());
            let cure =
                format!("mend it or move it away, {}", whole.parent().unwrap_or(&whole).display());
            report.find(HEALTH, &format!("volume {name}"), why, cure);
        }
        let limit =
            volume.record.as_ref().map(|record| record.asked().or(&record.defaults).limit());
        if let Some(limit) = limit.filter(|limit| *limit != Amount::default())
            && let Err(why) = root.can_limit(limit)
        {
            let cure = format!("'dirvol set {name} size=0 inodes=0' takes it away");
            let finding = format!("its limit is not kept: {why}");
            report.find(HEALTH, &format!("volume {name}"), finding, cure);
        }
        if let (Mode::Enforcing, Some(why)) = (mode, &volume.mislabelled) {
            let data = crate::store::layout::mountpoint(path, name.file());
            let cure = format!("chcon -R {CONTAINER_FILE} {}", data.display());
            report.find(SELINUX, &format!("volume {name}"), why, cure);
        }
        disk.volumes.push(name);
    }
    report.saw(HEALTH, counted(disk.volumes.len()));
    entries.into_iter().filter_map(|entry| entry.name).collect()
}

/// Looks at the directory outside the root that the volume `name` is.
fn place(name: &VolumeName, path: &Path, report: &mut Report) {
    if !path.is_dir() {
        let cure = format!("bring it back, or forget the volume with 'dirvol rm {name}'");
        let finding = format!("{} is missing", path.display());
        report.find(HEALTH, &format!("volume {name}"), finding, cure);
    }
    let own = [0, geteuid().as_raw()];
    for above in path.ancestors().skip(1) {
        let Ok(meta) = fs::metadata(above) else { continue };
        let mode = meta.mode() & 0o7777;
        // With the sticky bit, nobody moves what is another's.
        let open_to_all = mode & 0o022 != 0 && mode & 0o1000 == 0;
        if !own.contains(&meta.uid()) || open_to_all {
            let finding = format!(
                "it is above volume {name}, and others than root may put another directory in its \
                 place (user {}, mode {mode:04o})",
                meta.uid()
            );
            let shown = above.display();
            let cure = format!("chown root {shown} && chmod go-w {shown}");
            report.find(PERMISSIONS, &shown, finding, cure);
        }
    }
}

/// Looks for directories that were moved in and are no volumes yet.
fn moved_in(
    subject: &Subject,
    root: &ReadOnly,
    served: bool,
    report: &mut Report,
) -> crate::store::Result<()> {
    for (token, entry) in root.adopting()?.into_iter().filter(|(_, entry)| entry.has_data) {
        let recent = entry.changed.and_then(|changed| changed.elapsed().ok());
        if served && recent.is_none_or(|age| age < PATIENCE) {
            continue;
        }
        let data = layout::data_in(&layout::adopting(&subject.root, &token));
        let data = data.display();
        let cure = match served {
            false => "start the driver: it makes a volume of it".to_owned(),
            true => format!("see the driver's log, or move it away: mv {data} ELSEWHERE"),
        };
        report.find(LEFTOVERS, &data, "it was moved in, and is no volume yet", cure);
    }
    Ok(())
}

fn counted(volumes: usize) -> String {
    if volumes == 1 { "1 volume read".into() } else { format!("{volumes} volumes read") }
}

fn leftovers(
    subject: &Subject,
    root: &ReadOnly,
    seen: &[FileName],
    listed: &HashSet<FileName>,
    served: bool,
    report: &mut Report,
) -> crate::store::Result<()> {
    report.saw(LEFTOVERS, "volumes, trash, staging and the names in the state directory");
    for entry in root.foreign_in_trash()? {
        let subject = format!("{:?} in the trash", entry.shown);
        report.find(LEFTOVERS, &subject, "it is no entry of the trash", "move it away");
    }
    let staged = root.staged()?.len();
    if staged > 0 && !served {
        let finding =
            format!("{staged} in the staging directory were left by a driver that was cut off");
        let cure = "start the driver: it deletes them";
        report.find(LEFTOVERS, &subject.root.display(), finding, cure);
    }
    moved_in(subject, root, served, report)?;
    // A volume that was made or removed meanwhile is not in both.
    let still: HashSet<FileName> =
        State::remembered(&subject.state_dir)?.seen.into_iter().collect();
    let gone = seen.iter().filter(|name| !listed.contains(*name) && still.contains(*name));
    let mut gone: Vec<VolumeName> = gone.cloned().filter_map(VolumeName::from_file).collect();
    gone.sort_unstable();
    for name in gone {
        let finding =
            format!("{} knows it, and the root has it no more", subject.state_dir.display());
        let cure = "start the driver anew: it forgets what was moved away on purpose";
        report.find(LEFTOVERS, &format!("volume {name}"), finding, cure);
    }
    Ok(())
}
