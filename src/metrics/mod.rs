//! What is counted, and how Prometheus reads it. Nothing here knows a disk: what
//! a scrape tells of it was found by somebody else, and is handed in.

mod causes;
mod counters;
mod histogram;
mod render;

pub use causes::{ErrorKind, Purge};
pub use counters::{InFlight, Metrics};
pub use render::{CONTENT_TYPE, FileSystem, Now, Seen, Volume};

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
    /// `/Dirvol.Adopt`
    DirvolAdopt,
    /// `/Dirvol.Clone`
    DirvolClone,
    /// `/Dirvol.List`
    DirvolList,
    /// `/Dirvol.Holders`
    DirvolHolders,
    /// `/Dirvol.Remove`
    DirvolRemove,
    /// `/Dirvol.Set`
    DirvolSet,
    /// `/Dirvol.Progress`
    DirvolProgress,
    /// `/Dirvol.Prune`
    DirvolPrune,
    /// `/Dirvol.Import`
    DirvolImport,
    /// `/Dirvol.Export`
    DirvolExport,
    /// `/Dirvol.TrashList`
    DirvolTrashList,
    /// `/Dirvol.TrashRestore`
    DirvolTrashRestore,
    /// `/Dirvol.TrashPurge`
    DirvolTrashPurge,
    /// `/Dirvol.Usage`
    DirvolUsage,
    /// `/Dirvol.Release`
    DirvolRelease,
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

const ENDPOINTS: [(Endpoint, &str); 25] = [
    (Endpoint::Activate, "activate"),
    (Endpoint::Create, "create"),
    (Endpoint::Remove, "remove"),
    (Endpoint::Mount, "mount"),
    (Endpoint::Unmount, "unmount"),
    (Endpoint::Path, "path"),
    (Endpoint::Get, "get"),
    (Endpoint::List, "list"),
    (Endpoint::Capabilities, "capabilities"),
    (Endpoint::DirvolAdopt, "dirvol_adopt"),
    (Endpoint::DirvolClone, "dirvol_clone"),
    (Endpoint::DirvolList, "dirvol_list"),
    (Endpoint::DirvolHolders, "dirvol_holders"),
    (Endpoint::DirvolRemove, "dirvol_remove"),
    (Endpoint::DirvolSet, "dirvol_set"),
    (Endpoint::DirvolProgress, "dirvol_progress"),
    (Endpoint::DirvolPrune, "dirvol_prune"),
    (Endpoint::DirvolImport, "dirvol_import"),
    (Endpoint::DirvolExport, "dirvol_export"),
    (Endpoint::DirvolTrashList, "dirvol_trash_list"),
    (Endpoint::DirvolTrashRestore, "dirvol_trash_restore"),
    (Endpoint::DirvolTrashPurge, "dirvol_trash_purge"),
    (Endpoint::DirvolUsage, "dirvol_usage"),
    (Endpoint::DirvolRelease, "dirvol_release"),
    (Endpoint::Other, "other"),
];

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Ok, "ok"), (Outcome::Error, "error"), (Outcome::Closed, "closed")];

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
            Self::DirvolAdopt
            | Self::DirvolClone
            | Self::DirvolRemove
            | Self::DirvolSet
            | Self::DirvolPrune
            | Self::DirvolRelease => true,
            Self::DirvolImport | Self::DirvolTrashRestore | Self::DirvolTrashPurge => true,
            Self::Activate | Self::Path | Self::Get | Self::List | Self::Capabilities => false,
            Self::DirvolList | Self::DirvolHolders | Self::DirvolTrashList => false,
            Self::DirvolExport | Self::DirvolProgress | Self::DirvolUsage | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::causes::{ERROR_KINDS, PURGES};
    use super::*;

    #[test]
    fn the_tables_are_in_the_order_of_the_enums() {
        for (at, (endpoint, _)) in ENDPOINTS.iter().enumerate() {
            assert_eq!(*endpoint as usize, at);
        }
        for (at, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
        }
        for (at, (kind, _)) in ERROR_KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
        for (at, (reason, _)) in PURGES.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }
}
