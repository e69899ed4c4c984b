//! From a request to the operation it asks for, and back to its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::app::{App, quietly};
use super::body::{Object, bad, pass_over};
use super::clone::copied_how;
use super::reply::{Failure, Reply};
use super::scrape;
use super::stream::Body;
use super::verbs::{options, told};
use super::wire::{self, Capabilities, Got, List, Mountpoint};
use crate::metrics::{Endpoint, Outcome};
use crate::store::Scope;
use crate::volume::change::Created;
use crate::volume::{Driver, Error, Fixture, Health, Options, Volume, VolumeName};

/// The longest mount ID: engines have 64 digits.
const ID_LIMIT: usize = 255;

/// How long a Get waits for the root and its disk, all in all. Podman gives up
/// after 5 s, and breaks off the whole of its `volume ls`.
const GET_LIMIT: Duration = Duration::from_secs(4);

/// How long a Get that cannot tell waits for the state directory.
const STATE_LIMIT: Duration = Duration::from_millis(500);

/// How long an Unmount waits until the other nodes can know of it.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(3);

/// How long other reads and a Remove may take: dockerd gives up after 60 s.
pub(super) const SHORT_LIMIT: Duration = Duration::from_secs(50);

/// How long a Create and a Mount may take: dockerd gives up after 120 s.
const LONG_LIMIT: Duration = Duration::from_secs(110);

/// How often a Get looks whether the root is back, and a Create whether a copy is whole.
const RETRY: Duration = Duration::from_millis(100);

/// Answers a request, or returns `None` where the connection is to be closed.
pub(super) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Option<Response<Body>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => return Some(scrape::healthz(app)),
        (&Method::GET, "/metrics") => return Some(scrape::metrics(app).await),
        _ => {}
    }
    let started = Instant::now();
    let _in_flight = app.metrics.begin();
    let endpoint = endpoint(request.uri().path());
    let path = request.uri().path().to_owned();
    let mut call = Call { app, endpoint, name: String::new(), id: String::new(), note: None };
    let reply = match request.method() {
        _ if endpoint == Endpoint::Other => {
            let why = format!("{path:?} is no call of the VolumeDriver protocol");
            pass_over(request.into_body()).await;
            Reply::Failed(Failure::Request(StatusCode::NOT_FOUND, why))
        }
        &Method::POST if endpoint == Endpoint::DirvolImport => call.import(request).await,
        &Method::POST => call.run(request.into_body()).await,
        other => {
            let why = format!("{path} is called with POST, not with {other}");
            pass_over(request.into_body()).await;
            Reply::Failed(Failure::Request(StatusCode::METHOD_NOT_ALLOWED, why))
        }
    };
    let took = started.elapsed();
    call.log(&reply, took);
    let outcome = match &reply {
        Reply::Answer(_) | Reply::Archive(_) => Outcome::Ok,
        Reply::Failed(_) => Outcome::Error,
        Reply::Close(_) => Outcome::Closed,
    };
    app.metrics.count(endpoint, outcome, took);
    if let Reply::Failed(failure) | Reply::Close(failure) = &reply {
        app.metrics.count_error(failure.kind());
    }
    reply.into_response()
}

