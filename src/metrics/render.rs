//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::causes::{ERROR_KINDS, PURGES};
use super::counters::Metrics;
use super::{ENDPOINTS, OUTCOMES};

/// What a scrape is answered as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a look at the root found. It stands until the next look finds something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many volumes there are.
    pub volumes: usize,
    /// How many removed volumes can be restored.
    pub trash_entries: usize,
    /// The volumes that have series of their own.
    pub described: Vec<Volume>,
}

/// A volume that has series of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// How long it is kept after its removal, where its record says it.
    pub retain: Option<String>,
    /// When it was created, in seconds since 1970, where its record says it.
    pub created: Option<u64>,
    /// Whether it is damaged.
    pub abnormal: bool,
}

/// The file system of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// The path of the root.
    pub root: String,
    /// All the bytes there are.
    pub size: u64,
    /// The bytes that may still be written by someone who is not root.
    pub avail: u64,
    /// All the files there may be; zero where that has no limit.
    pub files: u64,
    /// The files that may still be made.
    pub files_free: u64,
}

/// What is asked anew for each scrape.
pub struct Now<'a> {
    /// Whether the root is served.
    pub available: bool,
    /// The file system, where it answered.
    pub file_system: Option<FileSystem>,
    /// How many mount IDs hold the volume of that name.
    pub mounts: &'a dyn Fn(&str) -> usize,
    /// How many lines of log were dropped.
    pub log_lines_dropped: u64,
}

impl std::fmt::Debug for Now<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Now").field("available", &self.available).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Writes everything. The series of calls are there from the start, each at
    /// zero, so that a rate of the first one is seen too.
    pub fn render(&self, now: &Now<'_>) -> String {
        let mut text = Text(String::with_capacity(16 * 1024));
        text.family("dirvol_build_info", "gauge", "The version that runs.");
        text.sample("dirvol_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        text.family("dirvol_start_time_seconds", "gauge", "When the driver started.");
        text.sample("dirvol_start_time_seconds", &[], seconds(started));
        text.family("dirvol_available", "gauge", "Whether the root is served.");
        text.sample("dirvol_available", &[], u8::from(now.available));
        self.render_calls(&mut text);
        self.render_root(&mut text);
        render_file_system(&mut text, now.file_system.as_ref());
        let help = "Lines of log that nobody read in time.";
        text.family("dirvol_log_lines_dropped_total", "counter", help);
        text.sample("dirvol_log_lines_dropped_total", &[], now.log_lines_dropped);
        self.render_volumes(&mut text, now);
        text.0
    }

    fn render_calls(&self, text: &mut Text) {
        text.family("dirvol_requests_total", "counter", "Calls of the protocol.");
        for (endpoint, label) in ENDPOINTS {
            for (outcome, outcome_label) in OUTCOMES {
                let labels = [("endpoint", label), ("outcome", outcome_label)];
                let count = &self.requests[endpoint as usize][outcome as usize];
                text.sample("dirvol_requests_total", &labels, load(count));
            }
        }
        let help = "Calls that are being answered.";
        text.family("dirvol_requests_in_flight", "gauge", help);
        text.sample("dirvol_requests_in_flight", &[], load(&self.in_flight));
        let help = "How long calls took, from their head to their answer.";
        text.family("dirvol_request_duration_seconds", "histogram", help);
        for (endpoint, label) in ENDPOINTS {
            let read = self.durations[endpoint as usize].read();
            let mut all = 0;
            for (bound, calls) in read.buckets {
                let labels = [("endpoint", label), ("le", bound)];
                text.sample("dirvol_request_duration_seconds_bucket", &labels, calls);
                all = calls;
            }
            let labels = [("endpoint", label)];
            text.sample("dirvol_request_duration_seconds_sum", &labels, seconds(read.sum));
            text.sample("dirvol_request_duration_seconds_count", &labels, all);
        }
        text.family("dirvol_errors_total", "counter", "Calls that failed, by their cause.");
        for (kind, label) in ERROR_KINDS {
            let count = load(&self.errors[kind as usize]);
            text.sample("dirvol_errors_total", &[("kind", label)], count);
        }
    }

    fn render_root(&self, text: &mut Text) {
        let seen = self.seen();
        text.family("dirvol_volumes", "gauge", "Volumes in the root.");
        text.sample("dirvol_volumes", &[], seen.volumes);
        let help = "Volumes that have no series of their own.";
        text.family("dirvol_volumes_omitted", "gauge", help);
        let omitted = seen.volumes.saturating_sub(seen.described.len());
        text.sample("dirvol_volumes_omitted", &[], omitted);
        let help = "Removed volumes that can be restored.";
        text.family("dirvol_trash_entries", "gauge", help);
        text.sample("dirvol_trash_entries", &[], seen.trash_entries);
        let help = "Removed volumes that were deleted for good.";
        text.family("dirvol_trash_purged_total", "counter", help);
        for (reason, label) in PURGES {
            let count = load(&self.purged[reason as usize]);
            text.sample("dirvol_trash_purged_total", &[("reason", label)], count);
        }
    }

    fn render_volumes(&self, text: &mut Text, now: &Now<'_>) {
        let seen = self.seen();
        let volumes = &seen.described;
        text.family("dirvol_volume_info", "gauge", "A volume, and how long it is kept.");
        for volume in volumes {
            let retain = volume.retain.as_deref().unwrap_or("unknown");
            let labels = [("volume", volume.name.as_str()), ("retain", retain)];
            text.sample("dirvol_volume_info", &labels, 1);
        }
        let mut each = |name: &str, help: &str, value: &dyn Fn(&Volume) -> Option<u64>| {
            text.family(name, "gauge", help);
            for volume in volumes {
                if let Some(value) = value(volume) {
                    text.sample(name, &[("volume", &volume.name)], value);
                }
            }
        };
        let help = "When a volume was created.";
        each("dirvol_volume_created_timestamp_seconds", help, &|volume| volume.created);
        let mounts = |volume: &Volume| Some((now.mounts)(&volume.name) as u64);
        each("dirvol_volume_mounts", "Mount IDs that hold a volume.", &mounts);
        let help = "Whether a volume is damaged.";
        let abnormal = |volume: &Volume| Some(u64::from(volume.abnormal));
        each("dirvol_volume_health_status_abnormal", help, &abnormal);
    }
}

