//! What whoever watches the driver asks for: `/healthz` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::app::{App, telling};
use super::reply::response;
use super::stream::Body;
use crate::log;
use crate::metrics::{self, FileSystem, Now, Seen};
use crate::volume::read::Survey;
use crate::volume::{Driver, Fixture, Health, VolumeName};

/// How long a scrape waits for a look at a disk that may hang.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Answers whether the root is served, and why not.
pub(super) fn healthz(app: &App) -> Response<Body> {
    let unavailable = app.driver.unavailable();
    let mut health = match &unavailable {
        None => json!({"status": "ok"}),
        Some((reason, _)) => json!({"status": "unavailable", "reason": reason}),
    };
    if app.driver.fixture() == Fixture::On {
        health["test_fixture"] = json!("on: never for real data");
    }
    let status = match unavailable {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    response(status, "application/json", health.to_string())
}

/// Answers what is counted, after a look at the root. Where that takes too long,
/// what was seen of volumes and trash before stands.
pub(super) async fn metrics(app: &Arc<App>) -> Response<Body> {
    let file_system = match look(app).await {
        None => None,
        Some(survey) => {
            let file_system = file_system(&app.driver, &survey);
            app.metrics.keep(seen(&app.driver, survey));
            Some(file_system)
        }
    };
    let mounts = |name: &str| VolumeName::new(name).map_or(0, |name| app.driver.mounts_of(&name));
    let text = app.metrics.render(&Now {
        available: app.driver.unavailable().is_none(),
        file_system,
        mounts: &mounts,
        log_lines_dropped: log::dropped(),
    });
    response(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

/// Looks at the root, one scrape at a time: on a disk that hangs, one thread does.
async fn look(app: &App) -> Option<Survey> {
    let look = async {
        let looking = match Arc::clone(&app.looking).try_acquire_owned() {
            Ok(looking) => looking,
            // Whoever looks may look for long: nobody waits for that.
            Err(_) if app.driver.unavailable().is_some() => return None,
            Err(_) => Arc::clone(&app.looking).acquire_owned().await.ok()?,
        };
        let limit = app.metrics_volumes;
        let (survey, told) = telling(move |driver| driver.survey(limit));
        app.spawn(looking, survey).await.ok()?;
        told().ok()
    };
    timeout(LOOK_LIMIT, look).await.ok().flatten()
}

fn file_system(driver: &Driver, survey: &Survey) -> FileSystem {
    FileSystem {
        root: driver.root_path().display().to_string(),
        size: survey.space.total,
        avail: survey.space.free,
        files: survey.space.inodes,
        files_free: survey.space.inodes_free,
    }
}

fn seen(driver: &Driver, survey: Survey) -> Seen {
    let described = survey.first.into_iter().map(|volume| {
        let retain = volume.record.as_ref().and_then(|record| driver.in_force(record).retain);
        metrics::Volume {
            name: volume.name.to_string(),
            retain: retain.map(|retain| humantime::format_duration(retain).to_string()),
            created: volume.record.and_then(|record| {
                record.created.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
            }),
            abnormal: volume.health != Health::Ok,
        }
    });
    Seen {
        volumes: survey.volumes,
        trash_entries: survey.trash_entries,
        described: described.collect(),
    }
}
