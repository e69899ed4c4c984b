//! What all connections share, and the way from the reactor to the disk.

use std::any::Any;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::activity::Activity;
use super::reply::{Failure, Reply};
use super::wire;
use crate::metrics::Metrics;
use crate::store::Scope;
use crate::volume::{Driver, Error};

/// How many operations may be on the disk at a time.
pub const SLOTS: usize = 32;

/// How many of them may walk through a volume, which takes as long as it is large.
const WALKS: usize = 2;

/// How long the next one waits for a slot. Podman gives up after 5 s.
pub(super) const SLOT_WAIT: Duration = Duration::from_secs(4);

/// How many archives may be on their way at a time.
pub const ARCHIVES: usize = 4;

/// How often a read that waits looks whether the disk is known to hang.
const LOOK: Duration = Duration::from_millis(100);

/// How long a look whether the driver may end waits for the disk.
const IDLE_LOOK: Duration = Duration::from_secs(4);

/// How soon after one such look there may be the next.
const IDLE_AGAIN: Duration = Duration::from_secs(1);

/// An operation that tells its result by itself. As one type, all of them share the
/// code that waits for them.
pub(super) type Operation = Box<dyn FnOnce(&Driver) + Send>;

/// The driver, and what the server keeps beside it.
#[derive(Debug)]
pub struct App {
    /// The volumes.
    pub driver: Arc<Driver>,
    /// Whose volumes they are.
    pub scope: Scope,
    /// What is counted.
    pub metrics: Metrics,
    /// How many volumes have metrics of their own.
    pub(super) metrics_volumes: usize,
    /// What engines, and whoever watches the driver, are doing.
    pub(super) activity: Arc<Activity>,
    slots: Arc<Semaphore>,
    /// Those of archives, which wait for the other end of a connection.
    pub(super) archives: Arc<Semaphore>,
    /// Held while a scrape looks at the root: on a disk that hangs, one hangs.
    pub(super) looking: Arc<Semaphore>,
    /// Held while a volume is walked through.
    pub(super) walks: Arc<Semaphore>,
}

impl App {
    /// Makes an application of a driver, with metrics of `metrics_volumes` volumes.
    pub fn new(driver: Arc<Driver>, scope: Scope, metrics_volumes: usize) -> Self {
        let slots = Arc::new(Semaphore::new(SLOTS));
        let archives = Arc::new(Semaphore::new(ARCHIVES));
        let looking = Arc::new(Semaphore::new(1));
        let activity = Arc::new(Activity::default());
        let walks = Arc::new(Semaphore::new(WALKS));
        Self {
            driver,
            scope,
            metrics: Metrics::new(),
            metrics_volumes,
            activity,
            slots,
            archives,
            looking,
            walks,
        }
    }

    /// Tells the driver that an engine begins, and the engine what the driver is.
    pub(super) fn activate(&self) -> Reply {
        self.driver.activate();
        Reply::json(&wire::ACTIVATED)
    }

    /// Runs `operation` on the blocking pool, whole, whether or not somebody
    /// still waits for it after `limit`.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        limit: Duration,
        operation: impl FnOnce(&Driver) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let (operation, told) = telling(operation);
        self.run(limit, operation).await?;
        told()
    }

    /// Runs `operation` within `limit`, as [`App::on_disk`].
    pub(super) async fn run(&self, limit: Duration, operation: Operation) -> Result<(), Failure> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = timeout(SLOT_WAIT, slot).await else { return Err(Failure::Busy) };
        match timeout(limit, self.spawn(slot, operation)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(panic)) => Err(Failure::Panicked(panic.to_string())),
            Err(_) => Err(Failure::Slow(limit)),
        }
    }

    /// Runs `operation` on the blocking pool, for nobody who waits for it, if it
    /// can be begun at once.
    pub(super) fn in_background(
        &self,
        operation: impl FnOnce(&Driver) -> Result<(), Error> + Send + 'static,
    ) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        drop(self.spawn(slot, quietly(operation)));
    }

    /// Runs `operation` on the blocking pool, and gives `slot` free when it has ended.
    pub(super) fn spawn(&self, slot: OwnedSemaphorePermit, operation: Operation) -> JoinHandle<()> {
        let driver = Arc::clone(&self.driver);
        spawn_blocking(move || {
            operation(&driver);
            drop(slot);
        })
    }

    /// Waits until the driver may end without a loss: for `limit` nothing was asked,
    /// nothing is running, and no volume is on its way. Where that cannot be told it
    /// waits on.
    pub async fn idle(&self, limit: Duration) {
        loop {
            let quiet = self.activity.quiet_for();
            if quiet < limit {
                sleep(limit - quiet).await;
                continue;
            }
            let at_rest = self.on_disk(IDLE_LOOK, |driver| Ok(driver.is_at_rest())).await;
            // A request may have come since the look began.
            if self.activity.quiet_for() < limit {
                continue;
            }
            // An operation may go on when its client has gone.
            let running = self.slots.available_permits() < SLOTS
                || self.archives.available_permits() < ARCHIVES;
            if at_rest.unwrap_or(false) && !running {
                return;
            }
            sleep(limit.max(IDLE_AGAIN)).await;
        }
    }

    /// As [`App::on_disk`], for an operation that changes nothing: it is not
    /// waited for any more when the disk is known to hang. One driver that does
    /// not answer a List holds up dockerd's `volume ls` of all drivers.
    pub(super) async fn read_from_disk<T: Send + 'static>(
        &self,
        limit: Duration,
        operation: impl FnOnce(&Driver) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let (operation, told) = telling(operation);
        self.run_reading(limit, operation).await?;
        told()
    }

    async fn run_reading(&self, limit: Duration, operation: Operation) -> Result<(), Failure> {
        let mut reading = pin!(self.run(limit, operation));
        loop {
            if let Ok(done) = timeout(LOOK, &mut reading).await {
                return done;
            }
            if let Some(error) = self.driver.hangs() {
                return Err(Failure::Volume(error));
            }
        }
    }
}

/// Makes an operation of one whose failure is no matter to whoever asked for it.
pub(super) fn quietly(
    operation: impl FnOnce(&Driver) -> Result<(), Error> + Send + 'static,
) -> Operation {
    Box::new(move |driver| {
        if let Err(error) = operation(driver) {
            tracing::debug!("in the background: {error}");
        }
    })
}

/// Makes an operation of one that returns, and what returns its result when it has
/// ended.
pub(super) fn telling<T: Send + 'static>(
    operation: impl FnOnce(&Driver) -> Result<T, Error> + Send + 'static,
) -> (Operation, impl FnOnce() -> Result<T, Failure>) {
    let told = Told::default();
    let tell = told.clone();
    // Perhaps nobody waits for it any more.
    let operation = move |driver: &Driver| tell.set(Box::new(operation(driver)));
    let told = move || {
        let told = told.take().and_then(|told| told.downcast::<Result<T, Error>>().ok());
        told.expect("an operation that has ended has told").map_err(Failure::Volume)
    };
    (Box::new(operation), told)
}

/// What an operation has returned: of one type, as operations are.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Told {
    fn set(&self, told: Box<dyn Any + Send>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    fn take(&self) -> Option<Box<dyn Any + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
