//! The volume driver on its sockets: the only place that knows HTTP and `Err`.
//!
//! The way of a request: [`connection`] reads it, [`routes`] finds the operation
//! and runs it on the volumes, [`reply`] writes what came of it. The calls that are
//! not Docker's are in [`verbs`].
//!
//! # The reactor
//! One thread runs everything here, and nothing here waits for a disk: what does
//! is one closure on the blocking pool, from its first look to its commit, so a
//! client that hangs up cannot cut it in half ([`app`]).
//!
//! # Drain
//! See [`serve`].

mod activity;
mod adopt;
pub mod app;
mod archives;
mod body;
mod clone;
mod connection;
mod hear;
mod listener;
mod metrics_listener;
mod reply;
mod routes;
mod scrape;
mod stream;
mod usage;
mod verbs;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use app::App;
pub use hear::{Heard, hear};
pub use listener::Listeners;

use connection::{Answers, Stream};

/// How long the exit waits for answers. A disk that hangs holds up no exit.
const DRAIN_LIMIT: Duration = Duration::from_secs(4);

/// How long to rest when a connection cannot be accepted for want of something.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, then drains: every request that a client
/// could hand to the kernel is answered.
///
/// 1. No new connection is accepted. Of a socket of our own the file goes first,
///    and then what is waiting on it is still accepted; what waits on one that
///    was handed to us is for the next process.
/// 2. Each connection's receiving half is shut down. What a client has written
///    is there to be read; what it writes from then on fails, and so it knows.
/// 3. Each connection is served to its end of file.
///
/// hyper-util's graceful shutdown instead closes an idle connection in whose
/// buffer a request has just arrived.
pub async fn serve(mut listeners: Listeners, app: Arc<App>, shutdown: impl Future<Output = ()>) {
    let (drain, draining) = watch::channel(false);
    // Every connection holds a sender; the channel ends with the last of them.
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let spawn = |stream: Stream| {
        let (app, draining, alive) = (Arc::clone(&app), draining.clone(), alive.clone());
        task(async move {
            connection::serve(stream, Answers::Calls, app, draining).await;
            drop(alive);
        });
    };

    for listener in listeners.take_metrics() {
        let (app, draining, alive) = (Arc::clone(&app), draining.clone(), alive.clone());
        task(metrics_listener::serve(listener, app, draining, alive));
    }

    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listeners.accept() => match accepted {
                Ok(stream) => {
                    // Whoever has just connected is about to ask.
                    app.activity.touch();
                    spawn(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    listeners.retire().into_iter().for_each(spawn);
    drop(alive);
    // Sending fails only when no connection is left to hear it.
    let _nobody_left = drain.send(true);
    if tokio::time::timeout(DRAIN_LIMIT, ended.recv()).await.is_err() {
        tracing::warn!("exiting with requests that the disk did not answer");
    }
}

/// Starts a task. As one type, all of them share the code that runs them.
pub fn task(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
    tokio::spawn(task)
}
