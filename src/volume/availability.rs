//! Whether there is a root to serve, and why not.
//!
//! A driver without its root still starts and answers: a socket that listens and
//! stays mute keeps dockerd from starting, and one that is absent costs it 15 s
//! for each volume it knows.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::store::{OpenError, Root, Settings};

/// How long an operation waits for the first attempt to open the root. Podman
/// gives up after 5 s.
const OPENING: Duration = Duration::from_secs(3);

/// A check that has not ended after this waits for a disk that hangs.
const HANGING: Duration = Duration::from_secs(5);

const HANGS: &str = "the disk of its root does not answer: see the kernel's log";

/// What happened to the root, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is served from now on.
    Opened {
        /// Its id.
        id: String,
    },
    /// It is not served, for a reason that was not given before.
    Lost {
        /// The cause and the cure.
        reason: String,
    },
}

/// Whether there is a root to serve.
#[derive(Debug)]
pub struct Availability {
    state: Mutex<State>,
    opened: Condvar,
    /// Since when the running check runs.
    checking: Mutex<Option<Instant>>,
    /// The root that was given up last: an operation may still run on it.
    given_up: Mutex<Weak<Root>>,
}

#[derive(Debug)]
enum State {
    Opening { since: Instant },
    Available(Arc<Root>),
    Unavailable { reason: String, since: Instant, told: bool },
}

impl Default for Availability {
    /// Begins without a root; [`Availability::check`] opens it.
    fn default() -> Self {
        Self {
            state: Mutex::new(State::Opening { since: Instant::now() }),
            opened: Condvar::new(),
            checking: Mutex::default(),
            given_up: Mutex::default(),
        }
    }
}

impl Availability {
    /// Returns the root. It waits for the first attempt to open it.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn root(&self) -> Result<Arc<Root>, String> {
        if self.hanging().is_some() {
            return Err(HANGS.into());
        }
        let opening = |state: &mut State| matches!(state, State::Opening { .. });
        let state = self
            .opened
            .wait_timeout_while(self.state(), OPENING, opening)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        match &*state {
            State::Opening { .. } => Err(HANGS.into()),
            State::Available(root) => Ok(Arc::clone(root)),
            State::Unavailable { reason, .. } => Err(reason.clone()),
        }
    }

    /// Returns the reason why there is no root, and since when, without waiting.
    pub fn unavailable(&self) -> Option<(String, Instant)> {
        if let Some(since) = self.hanging() {
            return Some((HANGS.into(), since));
        }
        match &*self.state() {
            State::Opening { since } => Some(("its root is being opened".into(), *since)),
            State::Available(_) => None,
            State::Unavailable { reason, since, .. } => Some((reason.clone(), *since)),
        }
    }

    /// Returns the reason, where it is a disk that hangs. It never waits.
    pub fn hangs(&self) -> Option<String> {
        self.hanging().map(|_| HANGS.into())
    }

    /// Gives up `root`, which was found to be unusable. A root that was opened
    /// since then stays.
    pub fn lose(&self, root: &Arc<Root>, error: &OpenError) {
        let mut state = self.state();
        if matches!(&*state, State::Available(held) if Arc::ptr_eq(held, root)) {
            let (reason, since) = (error.to_string(), Instant::now());
            *state = State::Unavailable { reason, since, told: false };
            drop(state);
            root.give_up();
            *lock(&self.given_up) = Arc::downgrade(root);
        }
    }

    /// Checks the root that is held, or tries to open one, and returns what is
    /// new. Meant to be called every second, by one thread.
    pub fn check(&self, settings: &Settings) -> Option<Change> {
        *lock(&self.checking) = Some(Instant::now());
        let change = self.check_now(settings);
        *lock(&self.checking) = None;
        change
    }

    fn check_now(&self, settings: &Settings) -> Option<Change> {
        let held = match &*self.state() {
            State::Available(root) => Some(Arc::clone(root)),
            _ => None,
        };
        if let Some(root) = held {
            if let Err(error) = root.verify().and_then(|()| root.verify_node()) {
                self.lose(&root, &error);
            }
            return self.tell();
        }
        // What an operation found out is told before the next attempt.
        if let Some(change) = self.tell() {
            return Some(change);
        }
        match Root::open(settings) {
            Ok(root) => {
                let id = root.id().to_owned();
                *self.state() = State::Available(Arc::new(root));
                self.opened.notify_all();
                Some(Change::Opened { id })
            }
            Err(error) => {
                let ours = lock(&self.given_up).strong_count() > 0;
                self.refuse(match error {
                    OpenError::Busy(path) | OpenError::NodeBusy(path, _) if ours => format!(
                        "root {} was given up, and an operation on it has not ended yet",
                        path.display()
                    ),
                    error if settings.plugin => error.in_plugin(),
                    error => error.to_string(),
                });
                self.opened.notify_all();
                self.tell()
            }
        }
    }

    fn refuse(&self, new: String) {
        let mut state = self.state();
        match &mut *state {
            State::Unavailable { reason, .. } if *reason == new => {}
            // The time is that of the first reason: a Get waits from there.
            State::Unavailable { reason, told, .. } => {
                *reason = new;
                *told = false;
            }
            _ => {
                let since = Instant::now();
                *state = State::Unavailable { reason: new, since, told: false };
            }
        }
    }

    fn tell(&self) -> Option<Change> {
        match &mut *self.state() {
            State::Unavailable { reason, told, .. } if !*told => {
                *told = true;
                Some(Change::Lost { reason: reason.clone() })
            }
            _ => None,
        }
    }

    /// Returns since when a check hangs.
    fn hanging(&self) -> Option<Instant> {
        lock(&self.checking).filter(|since| since.elapsed() > HANGING)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Every change of what is behind these locks is one assignment, so it is whole
/// even if its holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
