//! Who serves: the sockets, and the root's lock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{LIMIT, LOCK, Report, SOCKETS};
use crate::client::listening::{self, Listener};
use crate::order;
use crate::sys::{process, socket};

/// The socket that engines are to use, and who was found there.
#[derive(Debug)]
pub struct Sockets {
    path: PathBuf,
    listener: Listener,
}

impl Sockets {
    /// Returns whether a driver answers.
    pub fn is_served(&self) -> bool {
        matches!(self.listener, Listener::Driver { .. } | Listener::Mute(_))
    }
}

/// Looks at the driver's socket, and at others that may be ours.
pub fn look(own: &Path, report: &mut Report) -> Sockets {
    let listener = listening::listener(own, LIMIT);
    let mut paths = vec![own.to_path_buf()];
    match listening::candidates() {
        Ok(candidates) => paths.extend(candidates.into_iter().filter(|path| path != own)),
        Err(error) => {
            let subject = "the directory of plugins' sockets";
            report.find(SOCKETS, &subject, error.to_string(), "run this as root");
        }
    }
    for path in &paths {
        let found = match path == own {
            true => listener.clone(),
            false => listening::listener(path, LIMIT),
        };
        judge(path, &found, report);
    }
    let mut directories: Vec<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    order::sort(&mut directories, Ord::cmp);
    directories.dedup();
    for directory in directories {
        // One that is missing is made by the driver, for its user alone.
        let Ok(meta) = fs::metadata(directory) else { continue };
        let mode = meta.mode() & 0o7777;
        if mode & 0o022 != 0 {
            let finding = format!(
                "others than its owner may write there (mode {mode:04o}), and put a socket in the \
                 driver's place"
            );
            let cure = format!("chmod go-w {}", directory.display());
            report.find(SOCKETS, &directory.display(), finding, cure);
        }
    }
    Sockets { path: own.to_path_buf(), listener }
}

fn judge(path: &Path, listener: &Listener, report: &mut Report) {
    let shown = path.display();
    match listener {
        Listener::Absent => return report.saw(SOCKETS, format!("{shown} is not there")),
        Listener::Stale => report.find(
            SOCKETS,
            &shown,
            "nobody listens there: dockerd waits 15 s for each volume of this driver it knows",
            format!("start the driver; or, if it is given up, rm {shown}"),
        ),
        Listener::Mute(why) => {
            let cure = "see its log, and start it anew: dockerd cannot start meanwhile";
            report.find(
                SOCKETS,
                &shown,
                format!("whoever listens there does not answer: {why}"),
                cure,
            );
        }
        Listener::Foreign => {
            report.find(SOCKETS, &shown, "it is no driver of ours that answers", "give --socket");
        }
        Listener::Driver { unavailable: Some(reason), .. } => {
            let cure = "it is back within a second after that";
            report.find(SOCKETS, &shown, format!("its driver is unavailable: {reason}"), cure);
        }
        Listener::Driver { pid, .. } => report.saw(
            SOCKETS,
            match pid {
                Some(pid) => format!("{shown} is served by {}", named(*pid)),
                None => format!("{shown} is served"),
            },
        ),
    }
    if let Ok(meta) = fs::metadata(path)
        && meta.mode() & 0o022 != 0
    {
        let mode = meta.mode() & 0o7777;
        let finding =
            format!("others than its owner may connect (mode {mode:04o}), and so remove volumes");
        let cure = format!("chmod 0600 {shown}; in a unit for it, SocketMode=0600");
        report.find(SOCKETS, &shown, finding, cure);
    }
}

/// Compares who holds the root's lock with who answers at the socket.
pub fn lock(root: &Path, holders: &[u32], sockets: &Sockets, report: &mut Report) {
    let (shown, socket) = (root.display(), sockets.path.display());
    let Some(&holder) = holders.first() else {
        match &sockets.listener {
            // A process that is not seen may hold a lock that is not seen.
            Listener::Driver { pid: Some(pid), unavailable: None } => report.find(
                LOCK,
                &shown,
                format!("{} answers at {socket}, and serves another root", named(*pid)),
                "give the --root that it has, or the --socket of the driver that serves this one",
            ),
            _ => report.saw(LOCK, format!("nobody holds that of {shown}")),
        }
        return;
    };
    // Of nodes that share a root, another one may be here too.
    let answers = |pid: &u32| matches!(&sockets.listener, Listener::Driver { pid: Some(at), .. } if at == pid);
    let holder = holders.iter().copied().find(answers).unwrap_or(holder);
    let by = named(holder);
    match &sockets.listener {
        Listener::Absent | Listener::Stale | Listener::Foreign => report.find(
            LOCK,
            &shown,
            format!("{by} holds the lock, and does not listen at {socket}"),
            "give the --socket that it has; or start it anew with this one",
        ),
        // A service manager that made the socket has it open too.
        Listener::Driver { pid: Some(pid), .. }
            if *pid != holder && !socket::share_listener(holder, *pid, &sockets.path) =>
        {
            report.find(
                LOCK,
                &shown,
                format!("{by} holds the lock, and {} answers at {socket}", named(*pid)),
                "stop one of them; or give the --socket of the first, or the --root of the other",
            );
        }
        Listener::Driver { .. } | Listener::Mute(_) => {
            report.saw(LOCK, format!("{by} holds that of {shown}"));
        }
    }
}

/// A process as a person finds it.
fn named(pid: u32) -> String {
    match process::name(pid) {
        Some(name) => format!("process {pid} ({name})"),
        None => format!("process {pid}"),
    }
}
