//! Looks over a host for what keeps volumes from being served, or would at the next
//! boot, and says of each finding what to do. Nothing is changed, and nothing is
//! locked: a driver that runs, or starts meanwhile, is not held up.
//!
//! Nor does it wait for ever: whatever may hang has a limit, and that it hangs is a
//! finding.

mod disk;
mod serving;
mod units;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::client::engine;
use crate::volume::VolumeName;

/// How long a driver or an engine may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// How long all that is read of the root may take.
const DISK_LIMIT: Duration = Duration::from_secs(20);

const DISK_HANGS: &str = "the disk has not answered for 20 s";

/// What is looked at, in the order in which it is told.
pub const CHECKS: [&str; 10] =
    [ROOT, LOCK, PERMISSIONS, SPACE, HEALTH, LEFTOVERS, SOCKETS, UNITS, ENGINES, SELINUX];

const ROOT: &str = "root";
const LOCK: &str = "lock";
const PERMISSIONS: &str = "permissions";
const SPACE: &str = "space";
const HEALTH: &str = "health";
const LEFTOVERS: &str = "leftovers";
const SOCKETS: &str = "sockets";
const UNITS: &str = "units";
const ENGINES: &str = "engines";
const SELINUX: &str = "selinux";

/// Whose driver is looked at: the flags of `dirvol serve`.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The root.
    pub root: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// Where units of systemd are, those in front that override others.
    pub unit_dirs: Vec<PathBuf>,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// What was looked at.
    pub looked: Vec<Looked>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Looked {
    /// Which of [`CHECKS`].
    pub check: &'static str,
    /// What that is, and what is plain to see of it.
    pub saw: String,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// Which of [`CHECKS`] found it.
    pub check: &'static str,
    /// The path or the volume that it is about.
    pub subject: String,
    /// What is wrong with that.
    pub finding: String,
    /// What to do.
    pub cure: String,
}

impl Report {
    fn saw(&mut self, check: &'static str, saw: impl Into<String>) {
        self.looked.push(Looked { check, saw: saw.into() });
    }

    fn find(
        &mut self,
        check: &'static str,
        subject: &dyn fmt::Display,
        finding: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let (subject, finding, cure) = (subject.to_string(), finding.into(), cure.into());
        self.findings.push(Finding { check, subject, finding, cure });
    }

    fn append(&mut self, mut other: Self) {
        self.looked.append(&mut other.looked);
        self.findings.append(&mut other.findings);
    }
}

/// Looks over the host.
pub fn examine(subject: &Subject) -> Report {
    let mut report = Report::default();
    let sockets = serving::look(&subject.socket, &mut report);
    // Whoever waits for a disk that hangs cannot be stopped, and ends with the process.
    let found: Arc<(Mutex<Option<disk::Disk>>, Condvar)> = Arc::default();
    let (tell, disk_of, served) = (Arc::clone(&found), subject.clone(), sockets.is_served());
    let look = move || {
        let looked = disk::look(&disk_of, served);
        // Perhaps nobody waits for it any more.
        *tell.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
        tell.1.notify_one();
    };
    // Boxed, as wherever a thread is begun: a spawn is compiled anew for each closure.
    thread::spawn(Box::new(look) as Box<dyn FnOnce() + Send>);
    let waiting = found.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut looked, _) = found
        .1
        .wait_timeout_while(waiting, DISK_LIMIT, |looked| looked.is_none())
        .unwrap_or_else(PoisonError::into_inner);
    let disk = match looked.take() {
        Some(disk) => disk,
        None => {
            let cure = "see the kernel's log for it; nothing else of the root was looked at";
            report.find(ROOT, &subject.root.display(), DISK_HANGS, cure);
            disk::Disk::default()
        }
    };
    report.append(disk.report);
    if let Some(holders) = &disk.holders {
        serving::lock(&subject.root, holders, &sockets, &mut report);
    }
    units::look(&subject.unit_dirs, &mut report);
    engines(&disk.volumes, &mut report);
    report
}

/// Looks for volumes of an engine's own that have the name of one of ours: containers
/// get those.
fn engines(ours: &[VolumeName], report: &mut Report) {
    let asked = engine::own(LIMIT);
    if asked.is_empty() {
        report.saw(ENGINES, "none listens where engines do");
    }
    for answer in asked {
        let own = match answer {
            Ok(own) => own,
            Err(error) => {
                let cure = "run this again then: volumes of ours may be hidden by its own";
                report.find(ENGINES, &"engine", error.to_string(), cure);
                continue;
            }
        };
        report.saw(
            ENGINES,
            format!("{} has {} local volumes", own.socket.display(), own.names.len()),
        );
        for name in own.names.iter().filter(|name| ours.iter().any(|ours| ours.as_str() == *name)) {
            let finding = format!(
                "the engine at {} has a local volume of that name, which containers get instead",
                own.socket.display()
            );
            let cure = format!(
                "stop its containers, save what it holds, and run 'docker volume rm {name}'"
            );
            report.find(ENGINES, &format!("volume {name}"), finding, cure);
        }
    }
}
