//! What is counted, and how Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted separately: the calls of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/Plugin.Activate`
    Activate,
    /// `/VolumeDriver.Create`
    Create,
    /// `/VolumeDriver.Remove`
    Remove,
    /// `/VolumeDriver.Mount`
    Mount,
    /// `/VolumeDriver.Unmount`
    Unmount,
    /// `/VolumeDriver.Path`
    Path,
    /// `/VolumeDriver.Get`
    Get,
    /// `/VolumeDriver.List`
    List,
    /// `/VolumeDriver.Capabilities`
    Capabilities,
    /// `/Dirvol.List`
    DirvolList,
    /// `/Dirvol.Holders`
    DirvolHolders,
    /// `/Dirvol.Remove`
    DirvolRemove,
    /// `/Dirvol.Set`
    DirvolSet,
    /// `/Dirvol.Prune`
    DirvolPrune,
    /// `/Dirvol.TrashList`
    DirvolTrashList,
    /// `/Dirvol.TrashRestore`
    DirvolTrashRestore,
    /// `/Dirvol.TrashPurge`
    DirvolTrashPurge,
    /// Everything else.
    Other,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With success.
    Ok,
    /// With an error.
    Error,
    /// Without an answer: the connection was closed.
    Closed,
}

const ENDPOINTS: [(Endpoint, &str); 18] = [
    (Endpoint::Activate, "activate"),
    (Endpoint::Create, "create"),
    (Endpoint::Remove, "remove"),
    (Endpoint::Mount, "mount"),
    (Endpoint::Unmount, "unmount"),
    (Endpoint::Path, "path"),
    (Endpoint::Get, "get"),
    (Endpoint::List, "list"),
    (Endpoint::Capabilities, "capabilities"),
    (Endpoint::DirvolList, "dirvol_list"),
    (Endpoint::DirvolHolders, "dirvol_holders"),
    (Endpoint::DirvolRemove, "dirvol_remove"),
    (Endpoint::DirvolSet, "dirvol_set"),
    (Endpoint::DirvolPrune, "dirvol_prune"),
    (Endpoint::DirvolTrashList, "dirvol_trash_list"),
    (Endpoint::DirvolTrashRestore, "dirvol_trash_restore"),
    (Endpoint::DirvolTrashPurge, "dirvol_trash_purge"),
    (Endpoint::Other, "other"),
];

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Ok, "ok"), (Outcome::Error, "error"), (Outcome::Closed, "closed")];

/// The counters, and the gauges that were last read.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [[AtomicU64; OUTCOMES.len()]; ENDPOINTS.len()],
    volumes: AtomicU64,
    trash_entries: AtomicU64,
}

impl Endpoint {
    /// Returns the label that stands for it.
    pub fn as_str(self) -> &'static str {
        ENDPOINTS[self as usize].1
    }

    /// Returns whether it is a call of our own, and not one of Docker's protocol.
    pub fn is_ours(self) -> bool {
        self.as_str().starts_with("dirvol_")
    }

    /// Returns whether it changes a volume or what is known of it.
    pub fn changes(self) -> bool {
        match self {
            Self::Create | Self::Remove | Self::Mount | Self::Unmount => true,
            Self::DirvolRemove | Self::DirvolSet | Self::DirvolPrune => true,
            Self::DirvolTrashRestore | Self::DirvolTrashPurge => true,
            Self::Activate | Self::Path | Self::Get | Self::List | Self::Capabilities => false,
            Self::DirvolList | Self::DirvolHolders | Self::DirvolTrashList | Self::Other => false,
        }
    }
}

impl Metrics {
    /// Counts one call.
    pub fn count(&self, endpoint: Endpoint, outcome: Outcome) {
        self.requests[endpoint as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps how many volumes and entries of the trash there are.
    pub fn set_counts(&self, volumes: usize, trash_entries: usize) {
        self.volumes.store(volumes as u64, Ordering::Relaxed);
        self.trash_entries.store(trash_entries as u64, Ordering::Relaxed);
    }

    /// Writes everything in Prometheus' text format, version 0.0.4.
    pub fn render(&self, available: bool) -> String {
        let mut text = String::with_capacity(4096);
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _infallible = writeln!(text, "{name}{labels} {value}");
            }
        };
        let plain = |value| [(String::new(), value)];
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        family("dirvol_build_info", "gauge", "The version that runs.", &[(version, 1)]);
        family(
            "dirvol_available",
            "gauge",
            "Whether the root is served.",
            &plain(u64::from(available)),
        );
        let mut requests = Vec::new();
        for (endpoint, endpoint_label) in ENDPOINTS {
            for (outcome, outcome_label) in OUTCOMES {
                let labels =
                    format!("{{endpoint=\"{endpoint_label}\",outcome=\"{outcome_label}\"}}");
                let count = &self.requests[endpoint as usize][outcome as usize];
                requests.push((labels, count.load(Ordering::Relaxed)));
            }
        }
        family("dirvol_requests_total", "counter", "Calls of the protocol.", &requests);
        family(
            "dirvol_volumes",
            "gauge",
            "Volumes in the root.",
            &plain(self.volumes.load(Ordering::Relaxed)),
        );
        family(
            "dirvol_trash_entries",
            "gauge",
            "Removed volumes that can be restored.",
            &plain(self.trash_entries.load(Ordering::Relaxed)),
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_the_order_of_the_enums() {
        for (at, (endpoint, _)) in ENDPOINTS.iter().enumerate() {
            assert_eq!(*endpoint as usize, at);
        }
        for (at, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
        }
    }

    #[test]
    fn a_call_is_counted_under_its_endpoint_and_outcome() {
        let metrics = Metrics::default();
        metrics.count(Endpoint::Get, Outcome::Closed);
        metrics.set_counts(3, 1);
        let text = metrics.render(true);
        let counted: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0")).collect();
        let version = format!("dirvol_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            counted,
            [
                version.as_str(),
                "dirvol_available 1",
                "dirvol_requests_total{endpoint=\"get\",outcome=\"closed\"} 1",
                "dirvol_volumes 3",
                "dirvol_trash_entries 1",
            ]
        );
    }
}
