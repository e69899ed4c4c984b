//! The whole text of the metrics, as it is expected. What differs from run to run
//! is a `?` in it: times, and the free space of a disk that others use too.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use crate::expect::response;
use crate::harness::{Answer, Serve, get};

const ENDPOINTS: [&str; 25] = [
    "activate",
    "create",
    "remove",
    "mount",
    "unmount",
    "path",
    "get",
    "list",
    "capabilities",
    "dirvol_adopt",
    "dirvol_clone",
    "dirvol_list",
    "dirvol_holders",
    "dirvol_remove",
    "dirvol_set",
    "dirvol_progress",
    "dirvol_prune",
    "dirvol_import",
    "dirvol_export",
    "dirvol_trash_list",
    "dirvol_trash_restore",
    "dirvol_trash_purge",
    "dirvol_usage",
    "dirvol_release",
    "other",
];

const OUTCOMES: [&str; 3] = ["ok", "error", "closed"];

const ERRORS: [&str; 18] = [
    "bad_request",
    "bad_name",
    "bad_option",
    "no_such_volume",
    "options_differ",
    "in_use",
    "protected",
    "no_such_entry",
    "exists",
    "bad_archive",
    "blind",
    "damaged",
    "unavailable",
    "disk",
    "busy",
    "slow",
    "defect",
    "fixture",
];

const BOUNDS: [&str; 10] = ["0.001", "0.005", "0.025", "0.1", "0.5", "1", "5", "30", "60", "120"];

/// What the metrics say; nothing happened where nothing is said.
#[derive(Default)]
pub struct Scraped<'a> {
    /// The root, where it is served.
    pub root: Option<PathBuf>,
    /// By endpoint: calls that were ok, failed, were closed.
    pub calls: Vec<(&'a str, [u64; 3])>,
    pub errors: Vec<(&'a str, u64)>,
    pub volumes: usize,
    pub trash_entries: usize,
    /// Entries of the trash that were purged: expired, for their space, as asked.
    pub purged: [u64; 3],
    /// The volumes with series of their own.
    pub described: Vec<Described<'a>>,
}

/// A volume with series of its own.
pub struct Described<'a> {
    pub name: &'a str,
    pub retain: &'a str,
    pub has_record: bool,
    pub mounts: usize,
    pub abnormal: bool,
}

impl<'a> Described<'a> {
    /// A volume that was created without options, and that nobody uses.
    pub fn new(name: &'a str) -> Self {
        Self { name, retain: "1day", has_record: true, mounts: 0, abnormal: false }
    }
}

/// What a driver says, with `?` for what differs from run to run.
pub fn scrape(serve: &Serve) -> Answer {
    steady(&get(&serve.socket, "/metrics"))
}

/// The answer with `?` for what differs from run to run.
pub fn steady(answer: &Answer) -> Answer {
    let mut text = String::new();
    let mut below = 0;
    for line in answer.body.lines() {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let name = key.split('{').next().unwrap();
        let differs = match name {
            "dirvol_request_duration_seconds_bucket" => {
                // Each holds those below it too; the last, all.
                let calls = value.parse().unwrap();
                assert!(calls >= below || key.contains("le=\"0.001\""), "{line}");
                below = calls;
                !key.contains("le=\"+Inf\"")
            }
            "dirvol_start_time_seconds"
            | "dirvol_request_duration_seconds_sum"
            | "dirvol_filesystem_avail_bytes"
            | "dirvol_filesystem_files_free"
            | "dirvol_volume_created_timestamp_seconds" => {
                let number: f64 = value.parse().unwrap();
                assert!(number >= 0.0, "{line}");
                true
            }
            _ => false,
        };
        let value = if differs { "?" } else { value };
        writeln!(text, "{key} {value}").unwrap();
    }
    let mut headers = answer.headers.clone();
    for header in &mut headers {
        if *header == format!("content-length: {}", answer.body.len()) {
            *header = format!("content-length: {}", text.len());
        }
    }
    Answer { status: answer.status, headers, body: text }
}

impl<'a> Scraped<'a> {
    /// What is said of a root that is served, before anything happened.
    pub fn of(root: &Path) -> Self {
        Self { root: Some(root.to_path_buf()), ..Self::default() }
    }

