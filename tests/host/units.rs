//! The units for systemd, without a systemd that runs; and what `make install` installs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use clap::CommandFactory;

use crate::harness::{Client, DONE, Setup, eventually, temporary};

const UNITS: [&str; 5] = [
    "dirvol-announce.service",
    "dirvol.service",
    "dirvol.socket",
    "dirvol@.service",
    "dirvol@.socket",
];

/// Directives of the service that are no hardening.
const PLAIN: [&str; 12] = [
    "Environment",
    "EnvironmentFile",
    "ExecStart",
    "LimitNOFILE",
    "OOMScoreAdjust",
    "Restart",
    "RestartSec",
    "StateDirectory",
    "StateDirectoryMode",
    "TimeoutStopSec",
    "Type",
    "WatchdogSec",
];

#[test]
fn systemd_has_nothing_to_say_of_the_units() {
    let dir = temporary();
    let units = installed(dir.path());
    for kind in ["service", "socket"] {
        symlink(format!("dirvol@.{kind}"), units.join(format!("dirvol@ssd.{kind}"))).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).current_dir(&units);
    verify.args(UNITS.iter().map(|unit| format!("./{}", unit.replace('@', "@ssd"))));
    assert_eq!(said(&verify.output().unwrap()), "");
}

/// What the document on limits adds to the service.
#[test]
fn systemd_understands_the_lines_for_limits() {
    let dir = temporary();
    let units = installed(dir.path());
    let document = fs::read_to_string("docs/limits.md").unwrap();
    let lines = document.split("```ini\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(lines.contains("CapabilityBoundingSet=CAP_SYS_ADMIN\n"), "{lines}");
    let drop_in = units.join("dirvol.service.d");
    fs::create_dir(&drop_in).unwrap();
    let verify = |lines: &str| {
        fs::write(drop_in.join("quota.conf"), lines).unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "./dirvol.service"]).current_dir(&units);
        said(&verify.output().unwrap())
    };
    assert_eq!(verify(lines), "");
    // It does look at them.
    let strange = verify(&lines.replace("quotactl_fd", "no_such_call"));
    assert!(strange.contains("no_such_call"), "{strange}");
}

#[test]
fn the_exposure_is_at_most_what_the_document_says() {
    let dir = temporary();
    let units = installed(dir.path());
    let document = document();
    let stated = document.split("systemd-analyze security dirvol.service` says ").nth(1).unwrap();
    let stated = tenths(stated);
    for unit in ["./dirvol.service", "./dirvol@.service"] {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--no-pager", unit]).current_dir(&units);
        let output = security.output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        let exposure = report.rsplit("exposure level for ").next().unwrap();
        let exposure = tenths(exposure.split_once(": ").expect(&report).1);
        assert!(exposure <= stated, "{unit}: {report}");
    }
}

#[test]
fn the_document_names_each_capability_and_each_directive_of_the_service() {
    let document = document();
    let service = directives("dirvol.service");
    let capabilities = &service["CapabilityBoundingSet"];
    let stated: BTreeSet<String> = rows(&document, "| capability |").concat().into_iter().collect();
    assert_eq!(stated, capabilities.split(' ').map(str::to_owned).collect());

    let kept: BTreeSet<String> = service
        .keys()
        .filter(|key| !PLAIN.contains(&key.as_str()))
        .map(|key| format!("{key}="))
        .collect();
    let stated: BTreeSet<String> =
        rows(&document, "| directive | what it takes").concat().into_iter().collect();
    assert_eq!(stated, kept);

    let left_out = rows(&document, "| directive | what needs it to be left out").concat();
    let text = fs::read_to_string("packaging/systemd/dirvol.service").unwrap();
    let there: Vec<&String> =
        left_out.iter().filter(|key| text.lines().any(|line| line.starts_with(*key))).collect();
    assert_eq!(there, Vec::<&String>::new());
    assert_eq!(left_out.len(), 10);
}