pub(super) fn endpoint(path: &str) -> Endpoint {
    match path {
        "/Plugin.Activate" => Endpoint::Activate,
        "/VolumeDriver.Create" => Endpoint::Create,
        "/VolumeDriver.Remove" => Endpoint::Remove,
        "/VolumeDriver.Mount" => Endpoint::Mount,
        "/VolumeDriver.Unmount" => Endpoint::Unmount,
        "/VolumeDriver.Path" => Endpoint::Path,
        "/VolumeDriver.Get" => Endpoint::Get,
        "/VolumeDriver.List" => Endpoint::List,
        "/VolumeDriver.Capabilities" => Endpoint::Capabilities,
        "/Dirvol.Adopt" => Endpoint::DirvolAdopt,
        "/Dirvol.Clone" => Endpoint::DirvolClone,
        "/Dirvol.List" => Endpoint::DirvolList,
        "/Dirvol.Holders" => Endpoint::DirvolHolders,
        "/Dirvol.Remove" => Endpoint::DirvolRemove,
        "/Dirvol.Set" => Endpoint::DirvolSet,
        "/Dirvol.Progress" => Endpoint::DirvolProgress,
        "/Dirvol.Prune" => Endpoint::DirvolPrune,
        "/Dirvol.Import" => Endpoint::DirvolImport,
        "/Dirvol.Export" => Endpoint::DirvolExport,
        "/Dirvol.TrashList" => Endpoint::DirvolTrashList,
        "/Dirvol.TrashRestore" => Endpoint::DirvolTrashRestore,
        "/Dirvol.TrashPurge" => Endpoint::DirvolTrashPurge,
        "/Dirvol.Usage" => Endpoint::DirvolUsage,
        "/Dirvol.Release" => Endpoint::DirvolRelease,
        _ => Endpoint::Other,
    }
}

/// One call of the protocol, and what its line in the log will say.
pub(super) struct Call<'a> {
    pub app: &'a Arc<App>,
    pub endpoint: Endpoint,
    pub name: String,
    pub id: String,
    pub note: Option<String>,
}

