//! Which engines a prune asks what their containers need, and what it makes of
//! their answers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::expect::{TIME, listing, neutral};
use crate::harness::{Serve, Setup};
use crate::program::{Ended, failure, run, success};
use crate::prune::{DAY, age, without_engine};

/// What an engine is asked: for its containers, and for the volumes that it holds.
const ASKED: [&str; 2] = [
    "GET /containers/json?all=true HTTP/1.1",
    "GET /volumes?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D HTTP/1.1",
];

/// What it says of volumes where it holds none.
const HOLDS_NONE: &str = r#"{"Volumes":[],"Warnings":null}"#;

/// An engine that has one answer of each kind. It ends when this is dropped.
pub struct Engine {
    path: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    pub fn listen(path: &Path, status: &str, containers: &str, volumes: &str) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let answers = [containers, volumes].map(|body| {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
        });
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let answering = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let Some(first) = head.into_iter().next() else { return };
                let answer = &answers[usize::from(first != ASKED[0])];
                seen.lock().unwrap().push(first);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        };
        Self { path: path.to_owned(), asked, thread: Some(thread::spawn(answering)) }
    }

    /// Returns what it was asked since this was called last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A connection without a question ends it.
        drop(UnixStream::connect(&self.path).unwrap());
        self.thread.take().unwrap().join().unwrap();
        fs::remove_file(&self.path).unwrap();
    }
}

/// Prunes as one who has `$DOCKER_HOST` set to `host`.
fn prune(serve: &Serve, host: Option<&str>, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).arg("prune").args(["--format", "json"]).args(args);
    command.env_remove("DOCKER_HOST").stdin(Stdio::null());
    let ended = run(command.envs(host.map(|host| ("DOCKER_HOST", host))));
    Ended { stdout: neutral(&ended.stdout), stderr: neutral(&ended.stderr), ..ended }
}

/// The answer where `removed` would be removed, and `needed` are needed.
fn would(removed: &[&str], needed: &[&str]) -> Ended {
    let removed: Vec<String> = removed
        .iter()
        .map(|name| format!(r#"{{"Name":"{name}","LastUsed":"{TIME}","Retain":"1day"}}"#))
        .collect();
    let kept: Vec<String> = needed
        .iter()
        .map(|name| format!(r#"{{"Name":"{name}","Why":"a container needs it"}}"#))
        .collect();
    let (removed, kept) = (removed.join(","), kept.join(","));
    success(format!("{{\"Removed\":[{removed}],\"Kept\":[{kept}]}}\n"))
}

fn create_old(setup: &Setup, serve: &Serve, names: &[&str]) {
    for name in names {
        serve.create(name);
        age(setup, name, DAY * 8);
    }
}

/// The containers of an engine, each with the volumes that it mounts.
fn containers(mounted: &[&[&str]]) -> String {
    let mount = |name: &&str| json!({"Type": "volume", "Name": name, "Driver": "dirvol"});
    let bind = json!({"Type": "bind", "Source": "/srv"});
    let container = |names: &&[&str]| {
        let mounts: Vec<Value> = names.iter().map(mount).chain([bind.clone()]).collect();
        json!({"Id": "1", "State": "exited", "Mounts": mounts})
    };
    Value::from(mounted.iter().map(container).collect::<Vec<_>>()).to_string()
}

#[test]
fn every_engine_that_is_there_is_asked_also_beside_the_one_that_is_stated() {
    without_engine(|setup, serve| {
        create_old(setup, serve, &["a", "b", "c", "d"]);
        // What is in use now is not told, needed or not.
        serve.create("fresh");
        let listen = |path: &str, containers: &str, volumes: &str| {
            Engine::listen(Path::new(path), "200 OK", containers, volumes)
        };
        let docker = listen(
            "/run/docker.sock",
            &containers(&[&[], &["fresh", "a"]]),
            r#"{"Volumes":[{"Name":"d"}],"Warnings":[]}"#,
        );
        let dry_run = |host| prune(serve, host, &["--dry-run"]);
        assert_eq!(dry_run(None), would(&["b", "c"], &["a", "d"]));
        assert_eq!(docker.asked(), ASKED);
        let podman = listen(
            "/run/podman/podman.sock",
            &containers(&[&["b", "other"]]),
            r#"{"Volumes":null}"#,
        );
        for host in [None, Some("")] {
            assert_eq!(dry_run(host), would(&["c"], &["a", "b", "d"]), "{host:?}");
            assert_eq!(docker.asked(), ASKED);
            assert_eq!(podman.asked(), ASKED);
        }
        // One that is stated in its usual place is asked once all the same.
        let usual = dry_run(Some("unix:///run/docker.sock"));
        assert_eq!(usual, would(&["c"], &["a", "b", "d"]));
        assert_eq!(docker.asked(), ASKED);
        assert_eq!(podman.asked(), ASKED);
        let stated = listen("/run/stated.sock", &containers(&[&["c"]]), HOLDS_NONE);
        let all = would(&[], &["a", "b", "c", "d"]);
        assert_eq!(dry_run(Some("unix:///run/stated.sock")), all);
        for engine in [docker, podman, stated] {
            assert_eq!(engine.asked(), ASKED);
        }
    });
}

#[test]
fn an_engine_that_does_not_say_what_it_needs_is_a_reason_to_remove_nothing() {
    without_engine(|setup, serve| {
        create_old(setup, serve, &["old"]);
        let before = listing(&setup.root());
        let cannot = |why: &str| {
            failure(&format!(
                "the engine at /run/docker.sock cannot be asked which volumes its containers \
                 need: {why}; start it first"
            ))
        };
        let warned = r#"{"Volumes":[],"Warnings":["a driver did not answer"]}"#;
        for (status, containers, volumes, why) in [
            ("500 Internal Server Error", "[]", HOLDS_NONE, "it answered with status 500"),
            ("200 OK", "torn", HOLDS_NONE, "expected ident at line 1 column 2"),
            (
                "200 OK",
                "{}",
                HOLDS_NONE,
                "invalid type: map, expected a sequence at line 1 column 0",
            ),
            ("200 OK", "[]", "torn", "expected ident at line 1 column 2"),
            ("200 OK", "[]", warned, "a driver did not answer"),
        ] {
            let docker = Path::new("/run/docker.sock");
            let _engine = Engine::listen(docker, status, containers, volumes);
            assert_eq!(prune(serve, None, &[]), cannot(why), "{status} {containers} {volumes}");
        }
        // One that answers does not speak for another.
        let _docker = Engine::listen(Path::new("/run/docker.sock"), "200 OK", "[]", HOLDS_NONE);
        let why = "DOCKER_HOST=tcp://192.0.2.1:2375: only an engine at unix://PATH can be asked \
                   which volumes its containers need";
        assert_eq!(prune(serve, Some("tcp://192.0.2.1:2375"), &[]), failure(why));
        assert_eq!(listing(&setup.root()), before);
    });
}
