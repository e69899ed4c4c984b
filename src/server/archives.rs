//! The calls that carry an archive: `/Dirvol.Import` and `/Dirvol.Export`.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::app::{SLOT_WAIT, telling};
use super::body::bad;
use super::connection::SLOW;
use super::reply::{Failure, Reply};
use super::routes::{Call, SHORT_LIMIT};
use super::stream::{receiving, sending};
use super::task;
use super::verbs::{options, success};
use crate::api::{self, LEFT_OUT, REQUEST};
use crate::json;
use crate::volume::{Driver, Error, VolumeName};

impl Call<'_> {
    /// Makes a volume of the archive that is the request's body.
    pub(super) async fn import(&mut self, request: Request<Incoming>) -> Reply {
        let (head, mut body) = request.into_parts();
        let done = self.import_from(&head.headers, &mut body).await;
        if !body.is_end_stream() {
            // Who still sends must be able to read the answer: a socket that is closed
            // with unread bytes in it takes the answer along.
            task(async move {
                let rest = async { while body.frame().await.is_some() {} };
                // Ignoring: the answer is known, whether or not all of it came.
                let _late = timeout(SLOW, rest).await;
            });
        }
        done.unwrap_or_else(Reply::Failed)
    }

    async fn import_from(
        &mut self,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Reply, Failure> {
        let stated = headers.get(REQUEST);
        let stated = stated.ok_or_else(|| bad(format!("the request has no header {REQUEST}")))?;
        let request: api::Import = json::read(stated.as_bytes()).map_err(|error| {
            bad(format!("the request's header {REQUEST} cannot be used: {error}"))
        })?;
        self.name = request.name;
        let known = VolumeName::new(&self.name);
        let name = known.ok_or_else(|| Failure::from(Error::BadName(self.name.clone())))?;
        let options = options(&name, &request.opts, self.app.driver.fixture())?;
        let slot = self.stream_slot().await?;
        let (parts, mut archive) = receiving();
        let wanted = name.clone();
        let (import, told) = telling(move |driver| driver.import(&wanted, &options, &mut archive));
        let importing = self.app.spawn(slot, import);
        parts.pass(body, self.app).await;
        importing.await.map_err(|panic| Failure::Panicked(panic.to_string()))?;
        let imported = told()?;
        self.note = Some(format!("imported: {} files, {} bytes", imported.files, imported.bytes));
        success(&api::Imported {
            mountpoint: self.app.driver.mountpoint(&name).display().to_string(),
            name: name.to_string(),
            files: imported.files,
            bytes: imported.bytes,
            left_out: (!imported.left_out.is_empty()).then(|| imported.left_out.to_string()),
        })
    }

    /// Answers with the archive of a volume.
    pub(super) async fn export(&mut self, request: api::Export) -> Result<Reply, Failure> {
        let name = self.named(request.name)?;
        let slot = self.stream_slot().await?;
        let (app, op) = (Arc::clone(self.app), self.endpoint.as_str());
        let (mut sending, sent) = sending(&app);
        let (ready, begun) = oneshot::channel();
        let export = move |driver: &Driver| {
            let export = match driver.export(&name, request.live) {
                Ok(export) => export,
                // Ignoring: who asked has gone.
                Err(error) => return drop(ready.send(Err(error))),
            };
            if ready.send(Ok(())).is_err() {
                return;
            }
            let exported = export.write(driver, &mut sending);
            let volume = name.as_str();
            match exported {
                Ok(moved) => {
                    let (files, bytes) = (moved.files, moved.bytes);
                    tracing::info!(op, volume, files, bytes, "exported");
                    let mut told = HeaderMap::new();
                    let left_out = moved.left_out.to_string();
                    if let Ok(left_out) = HeaderValue::from_str(&left_out)
                        && !moved.left_out.is_empty()
                    {
                        told.insert(LEFT_OUT, left_out);
                    }
                    // Ignoring: who asked has gone, and knows that it was not all.
                    let _gone = sending.end(told);
                }
                Err(error) => {
                    tracing::warn!(op, volume, "the archive broke off: {error}");
                    app.metrics.count_error(Failure::from(error).kind());
                }
            }
        };
        let exporting = self.app.spawn(slot, Box::new(export));
        match timeout(SHORT_LIMIT, begun).await {
            Ok(Ok(Ok(()))) => Ok(Reply::Archive(sent)),
            Ok(Ok(Err(error))) => Err(error.into()),
            Ok(Err(_)) => match exporting.await {
                Err(panic) => Err(Failure::Panicked(panic.to_string())),
                Ok(()) => Err(Failure::Panicked("an export ended without a word".into())),
            },
            Err(_) => Err(Failure::Slow(SHORT_LIMIT)),
        }
    }

    /// Waits until there may be one archive more. They have slots of their own: most
    /// of the time they wait for the other end of the connection, not for the disk.
    async fn stream_slot(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let slot = Arc::clone(&self.app.archives).acquire_owned();
        match timeout(SLOT_WAIT, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(Failure::Crowded),
        }
    }
}
