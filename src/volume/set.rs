//! Options that are changed after the Create.

use super::driver::Driver;
use super::error::Error;
use super::name::VolumeName;
use super::nodes::refuse_unless_ordered;
use super::options::{BadOption, Options};
use super::record::Record;
use super::refuse::{refuse_if_not_to_give, refuse_unless_limited, refuse_unless_to_set};
use crate::store::Ownership;

impl Driver {
    /// Sets options of the volume `name`, and returns those in force. Owner, group
    /// and mode are those of its data directory from then on; what lies in it
    /// stays as it is. Setting the same again is success.
    ///
    /// # Errors
    /// No root, no such volume, a damaged one, an owner that this driver cannot give
    /// it to, or the disk.
    pub fn set(&self, name: &VolumeName, options: &Options) -> Result<Options, Error> {
        if let Some(key) = options.of_creation() {
            let why = BadOption(format!("option {key:?} says how a volume is made: leave it out"));
            return Err(Error::BadOption(name.to_string(), why));
        }
        let (lock, root) = self.enter(name)?;
        let volume = self.existing(&root, name)?;
        let record = self.usable(&volume)?;
        refuse_unless_ordered(&lock, name)?;
        refuse_unless_to_set(name, record, options)?;
        let record = Record { set: options.or(&record.set), ..record.clone() };
        let limited = options.size.is_some() || options.inodes.is_some();
        let limit = limited.then(|| self.in_force(&record).limit());
        refuse_unless_limited(name, limit.unwrap_or_default(), |limit| {
            root.can_limit_volume(name.file(), limit)
        })?;
        let bytes = record.to_bytes(name);
        let owner = Ownership { uid: options.uid, gid: options.gid, mode: options.mode };
        refuse_if_not_to_give(name, owner)?;
        let _changing = self.changing(name);
        let set = self.with_room(&root, || root.rewrite(name.file(), &bytes, owner, limit));
        set.map_err(|error| {
            self.give_up_if_unsynced(&root);
            Error::Disk(name.clone(), error)
        })?;
        Ok(self.in_force(&record))
    }
}