/// A driver more differs from the one in its names alone.
#[test]
fn the_templates_are_the_units_with_an_instances_names() {
    for kind in ["service", "socket"] {
        let lines = |unit: &str| -> Vec<String> {
            let text = fs::read_to_string(format!("packaging/systemd/{unit}.{kind}")).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        let named =
            |line: String| line.replace("dirvol@%i.", "dirvol.").replace("dirvol-%i", "dirvol");
        let own =
            ["Environment=DIRVOL_ROOT", "Environment=DIRVOL_STATE", "Environment=DIRVOL_SOCK"];
        let template: Vec<String> = lines("dirvol@")
            .into_iter()
            .filter(|line| !own.iter().any(|start| line.starts_with(start)))
            .map(named)
            .collect();
        assert_eq!(template, lines("dirvol"), "{kind}");
    }
}

#[test]
fn the_units_and_the_file_of_settings_name_variables_that_there_are() {
    let cli = dirvol::cli::Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    let known: BTreeSet<String> = serve
        .get_arguments()
        .filter_map(|flag| Some(flag.get_env()?.to_str()?.to_owned()))
        .collect();
    for file in ["dirvol.service", "dirvol@.service", "dirvol.default"] {
        let text = fs::read_to_string(format!("packaging/systemd/{file}")).unwrap();
        let lines = text.lines().map(|line| line.trim_start_matches("Environment="));
        let set = lines.filter_map(|line| line.trim_start_matches('#').split_once('='));
        let names: Vec<&str> =
            set.map(|(name, _)| name).filter(|name| name.starts_with("DIRVOL_")).collect();
        assert!(!names.is_empty(), "{file}");
        assert!(names.iter().all(|name| known.contains(*name)), "{file}: {names:?}");
    }
}

#[test]
fn a_driver_that_systemd_starts_at_the_first_call_answers_that_call() {
    let setup = Setup::new();
    let init = Command::new(env!("CARGO_BIN_EXE_dirvol")).arg("init").arg(setup.root()).output();
    assert!(init.unwrap().status.success());
    let serve = setup.command();
    let mut activate = Command::new("systemd-socket-activate");
    activate.arg("--listen").arg(setup.socket()).arg("--fdname=plugin");
    activate.arg(serve.get_program()).args(serve.get_args()).args(["--init", "never"]);
    activate.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It becomes the driver: there is one process, whatever happens.
    let _driver = Killed(activate.spawn().unwrap());
    eventually("somebody listens", || UnixStream::connect(setup.socket()).ok().map(drop));
    let mut client = Client::connect(&setup.socket());
    let created = client.call("VolumeDriver.Create", r#"{"Name":"db"}"#).unwrap();
    assert_eq!((created.status, created.body.as_str()), (200, DONE));
    assert!(setup.root().join("volumes/db/data").is_dir());
}

#[test]
fn what_is_installed_is_listed_and_starts_the_binary_from_where_it_is() {
    let dir = temporary();
    install(dir.path(), "/usr/local");
    let share = |path: &str| format!("usr/local/share/{path}");
    let mut expected = vec![
        "etc/containers/containers.conf.d/dirvol.conf 0644".to_owned(),
        "etc/default/dirvol 0644".to_owned(),
        "usr/local/bin/dirvol 0755".to_owned(),
    ];
    expected.extend(UNITS.map(|unit| format!("usr/local/lib/systemd/system/{unit} 0644")));
    let documents = ["ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "README.md"];
    expected.extend(documents.map(|file| share(&format!("doc/dirvol/{file} 0644"))));
    for (from, to) in [("docs", "docs"), ("packaging/monitoring", "monitoring")] {
        let files = fs::read_dir(from).unwrap().map(|file| file.unwrap().file_name());
        expected
            .extend(files.map(|file| share(&format!("doc/dirvol/{to}/{} 0644", file.display()))));
    }
    expected.extend([
        share("bash-completion/completions/dirvol 0644"),
        share("fish/vendor_completions.d/dirvol.fish 0644"),
        share("man/man1/dirvol.1 0644"),
        share("zsh/site-functions/_dirvol 0644"),
    ]);
    expected.sort();
    assert_eq!(files(dir.path()), expected);
    for unit in ["dirvol.service", "dirvol@.service"] {
        let text = dir.path().join("usr/local/lib/systemd/system").join(unit);
        let text = fs::read_to_string(text).unwrap();
        assert!(text.contains("\nExecStart=/usr/local/bin/dirvol serve\n"), "{text}");
    }
}

#[test]
fn an_installation_leaves_settings_that_somebody_has_changed() {
    let dir = temporary();
    let settings = dir.path().join("etc/default/dirvol");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(&settings, "DIRVOL_LOG_LEVEL=debug\n").unwrap();
    install(dir.path(), "/usr");
    assert_eq!(fs::read_to_string(settings).unwrap(), "DIRVOL_LOG_LEVEL=debug\n");
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn install(destination: &Path, prefix: &str) {
    let mut install = Command::new("scripts/install");
    install.arg(env!("CARGO_BIN_EXE_dirvol")).env("DESTDIR", destination).env("PREFIX", prefix);
    let output = install.env_remove("ZSH").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// Installs the units below `dir`, with programs that are there on this machine.
fn installed(dir: &Path) -> std::path::PathBuf {
    let units = dir.to_path_buf();
    for unit in UNITS {
        let text = fs::read_to_string(format!("packaging/systemd/{unit}")).unwrap();
        let text = text.replace("/usr/bin/dirvol", env!("CARGO_BIN_EXE_dirvol"));
        fs::write(units.join(unit), text.replace("/usr/bin/docker", "/bin/true")).unwrap();
    }
    units
}

/// The directives in the section of a service; of several values the first.
fn directives(unit: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("packaging/systemd/{unit}")).unwrap();
    let section = text.split("[Service]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let mut found = BTreeMap::new();
    for line in section.lines().filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.split_once('=') else { continue };
        found.entry(key.to_owned()).or_insert(value.to_owned());
    }
    found
}

fn document() -> String {
    fs::read_to_string("docs/systemd.md").unwrap()
}

/// What stands in backquotes in the first cells of the table whose head starts so.
fn rows(document: &str, head: &str) -> Vec<Vec<String>> {
    let lines = document.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows: Vec<Vec<String>> = lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap())
        .map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        .collect();
    assert!(!rows.is_empty(), "there is no table {head}");
    rows
}

/// The number that a text begins with, in tenths.
fn tenths(text: &str) -> u32 {
    let number: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let (whole, tenth) = number.trim_end_matches('.').split_once('.').expect(text);
    whole.parse::<u32>().unwrap() * 10 + tenth.parse::<u32>().unwrap()
}

/// Every file below a directory with its permissions, in order.
fn files(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![top.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(format!("{} {mode:04o}", path.strip_prefix(top).unwrap().display()));
            }
        }
    }
    found.sort();
    found
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(|text| String::from_utf8_lossy(text)).concat()
}
