//! Fifty volumes as a host has them, each with a fixed size and age: those of the
//! examples in docs/seeing.md.

use std::fs::{self, File, FileTimes};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::fcntl::{FallocateFlags, fallocate};
use serde_json::json;

use crate::harness::{DONE, Serve};

const OF: [&str; 10] =
    ["blog", "chat", "git", "mail", "maps", "music", "photos", "shop", "wiki", "www"];
const KINDS: [&str; 5] = ["cache", "db", "files", "queue", "search"];

const MIB: i64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

/// Makes the volumes; those that have a limit only where `limited`.
pub fn make(serve: &Serve, limited: bool) {
    let names = OF.iter().flat_map(|of| KINDS.map(|kind| (format!("{of}-{kind}"), kind)));
    for (n, (name, kind)) in (0u16..).zip(names) {
        let size = match kind {
            "cache" if limited => Some("8M"),
            "db" if limited => Some("32M"),
            _ => None,
        };
        let options = size.map_or_else(|| json!({}), |size| json!({"size": size}));
        let body = json!({"Name": name, "Opts": options}).to_string();
        assert_eq!(serve.ok("VolumeDriver.Create", &body), DONE);
        let volume = serve.root.join("volumes").join(&name);
        let file = File::create_new(volume.join("data/file")).unwrap();
        let held = if kind == "cache" { n % 7 } else { n * 7 % 23 };
        let held = MIB * (1 + i64::from(held));
        fallocate(file.as_fd(), FallocateFlags::empty(), 0, held).unwrap();
        if kind == "search" {
            // A hole takes no space.
            file.set_len(1 << 30).unwrap();
        }
        if kind == "db" {
            serve.ok("VolumeDriver.Mount", &json!({"Name": name, "ID": name}).to_string());
        }
        // In the middle of an hour: it stays the same one while the test runs.
        let now = SystemTime::now() - HOUR / 2;
        let created = now - HOUR * u32::from(13 * n + 3);
        age(&volume.join("volume.json"), created);
        let used = FileTimes::new().set_modified(now - HOUR * u32::from(n % 9 + 2));
        File::open(serve.state.join("seen").join(&name)).unwrap().set_times(used).unwrap();
    }
    nix::unistd::sync();
}

/// Has a record say another time.
fn age(record: &Path, created: SystemTime) {
    let mut parsed: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    parsed["created"] = humantime::format_rfc3339_seconds(created).to_string().into();
    fs::write(record, parsed.to_string()).unwrap();
}

/// What the document says that a command prints.
pub fn documented(command: &str) -> &'static str {
    let text = include_str!("../../docs/seeing.md");
    let start = format!("```console\n# {command}\n");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{command}: no example"));
    rest.split_once("```").unwrap().0
}

/// What a command prints that must succeed.
pub fn printed(serve: &Serve, line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).args(line.split_whitespace());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
