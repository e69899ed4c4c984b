//! The SELinux label of a data directory: containers may use what is labelled for
//! them. Engines label their own volumes, and a plugin's only with `:z`.

use std::os::fd::AsFd;

use super::dir::Dir;
use super::error::{Error, Result};
use crate::sys::selinux::{self, CONTAINER_FILE, CONTAINER_TYPE};

impl Dir {
    /// Labels this directory, and so what is made in it later, for containers, where
    /// SELinux is on.
    pub(super) fn label_for_containers(&self) -> Result<()> {
        if !selinux::is_on() {
            return Ok(());
        }
        self.step("fsetxattr", "")?;
        selinux::set_label(self.as_fd(), CONTAINER_FILE).map_err(|source| Error {
            op: "fsetxattr",
            path: self.path().to_path_buf(),
            source,
        })
    }

    /// Returns why SELinux keeps containers from this directory, or would if it were
    /// enforcing; `None` where it does not. It is asked where SELinux is on.
    pub(super) fn mislabelled(&self) -> Option<String> {
        match selinux::label(self.as_fd()) {
            Ok(Some(label)) if label.split(':').nth(2) == Some(CONTAINER_TYPE) => None,
            Ok(Some(label)) => Some(format!("its SELinux label is {label}, not {CONTAINER_FILE}")),
            Ok(None) => Some(format!("it has no SELinux label, and should have {CONTAINER_FILE}")),
            Err(error) => Some(format!("its SELinux label cannot be read: {error}")),
        }
    }
}
