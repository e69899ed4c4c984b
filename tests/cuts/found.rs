//! What there is in a root, read from its files, beside what there should be.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::json;

use crate::harness::tree;
use crate::ledger::{Known, Spec};

/// The file that a volume's user writes; see [`write`].
const PAYLOAD: &str = "payload";

/// What there is of one name: each volume and each entry of the trash as the
/// lines of its tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    pub volume: Option<Vec<String>>,
    pub trash: Vec<Vec<String>>,
}

/// Reads all volumes and all entries of the trash.
pub fn read(root: &Path) -> BTreeMap<String, Shown> {
    let mut names: BTreeMap<String, Shown> = BTreeMap::new();
    for name in entries(&root.join("volumes")) {
        names.entry(name.clone()).or_default().volume =
            Some(lines(&root.join("volumes").join(&name)));
    }
    for entry in entries(&root.join("trash")) {
        let name = entry.split('~').next().unwrap().to_owned();
        names.entry(name).or_default().trash.push(lines(&root.join("trash").join(entry)));
    }
    for shown in names.values_mut() {
        shown.trash.sort();
    }
    names
}

/// The names in a directory, in order.
pub fn entries(dir: &Path) -> Vec<String> {
    let read = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> =
        read.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What [`read`] should show of a name.
pub fn expected(name: &str, known: &Known) -> Shown {
    let mut trash: Vec<Vec<String>> =
        known.trash.iter().map(|spec| expected_lines(name, spec)).collect();
    trash.sort();
    Shown { volume: known.volume.as_ref().map(|spec| expected_lines(name, spec)), trash }
}

fn expected_lines(name: &str, spec: &Spec) -> Vec<String> {
    let (uid, gid) = (spec.uid.unwrap_or(0), spec.gid.unwrap_or(0));
    let mut lines = vec![
        "0700 0:0".to_owned(),
        format!("data/ {:04o} {uid}:{gid}", spec.given.or(spec.mode).unwrap_or(0o755)),
    ];
    // A directory with the set-group-id bit hands its group on.
    let group = if spec.mode.is_some_and(|mode| mode & 0o2000 != 0) { gid } else { 0 };
    if let Some(text) = &spec.payload {
        lines.push(format!("data/{PAYLOAD} 0644 0:{group} {text:?}"));
    }
    let options = json!(spec.stated());
    let set =
        spec.set.map(|mode| format!(",\"set\":{{\"mode\":\"{mode:04o}\"}}")).unwrap_or_default();
    let defaults = match &spec.from {
        Some(_) => format!(",\"defaults\":{}", json!(spec.own())),
        None => String::new(),
    };
    let record = format!(
        "{{\"format\":1,\"name\":{name:?},\"created\":\"{TIME}\",\"options\":{options}{defaults}\
         {set}}}\n"
    );
    lines.push(format!("volume.json 0600 0:0 {record:?}"));
    lines
}

/// Stands for a record's time, which is that of the machine.
const TIME: &str = "<time>";

fn lines(volume: &Path) -> Vec<String> {
    let meta = fs::symlink_metadata(volume).unwrap();
    let own = format!("{:04o} {}:{}", meta.permissions().mode() & 0o7777, meta.uid(), meta.gid());
    // What was being written and has not got its name is nobody's.
    let unfinished = [format!("data/{PAYLOAD}.new "), "volume.json.new ".to_owned()];
    let is_finished = |line: &String| !unfinished.iter().any(|start| line.starts_with(start));
    let below = tree(volume).into_iter().filter(is_finished);
    [own].into_iter().chain(below.map(|line| without_time(&line))).collect()
}

/// Puts [`TIME`] for the time in a record, if it is one, as RFC 3339 has it.
fn without_time(line: &str) -> String {
    const BEFORE: &str = r#"\"created\":\""#;
    let time = |line: &str| {
        let start = line.find(BEFORE)? + BEFORE.len();
        let end = start + line[start..].find('\\')?;
        humantime::parse_rfc3339(&line[start..end]).ok().map(|_| start..end)
    };
    let mut line = line.to_owned();
    if let Some(range) = time(&line) {
        line.replace_range(range, TIME);
    }
    line
}

/// Writes a volume's one file as a careful user does: it is there whole or not
/// at all, and once this returns, it is on the disk.
pub fn write(data: &Path, text: &str) {
    let new = data.join(format!("{PAYLOAD}.new"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::File::open(&new).unwrap().sync_all().unwrap();
    fs::rename(&new, data.join(PAYLOAD)).unwrap();
    fs::File::open(data).unwrap().sync_all().unwrap();
}
