//! `/Dirvol.Clone`, and how far it has come.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::body::bad;
use super::reply::{Failure, Reply};
use super::routes::Call;
use super::verbs::{options, success};
use crate::api;
use crate::store::Copied;
use crate::volume::change::Created;
use crate::volume::{Error, Fixture, VolumeName};

/// How long a copy may take that a person waits for: somewhat less than the command line
/// does.
pub(super) const LIMIT: Duration = Duration::from_secs(3500);

impl Call<'_> {
    pub(super) async fn clone_volume(&mut self, request: api::Clone) -> Result<Reply, Failure> {
        self.name.clone_from(&request.name);
        let name = VolumeName::new(&request.name)
            .ok_or_else(|| Failure::from(Error::BadName(request.name.clone())))?;
        let mut opts = request.opts;
        if opts.keys().any(|key| matches!(key.to_ascii_lowercase().as_str(), "from" | "live")) {
            return Err(bad(format!("volume {name}: \"from\" and \"live\" are no options here")));
        }
        opts.insert("from".into(), request.from.clone());
        opts.insert("live".into(), request.live.to_string());
        let options = options(&name, &opts, Fixture::Off)?;
        let mut answer = api::Cloned {
            name: name.to_string(),
            from: request.from,
            method: None,
            files: None,
            bytes: None,
            skipped: Vec::new(),
            more_skipped: 0,
        };
        match self.make(LIMIT, name, options).await? {
            Created::Copy(copied) => {
                self.note = Some(copied_how(&copied));
                answer.method = Some(copied.method.as_str().into());
                (answer.files, answer.bytes) = (copied.files, copied.bytes);
                (answer.skipped, answer.more_skipped) = (copied.skipped, copied.more_skipped);
            }
            Created::Existing | Created::New => self.note = Some("it was there already".into()),
        }
        success(&answer)
    }

    pub(super) fn progress(&mut self, name: String) -> Result<Reply, Failure> {
        let name = self.named(name)?;
        let copying = self.app.driver.copying(&name);
        success(&copying.map_or_else(api::Progress::default, |copying| api::Progress {
            copying: true,
            files: copying.progress.files.load(Ordering::Relaxed),
            bytes: copying.progress.bytes.load(Ordering::Relaxed),
            of_bytes: copying.total.map(|total| total.bytes),
        }))
    }
}

/// Tells how a volume was copied, and what of it was not.
pub(super) fn copied_how(copied: &Copied) -> String {
    let counted = match (copied.files, copied.bytes) {
        (Some(files), Some(bytes)) => format!(": {files} files, {bytes} bytes"),
        _ => String::new(),
    };
    let how = format!("cloned by {}{counted}", copied.method.as_str());
    let more = match copied.skipped.len() as u64 + copied.more_skipped {
        0 | 1 => String::new(),
        all => format!(" and {} more", all - 1),
    };
    match copied.skipped.first() {
        None => how,
        Some(first) => format!("{how}; not copied: {}{more}", first.escape_debug()),
    }
}
