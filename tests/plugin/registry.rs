//! A registry of a test's own, and versions of the plugin in it.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{eventually, temporary, tool};
use crate::plugged::{Plugged, bundle};

/// A registry on the loopback, which engines take for one that needs no TLS. It
/// ends with the test, whatever that comes to.
pub struct Registry {
    address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Registry {
    /// Starts one, and waits until it answers.
    pub fn start() -> Self {
        // It does not tell a port that the kernel chose, and the one that is chosen
        // for it may be taken before it listens there.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut started = Self::start_at(free);
            let listens = eventually("the registry listens, or has ended", || {
                if started.child.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                started.log().contains("listening on").then_some(true)
            });
            if listens {
                return started;
            }
            assert!(started.log().contains("address already in use"), "{}", started.log());
        }
        panic!("no port is to be had for a registry");
    }

    fn start_at(address: SocketAddr) -> Self {
        let dir = temporary();
        let config = format!(
            "version: 0.1\n\
             log: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '{address}', secret: of-a-test}}\n",
            dir.path().join("storage").display()
        );
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let child = tool("docker-registry")
            .arg("serve")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("'scripts/setup test' brings docker-registry");
        Self { address, child, dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// The name of a version of the plugin in this registry.
    pub fn name(&self, version: usize) -> String {
        format!("{}/dirvol:{version}", self.address)
    }

    /// Builds a version of the plugin and pushes it. Versions differ in the binary,
    /// and in what `edit` makes of the settings.
    pub fn push(&self, plugged: &Plugged, version: usize, edit: impl FnOnce(&mut Vec<Value>)) {
        let (built, own) = (bundle(), self.dir.path().join(format!("bundle-{version}")));
        fs::create_dir_all(own.join("rootfs")).unwrap();
        let binary = own.join("rootfs/dirvol");
        fs::copy(built.join("rootfs/dirvol"), &binary).unwrap();
        // What follows a program in its file does not matter to it.
        let mut end = File::options().append(true).open(&binary).unwrap();
        end.write_all(&vec![b'\n'; version]).unwrap();
        let config = fs::read_to_string(built.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&config).unwrap();
        edit(config["env"].as_array_mut().unwrap());
        fs::write(own.join("config.json"), config.to_string()).unwrap();

        let (name, daemon) = (self.name(version), &plugged.daemon);
        daemon.ok(&format!("plugin create {name} {}", own.display()));
        daemon.ok(&format!("plugin push {name}"));
        daemon.ok(&format!("plugin rm {name}"));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the registry's log\n{}---", self.log());
        }
    }
}
