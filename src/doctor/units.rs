//! The order in which systemd starts the driver and the engine, read from the files
//! of its units, systemd.unit(5).

use std::fs;
use std::path::{Path, PathBuf};

use super::{Report, UNITS};
use crate::order;

/// The engine's unit. It asks for its volumes before it is started, and the driver
/// would wait for it meanwhile.
const ENGINE: &str = "docker.service";

/// Looks at the units of the driver in `dirs`; the first of a name counts.
pub fn look(dirs: &[PathBuf], report: &mut Report) {
    let mut units: Vec<(String, PathBuf)> = Vec::new();
    for dir in dirs {
        for path in paths_in(dir) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_unit = name.ends_with(".service") || name.ends_with(".socket");
            let known = || units.iter().any(|(known, _)| *known == name);
            if name.starts_with("dirvol") && is_unit && !known() {
                units.push((name, path));
            }
        }
    }
    if units.is_empty() {
        return report.saw(UNITS, "systemd has none of dirvol's");
    }
    for (name, path) in &units {
        report.saw(UNITS, format!("{}", path.display()));
        let unit = fs::read_to_string(path).unwrap_or_default();
        // The one that makes Docker use the driver comes after it, and serves nothing.
        if values(&unit, "Type").any(|kind| kind == "oneshot") {
            continue;
        }
        for file in [path.clone()].into_iter().chain(drop_ins(dirs, name)) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if values(&text, "After").any(|unit| unit == ENGINE) {
                let finding = format!(
                    "it is started after {ENGINE}, which waits for its volumes, and so for it"
                );
                let cure = format!("replace After={ENGINE} by Before={ENGINE}");
                report.find(UNITS, &file.display(), finding, cure);
            }
        }
        let socket = name.replace(".service", ".socket");
        if name.ends_with(".service")
            && units.iter().any(|(name, _)| *name == socket)
            && is_enabled(dirs, name)
            && !is_enabled(dirs, &socket)
        {
            let finding = format!("it is enabled, and {socket} is not");
            report.find(UNITS, &path.display(), finding, format!("systemctl enable {socket}"));
        }
    }
}

/// The values of a setting, however often it is made, each word by itself.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.split_once('=').filter(|(name, _)| name.trim() == key))
        .flat_map(|(_, value)| value.split_whitespace())
}

fn drop_ins(dirs: &[PathBuf], unit: &str) -> Vec<PathBuf> {
    let files = dirs.iter().flat_map(|dir| paths_in(&dir.join(format!("{unit}.d"))));
    files.filter(|file| file.extension().is_some_and(|ending| ending == "conf")).collect()
}

/// Whether something wants the unit: `systemctl enable` makes a link to it in the
/// directory of a target.
fn is_enabled(dirs: &[PathBuf], unit: &str) -> bool {
    let wants = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "wants" || ending == "requires")
    };
    let wanting = dirs.iter().flat_map(|dir| paths_in(dir)).filter(wants);
    wanting.into_iter().any(|wanting| fs::symlink_metadata(wanting.join(unit)).is_ok())
}

/// What lies in a directory, in order. One that cannot be read has nothing.
fn paths_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    order::sort(&mut paths, Ord::cmp);
    paths
}
