//! `/Dirvol.Usage`, the one call that may take as long as a volume is large.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::reply::{Failure, Reply};
use super::routes::Call;
use super::verbs::success;
use crate::api;

/// How long a walk may take, and the wait for those before it. The command line
/// waits for a little longer.
const WALK_LIMIT: Duration = Duration::from_secs(3500);

/// Ends a walk when nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Call<'_> {
    pub(super) async fn usage(&mut self, request: api::Named) -> Result<Reply, Failure> {
        let name = self.named(request.name)?;
        let walk = Arc::clone(&self.app.walks).acquire_owned();
        let Ok(Ok(walk)) = timeout(WALK_LIMIT, walk).await else { return Err(Failure::Busy) };
        let stop = Arc::new(AtomicBool::new(false));
        let _waiting = Waiting(Arc::clone(&stop));
        let walking = self.app.read_from_disk(WALK_LIMIT, move |driver| {
            let held = driver.walk(&name, &stop);
            drop(walk);
            held
        });
        let held = walking.await?;
        success(&api::Usage { bytes: held.bytes, apparent: held.apparent, inodes: held.inodes })
    }
}