/// Where the file system did not answer, there are no samples: the last ones
/// would look as if all were well.
fn render_file_system(text: &mut Text, found: Option<&FileSystem>) {
    let mut one = |name: &str, help: &str, value: fn(&FileSystem) -> u64| {
        text.family(name, "gauge", help);
        if let Some(found) = found {
            text.sample(name, &[("root", &found.root)], value(found));
        }
    };
    let help = "Bytes of the root's file system.";
    one("dirvol_filesystem_size_bytes", help, |found| found.size);
    let help = "Bytes of it that may still be written.";
    one("dirvol_filesystem_avail_bytes", help, |found| found.avail);
    let help = "Files that it may hold; 0 where it has no limit.";
    one("dirvol_filesystem_files", help, |found| found.files);
    let help = "Files that may still be made in it.";
    one("dirvol_filesystem_files_free", help, |found| found.files_free);
}

/// The text, as far as it is written.
struct Text(String);

impl Text {
    /// Begins a family. Its samples come next, all together.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            push_escaped(&mut self.0, value);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }
}

/// Writes the value of a label: a path may hold anything.
fn push_escaped(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_a_label_is_escaped() {
        let root = "/a \"b\"\\n\nü{}".to_owned();
        let found = FileSystem { root, size: 4, avail: 3, files: 2, files_free: 1 };
        let mut text = Text(String::new());
        render_file_system(&mut text, Some(&found));
        let samples: Vec<&str> = text.0.lines().filter(|line| !line.starts_with('#')).collect();
        let label = r#"{root="/a \"b\"\\n\nü{}"}"#;
        assert_eq!(
            samples,
            [
                format!("dirvol_filesystem_size_bytes{label} 4"),
                format!("dirvol_filesystem_avail_bytes{label} 3"),
                format!("dirvol_filesystem_files{label} 2"),
                format!("dirvol_filesystem_files_free{label} 1"),
            ]
        );
    }

    #[test]
    fn seconds_are_written_with_their_millionths() {
        assert_eq!(seconds(Duration::from_micros(0)), "0.000000");
        assert_eq!(seconds(Duration::from_micros(61_000_042)), "61.000042");
    }
}
