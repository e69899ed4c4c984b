//! The walks of docs/migrating.md, command for command, with a real dockerd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, project, tree};
use crate::storage::Podman;

/// A driver that allows directories below `srv`, a dockerd, and the document.
struct Walk {
    setup: Setup,
    serve: Serve,
    daemon: Daemon,
}

/// A block of the document.
enum Block {
    /// Commands, each a line that begins with `# `.
    Commands(String),
    /// A Compose file.
    File(String),
}

impl Walk {
    fn new() -> Self {
        let setup = Setup::new();
        let srv = setup.path("srv").display().to_string();
        for dir in ["pg", "site"] {
            let dir = setup.path("srv").join(dir);
            fs::create_dir_all(dir.join("below")).unwrap();
            fs::write(dir.join("below/file"), "precious").unwrap();
            chown(dir.join("below"), Some(70), Some(71)).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o2770)).unwrap();
        }
        let setup = setup.arg("--bind-root").arg(srv);
        let serve = setup.serve();
        let daemon = Daemon::start(setup.dir.path());
        Self { setup, serve, daemon }
    }

    /// Runs a line of the document in a shell, as a person does.
    fn run(&self, line: &str) -> String {
        let dirvol = Path::new(env!("CARGO_BIN_EXE_dirvol")).parent().unwrap().display();
        let mut command = self.daemon.client("sh");
        let output = command
            .args(["-c", &format!("PATH={dirvol}:$PATH; {line}")])
            .env("DIRVOL_SOCKET", &self.serve.socket)
            .current_dir(self.setup.dir.path())
            .output()
            .unwrap();
        let printed = [&output.stdout[..], &output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(output.status.success(), "{line}: {printed}");
        printed
    }

    /// The blocks below a heading of the document, with this test's directory in the
    /// place of `/srv`.
    fn blocks(&self, heading: &str) -> Vec<Block> {
        let document = fs::read_to_string(project("docs/migrating.md")).unwrap();
        let section = document.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
        let section = section.split("\n## ").next().unwrap();
        let srv = self.setup.path("srv").display().to_string();
        let mut blocks = Vec::new();
        for block in section.split("```").skip(1).step_by(2) {
            let (language, text) = block.split_once('\n').unwrap();
            let text = text.replace("/srv", &srv);
            match language {
                "yaml" => blocks.push(Block::File(text)),
                // Podman has a tier of its own.
                _ if !text.starts_with("# ") => {}
                _ => blocks.push(Block::Commands(text)),
            }
        }
        blocks
    }

    /// Does what the document says below a heading; `compose` sees each Compose file
    /// that is written, before it is used.
    fn follow(&self, heading: &str, mut written: impl FnMut(&str) -> Option<String>) {
        for block in self.blocks(heading) {
            match block {
                Block::File(text) => {
                    let text = written(&text).unwrap_or(text);
                    fs::write(self.setup.path("docker-compose.yml"), text).unwrap();
                    if !self.setup.path("docker-compose.yml.used").exists() {
                        // Who comes from there has it up.
                        self.run("docker-compose -p demo up -d");
                        fs::write(self.setup.path("docker-compose.yml.used"), "").unwrap();
                    }
                }
                Block::Commands(lines) => {
                    for line in lines.lines() {
                        let line = line.strip_prefix("# ").expect(line);
                        let printed = self.run(line);
                        assert!(!line.contains(" diff ") || printed.is_empty(), "{printed}");
                    }
                }
            }
        }
    }
}

#[test]
fn from_dockers_local_driver_the_files_come_along_and_the_name_stays() {
    let walk = Walk::new();
    let daemon = &walk.daemon;
    daemon.ok("volume create db");
    let script = "mkdir -m 2750 /data/below && echo precious > /data/below/file && \
                  ln -s below /data/link && chown -R 70:71 /data && chmod 0700 /data && \
                  touch -d '2020-01-01 00:00:00' /data/below/file";
    daemon.shell("--rm -v db:/data", script);
    let seen = |volume: &str| {
        let list = "cd /data && find . | sort | xargs stat -c '%n %a %u:%g %F' && \
                    stat -c %Y below/file && cat below/file";
        daemon.shell(&format!("--rm -v {volume}:/data:ro"), list)
    };
    let before = seen("db");
    daemon.run("-d --name app -v db:/data", "sleep 3600");
    walk.follow("From Docker's local driver", |_| None);
    assert_eq!(daemon.inspect("db")[0]["Driver"], "dirvol");
    assert_eq!(walk.serve.names(), ["db"]);
    assert_eq!(seen("db"), before);
    assert_eq!(daemon.ok("exec app cat /data/below/file"), "precious\n");
    daemon.ok("rm -f app");
}

