//! What is refused before anything is changed, for the kernel would refuse it when a
//! volume is half made.

use super::error::Error;
use super::name::VolumeName;
use super::options::{BadOption, Options};
use super::record::Record;
use crate::store::{Amount, NoLimits, Ownership};
use crate::sys::credentials::Credentials;

/// Refuses an owner or group that the driver's user cannot give a directory to:
/// the kernel would say so when the volume is half made.
pub(super) fn refuse_if_not_to_give(name: &VolumeName, owner: Ownership) -> Result<(), Error> {
    if (owner.uid, owner.gid) == (None, None) {
        return Ok(());
    }
    // Ignoring where /proc does not say: the kernel then does.
    let Ok(own) = Credentials::own() else { return Ok(()) };
    let refuse =
        |option, asked: u32, own| Err(Error::NotToGive { name: name.clone(), option, asked, own });
    match (owner.uid, owner.gid) {
        (Some(uid), _) if !own.may_give_to_user(uid) => {
            refuse("uid", uid, format!("user {}", own.uid))
        }
        (_, Some(gid)) if !own.may_give_to_group(gid) => {
            refuse("gid", gid, format!("group {}", own.gids[0]))
        }
        _ => Ok(()),
    }
}

/// Refuses a limit of the volume `name` that the kernel would not keep, as `can` tells:
/// of a new volume, [`Root::can_limit`](crate::store::Root::can_limit).
pub(super) fn refuse_unless_limited(
    name: &VolumeName,
    limit: Amount,
    can: impl FnOnce(Amount) -> Result<(), NoLimits>,
) -> Result<(), Error> {
    if limit == Amount::default() {
        return Ok(());
    }
    can(limit).map_err(|why| Error::NoLimits(name.clone(), why))
}

/// Refuses to set options that mean nothing where a volume is a directory outside the
/// root.
pub(super) fn refuse_unless_to_set(
    name: &VolumeName,
    record: &Record,
    options: &Options,
) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::BadOption(name.to_string(), BadOption(why)));
    let Some(path) = record.place() else { return Ok(()) };
    let stated = options.to_map();
    match stated.keys().find(|key| *key != "protect") {
        None => Ok(()),
        Some(key) => refuse(format!(
            "option {key:?} cannot be set: the volume is {}, which stays as it is; protect can be \
             set",
            path.display()
        )),
    }
}
