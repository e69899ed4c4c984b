//! `--metrics-listen`: an address for those who watch the driver over a network.
//!
//! Only `/metrics` and `/healthz` are there. The protocol is not: it can delete
//! volumes, and TCP has no access control. Whoever is on that network is not
//! trusted to behave: connections are few, and each is for one request and over
//! after [`SLOW`], whatever it does. The engines' socket has other rules.

use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{Shutdown, shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::ACCEPT_REST;
use super::app::App;
use super::connection::{SLOW, drained};
use super::reply::response;
use super::scrape;
use super::stream::Body;

/// How many connections there are at a time; the next waits for one to end.
const CONNECTIONS: usize = 32;

/// How long the exit waits for a scrape, which is answered within a second.
const LAST_SCRAPE: Duration = Duration::from_secs(2);

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
            listener.accept().await.map(|(stream, _)| (slot, stream))
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
                tokio::spawn(async move {
                    // Ignoring the time that was up: who is that slow is left.
                    let _late = timeout(SLOW, serve_one(stream, app, draining)).await;
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

/// Serves one connection: one request, and its answer.
async fn serve_one(stream: TcpStream, app: Arc<App>, mut draining: watch::Receiver<bool>) {
    let fd: RawFd = stream.as_raw_fd();
    let service = service_fn(|request: Request<Incoming>| {
        let app = Arc::clone(&app);
        async move { Ok::<_, std::convert::Infallible>(answer(&app, &request).await) }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .auto_date_header(false)
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(SLOW)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(&mut draining) => {
            // As for engines: what has arrived is answered, and nothing more is
            // read. The descriptor is open as long as `connection`, which owns it.
            let _gone = shutdown(fd, Shutdown::Read);
            timeout(LAST_SCRAPE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection for metrics ended");
    }
}

async fn answer(app: &Arc<App>, request: &Request<Incoming>) -> Response<Body> {
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
