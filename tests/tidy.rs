//! The architecture's invariants, as ARCHITECTURE.md states them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use dirvol::metrics::{FileSystem, Now, Seen};

/// What each room of `src/` may import from the others: always downwards.
const IMPORTS: [(&str, &[&str]); 16] = [
    ("main", &["cli", "commands"]),
    (
        "commands",
        &[
            "api", "cli", "client", "config", "doctor", "log", "metrics", "order", "server",
            "store", "sys", "volume",
        ],
    ),
    ("doctor", &["client", "order", "store", "sys", "volume"]),
    ("config", &["cli", "log", "store", "volume"]),
    ("server", &["api", "json", "log", "metrics", "store", "volume"]),
    ("volume", &["archive", "json", "order", "store", "sys"]),
    ("store", &["archive", "json", "order", "sys"]),
    ("sys", &["order"]),
    ("client", &["json", "order"]),
    ("api", &[]),
    ("archive", &[]),
    ("cli", &[]),
    ("json", &[]),
    ("log", &[]),
    ("metrics", &[]),
    ("order", &[]),
];

/// A reader sees a file whole.
const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

#[test]
fn imports_point_downwards() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.room != "lib") {
        let (_, allowed) = IMPORTS
            .iter()
            .find(|(room, _)| *room == source.room)
            .unwrap_or_else(|| panic!("room {} is not in the table", source.room));
        let prefix = if source.room == "main" { "dirvol::" } else { "crate::" };
        for used in code(source).flat_map(|line| words_after(line, prefix)) {
            if used != source.room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} imports {used}", source.path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    assert_eq!(rooms_with(&["unsafe {", "unsafe fn", "unsafe impl", "unsafe_code"]), ["sys"]);
}

#[test]
fn the_disk_is_renamed_and_synced_by_the_verbs_alone() {
    let verbs = [
        "renameat",
        "fs::rename",
        "fsync(",
        "syncfs(",
        "sync_all",
        "sync_data",
        "unlinkat(",
        "mkdirat(",
    ];
    assert_eq!(files_with(&verbs), BTreeSet::from([PathBuf::from("src/store/verbs.rs")]));
}

#[test]
fn http_and_the_reactor_are_known_to_the_two_ends_of_the_socket_alone() {
    assert_eq!(rooms_with(&["hyper::", "hyper_util::", "http_body_util::"]), ["client", "server"]);
    assert_eq!(rooms_with(&["tokio::", ".await"]), ["client", "commands", "server"]);
}

#[test]
fn files_of_the_root_are_named_in_the_layout_alone() {
    let names = ["dirvol.json", "volume.json", "volumes", "staging", "trash", "data", "root-id"];
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    assert_eq!(files_with(&quoted), BTreeSet::from([PathBuf::from("src/store/layout.rs")]));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut files = sources();
    for dir in ["tests", "benches"] {
        files.extend(rust_files(Path::new(dir)).into_iter().map(|path| read(path, String::new())));
    }
    let long: Vec<String> = files
        .iter()
        .filter(|source| source.text.lines().count() > LONGEST_FILE)
        .map(|source| format!("{}: {}", source.path.display(), source.text.lines().count()))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = manifest();
    let mut before = "";
    let mut section = "";
    let mut silent = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains(" = ") {
            let reason = before.starts_with("# ") && before.ends_with('.');
            silent.extend((!reason).then(|| line.to_owned()));
        }
        before = line;
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn the_document_lists_the_volume_options_that_there_are() {
    let document = fs::read_to_string("docs/options.md").unwrap();
    let rows = document.lines().skip_while(|line| !line.starts_with("| option")).skip(2);
    let listed: BTreeSet<String> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('`').nth(1).unwrap().to_owned())
        .collect();
    let known = dirvol::volume::options::KNOWN.map(str::to_owned);
    assert_eq!(listed, BTreeSet::from(known));
}

#[test]
fn the_metrics_are_those_of_the_documentation() {
    let documents = fs::read_to_string("docs/metrics.md").unwrap();
    let documented: BTreeSet<(String, String, BTreeSet<String>)> =
        table(&documents, "| name | type | labels |")
            .map(|row| {
                let names =
                    |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
                let name: Vec<String> = names(row[0]);
                (name.concat(), row[1].to_owned(), names(row[2]).into_iter().collect())
            })
            .collect();
    assert_eq!(families(), documented);
    let kinds: Vec<String> = table(&documents, "| kind | what failed |")
        .map(|row| format!("dirvol_errors_total{{kind=\"{}\"}} 0", row[0].trim_matches('`')))
        .collect();
    let text = metrics();
    let there = text.lines().filter(|line| line.starts_with("dirvol_errors_total"));
    assert_eq!(there.collect::<Vec<_>>(), kinds);
}

#[test]
fn the_alerts_are_those_of_the_documentation() {
    let documents = fs::read_to_string("docs/metrics.md").unwrap();
    let documented: BTreeSet<(String, String)> = table(&documents, "| alert | severity |")
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].to_owned()))
        .collect();
    let alerts = fs::read_to_string("packaging/monitoring/alerts.yml").unwrap();
    let there: BTreeSet<(String, String)> = alerts
        .split("- alert: ")
        .skip(1)
        .map(|rule| {
            let severity = rule.split_once("severity: ").unwrap().1;
            let first = |text: &str| text.lines().next().unwrap().to_owned();
            (first(rule), first(severity))
        })
        .collect();
    assert_eq!(there, documented);
}

