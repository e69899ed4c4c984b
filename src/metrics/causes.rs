//! Why calls fail, and why entries of the trash go: each a label with few values,
//! none of which comes from a client.

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The call makes no sense: no body, no name, no such method.
    BadRequest,
    /// No volume may be called that.
    BadName,
    /// The options of a Create cannot be used.
    BadOption,
    /// There is no such volume.
    NoSuchVolume,
    /// There is one with other options.
    OptionsDiffer,
    /// Somebody uses the volume.
    InUse,
    /// The volume is protected from removal.
    Protected,
    /// There is no such entry in the trash.
    NoSuchEntry,
    /// A volume stands where one is to be restored.
    Exists,
    /// An archive cannot be used.
    BadArchive,
    /// It cannot be told who uses the volumes.
    Blind,
    /// The volume is damaged.
    Damaged,
    /// The root is not served.
    Unavailable,
    /// The disk refused.
    Disk,
    /// Too many operations wait for the disk.
    Busy,
    /// The disk did not answer in time.
    Slow,
    /// A defect of ours.
    Defect,
    /// A fixture's volume failed as it was told to.
    Fixture,
}

/// Why an entry of the trash was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Its time was up.
    Expired,
    /// Its space was needed.
    LowSpace,
    /// Somebody asked for it.
    Asked,
}

pub(super) const ERROR_KINDS: [(ErrorKind, &str); 18] = [
    (ErrorKind::BadRequest, "bad_request"),
    (ErrorKind::BadName, "bad_name"),
    (ErrorKind::BadOption, "bad_option"),
    (ErrorKind::NoSuchVolume, "no_such_volume"),
    (ErrorKind::OptionsDiffer, "options_differ"),
    (ErrorKind::InUse, "in_use"),
    (ErrorKind::Protected, "protected"),
    (ErrorKind::NoSuchEntry, "no_such_entry"),
    (ErrorKind::Exists, "exists"),
    (ErrorKind::BadArchive, "bad_archive"),
    (ErrorKind::Blind, "blind"),
    (ErrorKind::Damaged, "damaged"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Disk, "disk"),
    (ErrorKind::Busy, "busy"),
    (ErrorKind::Slow, "slow"),
    (ErrorKind::Defect, "defect"),
    (ErrorKind::Fixture, "fixture"),
];

pub(super) const PURGES: [(Purge, &str); 3] =
    [(Purge::Expired, "expired"), (Purge::LowSpace, "low_space"), (Purge::Asked, "asked")];