    /// What a driver says that never had its root, when `scraped` tells how often
    /// it was called.
    pub fn unavailable(scraped: &'a Answer) -> Self {
        let count = |key: String| -> u64 {
            let line = scraped.body.lines().find_map(|line| line.strip_prefix(&key));
            line.unwrap_or_else(|| panic!("{key}")).trim().parse().unwrap()
        };
        let calls = ENDPOINTS.map(|endpoint| {
            let calls = OUTCOMES.map(|outcome| {
                let labels = format!(r#"endpoint="{endpoint}",outcome="{outcome}""#);
                count(format!("dirvol_requests_total{{{labels}}}"))
            });
            (endpoint, calls)
        });
        let errors =
            ERRORS.map(|kind| (kind, count(format!(r#"dirvol_errors_total{{kind="{kind}"}}"#))));
        // Whatever failed, failed for a reason.
        let failed: u64 = calls.iter().map(|(_, [_, error, closed])| error + closed).sum();
        assert_eq!(errors.iter().map(|(_, count)| count).sum::<u64>(), failed);
        Self { calls: calls.into(), errors: errors.into(), ..Self::default() }
    }

    pub fn answer(&self) -> Answer {
        response(200, "text/plain; version=0.0.4; charset=utf-8", self.text())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap();
            for (labels, value) in samples {
                writeln!(text, "{name}{labels} {value}").unwrap();
            }
        };
        let plain = |value: &str| [(String::new(), value.to_owned())];
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        let one = [(version, "1".to_owned())];
        family("dirvol_build_info", "gauge", "The version that runs.", &one);
        let help = "When the driver started.";
        family("dirvol_start_time_seconds", "gauge", help, &plain("?"));
        let available = if self.root.is_some() { "1" } else { "0" };
        family("dirvol_available", "gauge", "Whether the root is served.", &plain(available));

        let calls = |endpoint: &str| {
            let calls = self.calls.iter().find(|(name, _)| *name == endpoint);
            calls.map_or([0; 3], |(_, calls)| *calls)
        };
        let mut requests = Vec::new();
        let mut durations = Vec::new();
        for endpoint in ENDPOINTS {
            for (outcome, count) in OUTCOMES.iter().zip(calls(endpoint)) {
                let labels = format!(r#"{{endpoint="{endpoint}",outcome="{outcome}"}}"#);
                requests.push((labels, count.to_string()));
            }
            for bound in BOUNDS {
                let labels = format!(r#"_bucket{{endpoint="{endpoint}",le="{bound}"}}"#);
                durations.push((labels, "?".to_owned()));
            }
            let all = calls(endpoint).iter().sum::<u64>().to_string();
            let labels = format!(r#"_bucket{{endpoint="{endpoint}",le="+Inf"}}"#);
            durations.push((labels, all.clone()));
            durations.push((format!(r#"_sum{{endpoint="{endpoint}"}}"#), "?".to_owned()));
            durations.push((format!(r#"_count{{endpoint="{endpoint}"}}"#), all));
        }
        family("dirvol_requests_total", "counter", "Calls of the protocol.", &requests);
        let help = "Calls that are being answered.";
        family("dirvol_requests_in_flight", "gauge", help, &plain("0"));
        let help = "How long calls took, from their head to their answer.";
        family("dirvol_request_duration_seconds", "histogram", help, &durations);
        let errors = ERRORS.map(|kind| {
            let count = self.errors.iter().find(|(name, _)| *name == kind);
            let count = count.map_or(0, |(_, count)| *count).to_string();
            (format!(r#"{{kind="{kind}"}}"#), count)
        });
        family("dirvol_errors_total", "counter", "Calls that failed, by their cause.", &errors);

        let volumes = self.volumes.to_string();
        family("dirvol_volumes", "gauge", "Volumes in the root.", &plain(&volumes));
        let omitted = (self.volumes - self.described.len()).to_string();
        let help = "Volumes that have no series of their own.";
        family("dirvol_volumes_omitted", "gauge", help, &plain(&omitted));
        let entries = self.trash_entries.to_string();
        let help = "Removed volumes that can be restored.";
        family("dirvol_trash_entries", "gauge", help, &plain(&entries));
        let purged = [
            (r#"{reason="expired"}"#.to_owned(), self.purged[0].to_string()),
            (r#"{reason="low_space"}"#.to_owned(), self.purged[1].to_string()),
            (r#"{reason="asked"}"#.to_owned(), self.purged[2].to_string()),
        ];
        let help = "Removed volumes that were deleted for good.";
        family("dirvol_trash_purged_total", "counter", help, &purged);

        let mut file_system = |name: &str, help: &str, value: fn(&Path) -> String| {
            let sample = |root: &PathBuf| (format!("{{root=\"{}\"}}", root.display()), value(root));
            let samples: Vec<_> = self.root.iter().map(sample).collect();
            family(&format!("dirvol_filesystem_{name}"), "gauge", help, &samples);
        };
        file_system("size_bytes", "Bytes of the root's file system.", |root| {
            let stat = statvfs(root).unwrap();
            (stat.blocks() * stat.fragment_size()).to_string()
        });
        let help = "Bytes of it that may still be written.";
        file_system("avail_bytes", help, |_| "?".into());
        let help = "Files that it may hold; 0 where it has no limit.";
        file_system("files", help, |root| statvfs(root).unwrap().files().to_string());
        let help = "Files that may still be made in it.";
        file_system("files_free", help, |_| "?".into());
        let help = "Lines of log that nobody read in time.";
        family("dirvol_log_lines_dropped_total", "counter", help, &plain("0"));

        let infos = self.described.iter().map(|Described { name, retain, .. }| {
            (format!(r#"{{volume="{name}",retain="{retain}"}}"#), "1".to_owned())
        });
        let help = "A volume, and how long it is kept.";
        family("dirvol_volume_info", "gauge", help, &infos.collect::<Vec<_>>());
        let mut each = |name: &str, help: &str, value: fn(&Described) -> Option<String>| {
            let sample = |volume: &Described| {
                Some((format!(r#"{{volume="{}"}}"#, volume.name), value(volume)?))
            };
            let samples: Vec<_> = self.described.iter().filter_map(sample).collect();
            family(&format!("dirvol_volume_{name}"), "gauge", help, &samples);
        };
        each("created_timestamp_seconds", "When a volume was created.", |volume| {
            volume.has_record.then(|| "?".into())
        });
        let mounts = |volume: &Described| Some(volume.mounts.to_string());
        each("mounts", "Mount IDs that hold a volume.", mounts);
        let abnormal = |volume: &Described| Some(u8::from(volume.abnormal).to_string());
        each("health_status_abnormal", "Whether a volume is damaged.", abnormal);
        text
    }
}
