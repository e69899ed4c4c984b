//! Prometheus and its promtool, as `scripts/setup` brings them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{DEADLINE, Serve, Setup, eventually, project, temporary, tool};

/// How a command ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs promtool at the top of the project.
pub fn promtool(args: &[&str], input: &str) -> Said {
    let mut command = tool("promtool");
    command.args(args).current_dir(project("")).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It reads all before it says anything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A driver that serves metrics, and where.
pub fn serve_metrics(setup: &Setup) -> (Serve, SocketAddr) {
    let serve = setup.serve();
    let address = eventually("the address is told", || {
        let log = fs::read_to_string(&serve.log).unwrap();
        let told = log.split_once(r#" INFO serving metrics listen="http://"#)?.1;
        told.split_once(r#"/metrics""#)?.0.parse().ok()
    });
    (serve, address)
}

/// A Prometheus that scrapes a driver each second and evaluates the alerts. It
/// ends with the test, whatever that comes to.
pub struct Prometheus {
    address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Prometheus {
    /// Starts one, and waits until it answers.
    pub fn scraping(driver: SocketAddr) -> Self {
        // It cannot choose a port of its own, and the one that is chosen for it
        // may be taken before it listens there.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut started = Self::start(driver, free);
            let answers = eventually("Prometheus answers, or has ended", || {
                if started.child.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                let ready = http_get(started.address, "/-/ready");
                ready.is_some_and(|(status, _)| status == 200).then_some(true)
            });
            if answers {
                return started;
            }
            assert!(started.log().contains("address already in use"), "{}", started.log());
        }
        panic!("no port is to be had for Prometheus");
    }

    fn start(driver: SocketAddr, address: SocketAddr) -> Self {
        let dir = temporary();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n\
             - job_name: dirvol\n  \
               static_configs: [{{targets: ['{driver}']}}]\n",
            project("packaging/monitoring/alerts.yml").display()
        );
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let child = tool("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { address, child, dir }
    }

    /// What its log says.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Asks its API, and returns the data of a success.
    pub fn ask(&self, path: &str) -> Value {
        let (status, body) = http_get(self.address, path).expect("Prometheus has gone");
        let answer: Value =
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        assert_eq!((status, &answer["status"]), (200, &"success".into()), "{path}: {body}");
        answer["data"].clone()
    }

    /// The series that an expression has at this moment.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.ask(&format!("/api/v1/query?query={}", escaped(expression)));
        match data["resultType"].as_str() {
            Some("vector") => data["result"].as_array().unwrap().clone(),
            other => panic!("{expression}: {other:?}"),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- Prometheus' log\n{}---", self.log());
        }
    }
}

/// GET as of HTTP/1.0: the answer ends with the connection.
fn http_get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}
