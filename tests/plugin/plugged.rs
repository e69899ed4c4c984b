//! An engine that has the driver as a managed plugin, on a root of a test's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::harness::{eventually, temporary, tree};

/// The plugin's name at its engine.
pub const PLUGIN: &str = "dirvol:latest";

/// The directory of the engine's sockets. The path of a socket has at most 107
/// bytes, and the plugin's ID takes 64 of them.
const SOCKETS: &str = "s";

/// An engine with the plugin. The fields are dropped in this order: the engine
/// before what it has mounted.
pub struct Plugged {
    pub daemon: Daemon,
    dir: TempDir,
}

/// All that may not be lost: what dockerd shows of the volumes, with their labels
/// and options, and every byte below the root.
#[derive(Debug, PartialEq, Eq)]
pub struct Everything {
    shown: BTreeMap<String, Value>,
    root: Vec<String>,
}

impl Everything {
    /// The labels of a volume.
    pub fn labels(&self, name: &str) -> Value {
        self.shown[name]["Labels"].clone()
    }
}

impl Plugged {
    /// An engine in which the plugin is made and not enabled.
    pub fn made() -> Self {
        Self::made_with("{}")
    }

    /// As [`Plugged::made`], with `settings` in the engine's `daemon.json`.
    pub fn made_with(settings: &str) -> Self {
        let plugged = Self::bare(settings);
        plugged.install();
        plugged
    }

    /// An engine without the plugin.
    pub fn bare(settings: &str) -> Self {
        let dir = temporary();
        let at = |name: &str| dir.path().join(name);
        for name in [SOCKETS, "root"] {
            fs::create_dir(at(name)).unwrap();
        }
        let daemon = Daemon::start_with(&at(SOCKETS), settings);
        Self { daemon, dir }
    }

    /// Makes the plugin, on the root.
    pub fn install(&self) {
        self.daemon.ok(&format!("plugin create {PLUGIN} {}", bundle().display()));
        self.set_root(&self.root());
    }

    /// Installs the plugin from a registry, on the root, and enables it.
    pub fn install_from(&self, name: &str, settings: &str) {
        self.install_as(PLUGIN, name, &format!("root.source={} {settings}", self.root().display()));
    }

    /// Installs a plugin from a registry as `alias`, and enables it.
    pub fn install_as(&self, alias: &str, name: &str, settings: &str) {
        let granted = "plugin install --grant-all-permissions --alias";
        self.daemon.ok(&format!("{granted} {alias} {name} {settings}"));
    }

    /// An engine in which the plugin is enabled.
    pub fn enabled() -> Self {
        let plugged = Self::made();
        plugged.enable();
        plugged
    }

    pub fn enable(&self) {
        self.daemon.ok(&format!("plugin enable {PLUGIN}"));
    }

    /// Disables it. dockerd answers when the process has ended, and unmounts what it
    /// had mounted after that; what is enabled meanwhile loses its mounts to that.
    pub fn disable(&self) {
        self.disable_other(PLUGIN);
    }

    /// As [`Plugged::disable`], for a plugin with another name.
    pub fn disable_other(&self, name: &str) {
        self.daemon.ok(&format!("plugin disable --force {name}"));
        eventually("dockerd has unmounted", || (self.mounts_of(name) == 0).then_some(()));
    }

    /// Sets the directory of the host that the plugin serves.
    pub fn set_root(&self, root: &Path) {
        self.set(&format!("root.source={}", root.display()));
    }

    pub fn set(&self, setting: &str) {
        self.daemon.ok(&format!("plugin set {PLUGIN} {setting}"));
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A path in the directory that is gone with the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The socket of the one plugin that is enabled.
    pub fn socket(&self) -> PathBuf {
        self.find_socket().expect("a plugin is enabled")
    }

    /// As [`Plugged::socket`], where there may be none just now.
    pub fn find_socket(&self) -> Option<PathBuf> {
        let dirs = fs::read_dir(self.path(SOCKETS)).unwrap();
        let mut sockets = dirs.map(|dir| dir.unwrap().path().join("dirvol.sock"));
        sockets.find(|socket| socket.exists())
    }

    /// Makes a volume with labels, options and bytes.
    pub fn fill(&self, name: &str) {
        let given = format!("--label of={name} --label kept -o mode=0750 -o retain=7d");
        self.daemon.ok(&format!("volume create -d {PLUGIN} {given} {name}"));
        self.daemon
            .shell(&format!("--rm -v {name}:/x"), &format!("echo bytes of {name} > /x/file"));
    }

    /// Looks at everything; who mounts what is not part of it.
    pub fn everything(&self) -> Everything {
        let names = self.daemon.ok(&format!("volume ls -q -f driver={PLUGIN}"));
        let names: Vec<&str> = names.split_whitespace().collect();
        let mut shown = BTreeMap::new();
        if !names.is_empty() {
            for mut volume in self.daemon.inspect(&names.join(" ")) {
                volume["Status"].as_object_mut().unwrap().remove("holders");
                shown.insert(volume["Name"].as_str().unwrap().to_owned(), volume);
            }
        }
        Everything { shown, root: tree(&self.root()) }
    }
}

/// The bundle, as `make plugin` assembles it.
pub fn bundle() -> PathBuf {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin/build");
    assert!(bundle.join("rootfs/dirvol").exists(), "run 'make plugin' first");
    bundle
}
