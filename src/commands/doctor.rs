//! `dirvol doctor`

use std::env;
use std::path::PathBuf;

use super::Failure;
use super::output::{show, table};
use crate::cli::client::Doctor;
use crate::client;
use crate::config;
use crate::doctor::{self, CHECKS, Report, Subject};

/// Where systemd looks for units; the first of a name counts.
const UNIT_DIRS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// Looks over the host, and prints what is wrong and what to do.
///
/// # Errors
/// Something is wrong.
pub fn doctor(before: Option<PathBuf>, args: Doctor) -> Result<(), Failure> {
    let stated = args.socket.or(before).or_else(|| env::var_os("DIRVOL_SOCKET").map(PathBuf::from));
    let stated = stated.filter(|path| !path.as_os_str().is_empty());
    let socket = stated.unwrap_or_else(client::usual_socket);
    let absolute = |flag, path| config::absolute(flag, path).map_err(Failure::Usage);
    let unit_dirs = match args.unit_dir {
        dirs if dirs.is_empty() => UNIT_DIRS.map(PathBuf::from).to_vec(),
        dirs => dirs,
    };
    let report = doctor::examine(&Subject {
        root: absolute("--root", &args.directories.root)?,
        state_dir: absolute("--state-dir", &args.directories.state_dir)?,
        socket: absolute("--socket", &socket)?,
        unit_dirs,
    });
    show(args.format, &report, rows)?;
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 finding".into())),
        many => Err(Failure::Failed(format!("{many} findings"))),
    }
}

fn rows(report: &Report) -> String {
    let mut rows = Vec::new();
    for check in CHECKS {
        let row = |state: &str, what: String| [check.to_owned(), state.to_owned(), what];
        let before = rows.len();
        let found = report.findings.iter().filter(|finding| finding.check == check);
        rows.extend(found.map(|found| {
            let what = format!("{}: {}; {}", found.subject, found.finding, found.cure);
            row("finding", what)
        }));
        if rows.len() > before {
            continue;
        }
        let saw: Vec<&str> = report
            .looked
            .iter()
            .filter(|looked| looked.check == check)
            .map(|looked| looked.saw.as_str())
            .collect();
        rows.push(match saw.is_empty() {
            true => row("-", "not looked at: there is no root to look at".into()),
            false => row("ok", saw.join(", ")),
        });
    }
    table(["CHECK", "STATE", "WHAT"], &rows)
}