impl Call<'_> {
    async fn run(&mut self, body: Incoming) -> Reply {
        // These need no body, and their retries have none.
        let bodiless = match self.endpoint {
            Endpoint::Activate => Some(Ok(self.app.activate())),
            Endpoint::Capabilities => Some(Ok(Reply::json(&Capabilities::new(self.app.scope)))),
            Endpoint::List => Some(self.list().await),
            _ => None,
        };
        if let Some(done) = bodiless {
            pass_over(body).await;
            return done.unwrap_or_else(Reply::Failed);
        }
        if self.endpoint.is_ours() {
            return self.verb(body).await.unwrap_or_else(Reply::Failed);
        }
        let named = |request: wire::Request| {
            let named = !request.name.is_empty();
            named.then_some(request).ok_or_else(|| bad("the request names no volume".into()))
        };
        let request = match Object::read(body).await.and_then(|body| body.parse()).and_then(named) {
            Ok(request) => request,
            Err(failure) if self.endpoint == Endpoint::Get => {
                // Any answer but a volume makes dockerd drop the volume's labels
                // and options, and its retry of a dropped call comes without a
                // body. To a closed connection it does neither.
                return Reply::Close(failure);
            }
            Err(failure) => return Reply::Failed(failure),
        };
        self.name = request.name;
        self.id = request.id;
        let Some(name) = VolumeName::new(&self.name) else { return self.bad_name() };
        let done = match self.endpoint {
            Endpoint::Get => return self.get(&name).await,
            Endpoint::Create => self.create(name, request.opts.unwrap_or_default()).await,
            Endpoint::Remove => self.remove(name).await,
            Endpoint::Mount => self.mount(name).await,
            Endpoint::Unmount => self.unmount(name).await,
            Endpoint::Path => self.path(name).await,
            _ => unreachable!("the others were answered without a name"),
        };
        done.unwrap_or_else(Reply::Failed)
    }

    /// Answers a call about a volume that cannot exist.
    fn bad_name(&self) -> Reply {
        match self.endpoint {
            Endpoint::Create => Reply::Failed(Error::BadName(self.name.clone()).into()),
            Endpoint::Remove | Endpoint::Unmount => Reply::json(&wire::DONE),
            _ => Reply::Failed(Error::NoSuchVolume(self.name.escape_debug().to_string()).into()),
        }
    }

    async fn create(
        &mut self,
        name: VolumeName,
        opts: std::collections::BTreeMap<String, String>,
    ) -> Result<Reply, Failure> {
        let options = options(&name, &opts, self.app.driver.fixture())?;
        if options.ninja || options.invalid_option {
            self.note = Some("test fixture: the volume will misbehave".into());
        }
        let created = self.make(LONG_LIMIT, name, options).await?;
        self.note = match created {
            Created::Copy(copied) => Some(copied_how(&copied)),
            Created::Existing => Some("it was there already".into()),
            Created::New => self.note.take(),
        };
        Ok(Reply::json(&wire::DONE))
    }

    /// Creates a volume within `limit`. A copy may take longer, and goes on then.
    pub(super) async fn make(
        &self,
        limit: Duration,
        name: VolumeName,
        options: Options,
    ) -> Result<Created, Failure> {
        // Who asks again waits here for the end of the copy. Each in a slot of his own,
        // they would keep it from other volumes.
        let started = Instant::now();
        while self.app.driver.copying(&name).is_some() {
            if started.elapsed() >= limit {
                return Err(Failure::Copying(name.to_string(), limit));
            }
            sleep(RETRY).await;
        }
        let copied = options.from.is_some().then(|| name.to_string());
        let left = limit.saturating_sub(started.elapsed());
        let create = move |driver: &Driver| driver.create(&name, &options);
        match (self.app.on_disk(left, create).await, copied) {
            (Err(Failure::Slow(_)), Some(name)) => Err(Failure::Copying(name, limit)),
            (created, _) => created,
        }
    }

    async fn remove(&mut self, name: VolumeName) -> Result<Reply, Failure> {
        let removed = self.app.on_disk(SHORT_LIMIT, move |driver| driver.remove(&name)).await?;
        self.note = Some(told(&removed));
        Ok(Reply::json(&wire::DONE))
    }

    async fn mount(&mut self, name: VolumeName) -> Result<Reply, Failure> {
        self.check_id()?;
        let id = self.id.clone();
        let mounted = self.app.on_disk(LONG_LIMIT, move |driver| driver.mount(&name, &id)).await;
        if self.app.driver.fixture() == Fixture::On {
            self.note = Some("test fixture: wrote into the volume, or failed as told".into());
        }
        let mounted = mounted?;
        if let Some(why) = mounted.unlimited {
            self.note = Some(format!("its limit is not kept: {why}"));
        }
        Ok(Reply::json(&Mountpoint::new(&mounted.mountpoint)))
    }

    async fn unmount(&self, name: VolumeName) -> Result<Reply, Failure> {
        self.check_id()?;
        self.app.driver.unmount(&name, &self.id);
        let noted = move |driver: &Driver| driver.note_unmounted(&name);
        match self.app.scope {
            Scope::Local => self.app.in_background(noted),
            // Whoever asks another node next must find it free. Where that cannot be, the
            // engine's container has ended all the same.
            Scope::Global => {
                let _told = self.app.run(UNMOUNT_LIMIT, quietly(noted)).await;
            }
        }
        Ok(Reply::json(&wire::DONE))
    }

    fn check_id(&self) -> Result<(), Failure> {
        let wrong = match self.id.len() {
            0 => "the request has no mount ID".to_owned(),
            1..=ID_LIMIT => return Ok(()),
            _ => format!("the mount ID is longer than {ID_LIMIT} bytes"),
        };
        Err(Failure::Request(StatusCode::BAD_REQUEST, format!("volume {}: {wrong}", self.name)))
    }

    async fn path(&self, name: VolumeName) -> Result<Reply, Failure> {
        let volume = match self.app.driver.cached(&name) {
            Some(volume) => volume,
            None => self.app.read_from_disk(SHORT_LIMIT, move |driver| driver.get(&name)).await?,
        };
        Ok(Reply::json(&Mountpoint::new(&self.app.driver.mountpoint_of(&volume))))
    }

    /// Answers "no such volume" only when that is known, and with a volume
    /// whenever one is remembered.
    async fn get(&mut self, name: &VolumeName) -> Reply {
        let driver = &self.app.driver;
        let started = Instant::now();
        loop {
            if let Some(volume) = driver.cached(name) {
                return self.got(&volume);
            }
            let wanted = name.clone();
            let left = GET_LIMIT.saturating_sub(started.elapsed());
            let read = self.app.on_disk(left, move |driver| driver.get(&wanted));
            let failure = match timeout(left, read).await {
                Ok(Ok(volume)) => return self.got(&volume),
                Ok(Err(failure @ Failure::Volume(Error::NoSuchVolume(_)))) => {
                    return Reply::Failed(failure);
                }
                // It was as long as the Get waits, all in all.
                Ok(Err(Failure::Slow(_))) | Err(_) => Failure::Slow(GET_LIMIT),
                Ok(Err(failure)) => failure,
            };
            if let Some(volume) = driver.remembered(name, &failure.to_string()) {
                return self.got(&volume);
            }
            // It cannot be told. A root that has just gone may be back in a moment.
            let gone = matches!(failure, Failure::Volume(Error::Unavailable(_)));
            let lately = driver.unavailable().is_none_or(|(_, since)| since.elapsed() < GET_LIMIT);
            if !gone || !lately || started.elapsed() + RETRY >= GET_LIMIT {
                return self.cannot_tell(name.clone(), failure).await;
            }
            sleep(RETRY).await;
        }
    }

    fn got(&mut self, volume: &Volume) -> Reply {
        if volume.is_ninja() {
            self.note = Some("test fixture: answered a null volume".into());
        } else if self.app.driver.fixture() == Fixture::On {
            self.note = Some("test fixture: answered the fixture's Status".into());
        }
        Reply::json(&Got::new(&self.app.driver, volume))
    }

    /// Answers where it cannot be told whether there is the volume `name`. While
    /// there is no root, or its disk does not answer, the state directory knows
    /// the names: a volume that the root has is answered as far as it is known,
    /// and of any other name it is said that there is none, as dockerd asks every
    /// driver for names that it does not know. Where that does not help, the
    /// connection is closed: dockerd then keeps what it knows of the volume.
    async fn cannot_tell(&mut self, name: VolumeName, failure: Failure) -> Reply {
        let about_the_root = match &failure {
            Failure::Volume(Error::Unavailable(_)) | Failure::Busy | Failure::Slow(_) => true,
            Failure::Volume(_) | Failure::Request(..) | Failure::Panicked(_) => false,
            Failure::Copying(..) | Failure::Crowded => false,
        };
        if !about_the_root {
            return Reply::Close(failure);
        }
        let driver = Arc::clone(&self.app.driver);
        let wanted = name.clone();
        let asked = spawn_blocking(move || driver.has_seen(&wanted));
        match timeout(STATE_LIMIT, asked).await {
            Ok(Ok(Ok(true))) => {
                let health = Health::Unknown(failure.to_string());
                self.got(&Volume::only(name, health))
            }
            Ok(Ok(Ok(false))) => Reply::Failed(Error::NoSuchVolume(name.to_string()).into()),
            _ => Reply::Close(failure),
        }
    }

    async fn list(&mut self) -> Result<Reply, Failure> {
        if self.app.driver.fixture() == Fixture::On {
            self.note = Some("test fixture: left out what is to be hidden".into());
        }
        let list = |driver: &Driver| Ok((driver.list()?, driver.places()?));
        let (names, places) = self.app.read_from_disk(SHORT_LIMIT, list).await?;
        Ok(Reply::json(&List::new(&self.app.driver, &names, &places)))
    }

    /// Writes the call's one line: changes as information, reads for debugging,
    /// and failures as what they are.
    fn log(&self, reply: &Reply, took: Duration) {
        let op = self.endpoint.as_str();
        let volume = self.name.escape_debug().to_string();
        let mount_id = self.id.escape_debug().to_string();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let note = self.note.as_deref().unwrap_or_default();
        let changes = self.endpoint.changes();
        macro_rules! line {
            ($level:ident, $outcome:literal, $text:expr) => {
                tracing::$level!(op, volume, mount_id, outcome = $outcome, ms, "{}", $text)
            };
        }
        match reply {
            Reply::Answer(_) if changes => line!(info, "ok", note),
            Reply::Answer(_) | Reply::Archive(_) => line!(debug, "ok", note),
            Reply::Close(why) => line!(warn, "closed", why),
            Reply::Failed(failure) if failure.status().is_server_error() => {
                line!(error, "error", failure);
            }
            Reply::Failed(failure) if changes => line!(warn, "error", failure),
            Reply::Failed(failure) => line!(debug, "error", failure),
        }
    }
}
