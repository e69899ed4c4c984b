//! Which engines a prune asks what their containers need, and what it makes of
//! their answers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::expect::{TIME, listing, neutral};
use crate::harness::{Serve, Setup};
use crate::program::{Ended, failure, run, success};
use crate::prune::{DAY, age, without_engine};

/// What an engine is asked: for the volumes that a container refers to.
const ASKED: &str = "GET /volumes?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D HTTP/1.1";

/// An engine that has one answer. It ends when this is dropped.
struct Engine {
    path: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    fn listen(path: &Path, status: &str, body: &str) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let answering = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let Some(first) = head.into_iter().next() else { return };
                seen.lock().unwrap().push(first);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        };
        Self { path: path.to_owned(), asked, thread: Some(thread::spawn(answering)) }
    }

    /// Returns what it was asked since this was called last.
    fn asked(&self) -> Vec<String> {
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
    let removed: Vec<String> =
        removed.iter().map(|name| format!(r#"{{"Name":"{name}","LastUsed":"{TIME}"}}"#)).collect();
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

#[test]
fn every_engine_that_is_there_is_asked_or_the_one_that_is_stated() {
    without_engine(|setup, serve| {
        create_old(setup, serve, &["a", "b", "c"]);
        let needs = |path: &str, body: &str| Engine::listen(Path::new(path), "200 OK", body);
        // What is in use now is not told, needed or not.
        serve.create("fresh");
        let body = r#"{"Volumes":[{"Name":"a"},{"Name":"fresh"}],"Warnings":null}"#;
        let docker = needs("/run/docker.sock", body);
        let dry_run = |host| prune(serve, host, &["--dry-run"]);
        assert_eq!(dry_run(None), would(&["b", "c"], &["a"]));
        assert_eq!(docker.asked(), [ASKED]);
        let podman =
            needs("/run/podman/podman.sock", r#"{"Volumes":[{"Name":"b"},{"Name":"other"}]}"#);
        for host in [None, Some("")] {
            assert_eq!(dry_run(host), would(&["c"], &["a", "b"]), "{host:?}");
            assert_eq!((docker.asked(), podman.asked()), (vec![ASKED.into()], vec![ASKED.into()]));
        }
        let stated = needs("/run/stated.sock", r#"{"Volumes":null}"#);
        assert_eq!(dry_run(Some("unix:///run/stated.sock")), would(&["a", "b", "c"], &[]));
        assert_eq!(stated.asked(), [ASKED]);
        assert_eq!((docker.asked(), podman.asked()), (vec![], vec![]));
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
        let none = r#"{"Volumes":[]}"#;
        for (status, body, why) in [
            ("500 Internal Server Error", none, "it answered with status 500"),
            ("200 OK", "torn", "expected ident at line 1 column 2"),
            ("200 OK", r#"{"Volumes":[{}]}"#, "missing field `Name` at line 1 column 14"),
        ] {
            let engine = Engine::listen(Path::new("/run/docker.sock"), status, body);
            assert_eq!(prune(serve, None, &[]), cannot(why), "{status} {body}");
            assert_eq!(engine.asked(), [ASKED]);
        }
        // One that answers does not speak for another.
        let _docker = Engine::listen(Path::new("/run/docker.sock"), "200 OK", none);
        let why = "DOCKER_HOST=tcp://192.0.2.1:2375: only an engine at unix://PATH can be asked \
                   which volumes its containers need";
        assert_eq!(prune(serve, Some("tcp://192.0.2.1:2375"), &[]), failure(why));
        assert_eq!(listing(&setup.root()), before);
    });
}
