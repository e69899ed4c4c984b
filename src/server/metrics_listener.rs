//! `--metrics-listen`: an address for those who watch the driver over a network.
//!
//! Only `/metrics` and `/healthz` are there. The protocol is not: it can delete
//! volumes, and TCP has no access control. Whoever is on that network is not
//! trusted to behave: connections are few, and each is for one request and over
//! after [`SLOW`], whatever it does. The engines' socket has other rules.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::app::App;
use super::connection::{self, Answers, SLOW, Stream, drained};
use super::reply::response;
use super::scrape;
use super::stream::Body;
use super::{ACCEPT_REST, task};

/// How many connections there are at a time; the next waits for one to end.
const CONNECTIONS: usize = 32;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Serves until the drain begins. Each connection holds `alive` to its end.
pub(super) async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    mut draining: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("it is never closed");
            listener.accept().await.map(|(stream, _)| (slot, Stream::Tcp(stream)))
        };
        let next = tokio::select! {
            // Who waits on a socket that was handed to us is for the next process.
            biased;
            () = drained(&mut draining) => return,
            next = next => next,
        };
        match next {
            Ok((slot, stream)) => {
                let (app, draining, alive) = (Arc::clone(&app), draining.clone(), alive.clone());
                let running = app.activity.begin();
                task(async move {
                    // Ignoring the time that was up: who is that slow is left.
                    let _late =
                        timeout(SLOW, connection::serve(stream, Answers::Metrics, app, draining))
                            .await;
                    drop((slot, running, alive));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Answers whoever watches.
pub(super) async fn answer(app: &Arc<App>, request: &Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => scrape::metrics(app).await,
        (&Method::GET, "/healthz") => scrape::healthz(app),
        (_, "/metrics" | "/healthz") => {
            let mut refused =
                response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET is answered here\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            refused
        }
        _ => response(StatusCode::NOT_FOUND, PLAIN, "here are /metrics and /healthz\n"),
    }
}