/// local-persist itself is not at hand. What Docker does is the same for whichever
/// driver is called so, and whose Remove leaves the directory; the option's name is all
/// that the stand-in, this driver, does not share.
#[test]
fn from_local_persist_the_driver_and_an_option_have_other_names() {
    let walk = Walk::new();
    let old = Setup::new();
    fs::create_dir_all(old.root()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("serve").arg("--bind-root").arg(walk.setup.path("srv"));
    command.arg("--root").arg(old.root()).arg("--state-dir").arg(old.state());
    let socket = walk.setup.path("local-persist.sock");
    command.arg("--socket").arg(&socket);
    std::os::unix::fs::symlink(&socket, old.socket()).unwrap();
    let old = old.start_with(command);
    old.wait_available();

    let pg = walk.setup.path("srv/pg");
    let before = tree(&pg);
    let mut drivers = Vec::new();
    walk.follow("From local-persist", |file| {
        let driver = file.split("driver: ").nth(1).unwrap().lines().next().unwrap();
        drivers.push(driver.to_owned());
        (driver == "local-persist").then(|| file.replace("mountpoint:", "path:"))
    });
    assert_eq!(drivers, ["local-persist", "dirvol"]);
    assert_eq!(old.names(), [""; 0]);
    let now = &walk.daemon.inspect("demo_db")[0];
    assert_eq!((&now["Driver"], &now["Mountpoint"]), (&json!("dirvol"), &json!(pg)));
    assert_eq!(walk.daemon.ok("exec demo_db_1 cat /data/below/file"), "precious");
    walk.run("docker-compose -p demo down -t 0 -v");
    assert_eq!(walk.serve.names(), [""; 0]);
    assert_eq!(tree(&pg), before);
    old.stop();
}

#[test]
fn a_bind_mount_becomes_a_volume_with_a_name() {
    let walk = Walk::new();
    let site = walk.setup.path("srv/site");
    let before = tree(&site);
    walk.daemon.run(&format!("-d --name web -v {}:/data", site.display()), "sleep 3600");
    walk.follow("From bind mounts", |_| None);
    let now = &walk.daemon.inspect("site")[0];
    assert_eq!((&now["Driver"], &now["Mountpoint"]), (&json!("dirvol"), &json!(site)));
    assert_eq!(now["Labels"]["team"], "web");
    assert_eq!(walk.daemon.ok("exec web cat /data/below/file"), "precious");
    assert_eq!(tree(&site), before);
    walk.daemon.ok("rm -f web");
    walk.daemon.ok("volume rm site");
    assert_eq!(tree(&site), before);
}

/// What the document says of Podman.
#[test]
fn podman_has_a_volume_where_the_directory_is_and_forgets_it_alone() {
    let setup = Setup::new();
    let (srv, site) = (setup.path("srv"), setup.path("srv/site"));
    fs::create_dir_all(&site).unwrap();
    fs::write(site.join("old"), "old\n").unwrap();
    let setup = setup.arg("--bind-root").arg(srv.display().to_string());
    let serve = setup.serve();
    let podman = Podman::new(setup.dir.path(), &["dirvol"]);
    podman.ok(&format!("volume create --driver dirvol --opt path={} site", site.display()));
    podman.shell("--rm -v site:/data", "cat /data/old > /data/new");
    let after = tree(&site);
    assert_eq!(after, ["new 0644 0:0 \"old\\n\"", "old 0644 0:0 \"old\\n\""]);
    podman.ok("volume rm site");
    assert_eq!(serve.names(), [""; 0]);
    assert_eq!(tree(&site), after);
}