/// What a managed plugin can be set to is what `serve` has as variables, with the same
/// defaults, and what its document lists.
#[test]
fn the_plugins_settings_are_flags_with_their_defaults_and_are_documented() {
    let config = fs::read_to_string("config.json").unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let mut cli = dirvol::cli::Cli::command();
    let serve = cli.find_subcommand_mut("serve").unwrap();
    let mut rows = String::new();
    for setting in config["env"].as_array().unwrap() {
        let [name, value] = ["name", "value"].map(|key| setting[key].as_str().unwrap());
        let flag = serve.get_arguments().find(|arg| arg.get_env().is_some_and(|env| env == name));
        let default = flag.unwrap().get_default_values().first();
        let default = default.map_or("", |value| value.to_str().unwrap());
        assert_eq!(value.replace("false", ""), default, "{name}");
        assert_eq!(setting["settable"], serde_json::json!(["value"]), "{name}");
        let shown = if value.is_empty() { String::new() } else { format!("`{value}` ") };
        rows += &format!("| `{name}` | {shown}|\n");
    }
    let document = fs::read_to_string("docs/managed-plugin.md").unwrap();
    assert!(document.contains(&format!("|---|---|\n{rows}\n")), "{rows}");
    let entry: Vec<&str> = config["entrypoint"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert!(cli.try_get_matches_from(entry).is_ok());
}

#[test]
fn the_tests_that_the_plugins_document_names_are_there() {
    let document = fs::read_to_string("docs/managed-plugin.md").unwrap();
    let (_, table) = document.split_once("| | bytes | labels | test").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let test = row.split('`').rev().nth(1).unwrap();
        let (module, name) = test.split_once("::").unwrap_or_else(|| panic!("no test: {row}"));
        let tests = fs::read_to_string(format!("tests/plugin/{module}.rs")).unwrap();
        assert!(tests.contains(&format!("#[test]\nfn {name}() {{")), "{row}");
    }
}

/// A claim has its test beside it, as `tier/module::name`.
#[test]
fn the_tests_that_the_documents_name_are_there() {
    let mut named = 0;
    for document in ["docs/limits.md", "docs/reliability.md", "docs/security.md"] {
        let text = fs::read_to_string(document).unwrap();
        for test in text.split('`').skip(1).step_by(2) {
            let Some((path, name)) = test.split_once("::") else { continue };
            let Some((tier, module)) = path.split_once('/') else { continue };
            let tests = fs::read_to_string(format!("tests/{tier}/{module}.rs"));
            let tests = tests.unwrap_or_else(|error| panic!("{document}: {test}: {error}"));
            assert!(tests.contains(&format!("#[test]\nfn {name}() {{")), "{document}: {test}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut documents: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
        .into_iter()
        .chain(["SECURITY.md"])
        .chain(["packaging/monitoring/README.md", "examples/README.md"])
        .map(PathBuf::from)
        .collect();
    documents.extend(fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()));
    let mut dead = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document).unwrap();
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let heads = fs::read_to_string(&target).unwrap_or_default();
            let mut anchors = heads.lines().filter(|line| line.starts_with('#')).map(|line| {
                let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                text.replace(['`', ',', '.', '\''], "")
            });
            let found = target.exists() && (anchor.is_empty() || anchors.any(|it| it == anchor));
            dead.extend((!found).then(|| format!("{}: {link}", document.display())));
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn the_change_log_names_the_version_that_is_built() {
    let log = fs::read_to_string("CHANGELOG.md").unwrap();
    let newest = log.lines().find(|line| line.starts_with("## ")).unwrap();
    let expected = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(newest == expected || newest.starts_with(&format!("{expected} ")), "{newest}");
}

/// The code of a file: without comments, and without its unit tests.
fn code(source: &Source) -> impl Iterator<Item = &str> {
    let end = source.text.find("#[cfg(test)]").unwrap_or(source.text.len());
    source.text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The rows of the table whose head begins with `head`, cell by cell.
fn table<'a>(text: &'a str, head: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let rows = text.lines().skip_while(move |line| !line.starts_with(head)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').skip(1).map(str::trim).collect())
}

/// The metrics with a sample of every family.
fn metrics() -> String {
    let volume = dirvol::metrics::Volume {
        name: "db".into(),
        retain: Some("1day".into()),
        created: Some(1),
        abnormal: false,
    };
    let metrics = dirvol::metrics::Metrics::new();
    metrics.keep(Seen { volumes: 1, trash_entries: 0, described: vec![volume] });
    let root = "/r".to_owned();
    let file_system = FileSystem { root, size: 1, avail: 1, files: 1, files_free: 1 };
    metrics.render(&Now {
        available: true,
        file_system: Some(file_system),
        mounts: &|_| 0,
        log_lines_dropped: 0,
    })
}

/// The families of the metrics: name, type, and the labels of the samples.
fn families() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let text = metrics();
    let families = text.split("# TYPE ").skip(1).map(|family| {
        let mut lines = family.lines();
        let (name, kind) = lines.next().unwrap().split_once(' ').unwrap();
        let labels = lines.filter(|line| !line.starts_with('#')).flat_map(|sample| {
            assert!(sample.starts_with(name), "{sample} is not of {name}");
            let labels = sample.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            let labels = labels.into_iter().flat_map(|(labels, _)| labels.split(','));
            let names = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
            names.filter(|name| name != "le")
        });
        (name.to_owned(), kind.to_owned(), labels.collect())
    });
    families.collect()
}

fn files_with(needles: &[&str]) -> BTreeSet<PathBuf> {
    let has = |source: &&Source| code(source).any(|line| needles.iter().any(|n| line.contains(n)));
    sources().iter().filter(has).map(|source| source.path.clone()).collect()
}

fn rooms_with(needles: &[&str]) -> Vec<String> {
    let files = files_with(needles);
    let rooms: BTreeSet<String> = files.iter().map(|path| room(path)).collect();
    rooms.into_iter().collect()
}

fn words_after(line: &str, prefix: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in line.split(prefix).skip(1) {
        let names = part.strip_prefix('{').map_or(part, |list| list.split('}').next().unwrap());
        let many = part.starts_with('{');
        for name in names.split(',').take(if many { usize::MAX } else { 1 }) {
            let word: String =
                name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            words.push(word);
        }
    }
    words
}

fn sources() -> Vec<Source> {
    let files = rust_files(Path::new("src"));
    assert!(files.len() > 30, "the tests run at the top of the tree");
    files.into_iter().map(|path| read(path.clone(), room(&path))).collect()
}

fn read(path: PathBuf, room: String) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    Source { path, room, text }
}

/// `src/store/dir.rs` and `src/store.rs` are both in the room `store`.
fn room(path: &Path) -> String {
    let first = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn manifest() -> String {
    fs::read_to_string("Cargo.toml").unwrap()
}
