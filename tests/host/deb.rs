//! The Debian package in a clean root: installed, used by hand, upgraded, removed and
//! purged. The root is made once, and kept below `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::{temporary, tree};

/// Where the clean root is kept; `scripts/clean-root` makes it.
const CLEAN: &str = "target/clean-root";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Uses a driver by hand, as somebody in a root without an init would.
const BY_HAND: &str = r#"
dirvol serve --init never --socket /run/dirvol.sock >/tmp/log 2>&1 &
driver=$!
tries=0
until dirvol --socket /run/dirvol.sock ls >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 300 ] || { cat /tmp/log; exit 1; }
  sleep 0.1
done
dirvol --socket /run/dirvol.sock create -o mode=2770 -o gid=33 db
echo "not a byte is lost" > /var/lib/dirvol/volumes/db/data/file
dirvol --socket /run/dirvol.sock create old
dirvol --socket /run/dirvol.sock rm old
kill $driver
wait $driver
"#;

const WARNING: &str = "\
dirvol: your volumes stay in /var/lib/dirvol, or wherever their root is.
dirvol: Docker waits 15 s, at each of its starts, for every volume of this driver that
dirvol: it still knows. To see them, while Docker runs:
dirvol:   docker volume ls --filter driver=dirvol
dirvol: To be rid of the wait, install this package again and then either
dirvol:   docker volume rm NAME   for each of them (it deletes, after a day in the trash),
dirvol: or give the same root to dirvol as a managed plugin, or keep the package.
";

const PURGED: &str =
    "dirvol: your volumes are still in /var/lib/dirvol; delete it yourself if you mean to\n";

#[test]
fn the_package_makes_a_root_and_no_upgrade_removal_or_purge_touches_its_volumes() {
    let root = Root::new();
    let packages = packages(root.dir.path());
    let printed = root.ok(&["dpkg", "-i", &packages[0]]);
    let made = printed.lines().find(|line| line.contains(" is root ")).expect(&printed);
    let id = made.strip_prefix("/var/lib/dirvol is root ").unwrap().to_owned();
    assert_eq!(
        root.enabled(),
        ["multi-user.target/dirvol.service", "sockets.target/dirvol.socket"]
    );
    assert_eq!(root.ok(&["dirvol", "--version"]), format!("dirvol {VERSION}\n"));

    let printed = root.ok(&["sh", "-euc", BY_HAND]);
    assert!(printed.starts_with("db\nold\n"), "{printed}");
    let volumes = root.volumes();
    assert_eq!(
        volumes.iter().filter(|line| line.contains("data/file 0644 0:33 \"not a")).count(),
        1
    );
    assert_eq!(volumes.iter().filter(|line| line.starts_with("trash/old~")).count(), 3);
    assert!(volumes.iter().any(|line| line.contains(&id)), "{volumes:?}");

    // A change of the administrator's stays: settings, and what is not enabled.
    let settings = root.path("etc/default/dirvol");
    fs::write(&settings, "DIRVOL_LOG_LEVEL=debug\n").unwrap();
    root.ok(&["systemctl", "disable", "dirvol.service"]);
    let enabled = root.enabled();
    let printed = root.ok(&["dpkg", "-i", "--force-confold", &packages[1]]);
    assert!(printed.ends_with(&format!("Setting up dirvol ({VERSION}-2~test) ...\n")), "{printed}");
    assert_eq!(root.volumes(), volumes);
    assert_eq!(root.enabled(), enabled);
    assert_eq!(fs::read_to_string(&settings).unwrap(), "DIRVOL_LOG_LEVEL=debug\n");

    let printed = root.ok(&["dpkg", "-r", "dirvol"]);
    assert!(printed.ends_with(WARNING), "{printed}");
    assert_eq!(root.volumes(), volumes);
    assert!(settings.exists(), "a removal keeps settings");

    let printed = root.ok(&["dpkg", "-P", "dirvol"]);
    assert!(printed.ends_with(PURGED), "{printed}");
    assert_eq!(root.volumes(), volumes);
    let left = root.ok(&["find", "/etc", "/usr", "/var/lib", "-name", "*dirvol*"]);
    assert_eq!(left, "/var/lib/dirvol\n/var/lib/dirvol/dirvol.json\n");

    // Installed again, it takes the root that is there.
    let printed = root.ok(&["dpkg", "-i", &packages[0]]);
    assert!(!printed.contains(" is root "), "{printed}");
    assert_eq!(root.volumes(), volumes);
}

#[test]
fn a_directory_that_is_no_root_is_left_as_it_is_and_told_of() {
    let root = Root::new();
    let packages = packages(root.dir.path());
    fs::create_dir_all(root.path("var/lib/dirvol")).unwrap();
    fs::write(root.path("var/lib/dirvol/mine"), "mine\n").unwrap();
    let before = root.volumes();
    let printed = root.ok(&["dpkg", "-i", &packages[0]]);
    assert!(
        printed.contains("dirvol: /var/lib/dirvol is not a root; the driver says what to do"),
        "{printed}"
    );
    assert_eq!(root.volumes(), before);
}

#[test]
fn where_another_root_was_served_no_new_one_is_made() {
    let root = Root::new();
    let packages = packages(root.dir.path());
    fs::create_dir_all(root.path("var/lib/dirvol-state")).unwrap();
    fs::write(root.path("var/lib/dirvol-state/root-id"), "x\n").unwrap();
    let printed = root.ok(&["dpkg", "-i", &packages[0]]);
    assert!(!printed.contains(" is root "), "{printed}");
    assert!(!root.path("var/lib/dirvol").exists());
}

/// A copy of the clean root, gone with the test.
struct Root {
    dir: TempDir,
}

impl Root {
    fn new() -> Self {
        assert!(Path::new(CLEAN).is_dir(), "there is no {CLEAN}: run scripts/clean-root");
        let dir = temporary();
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--reflink=auto", &format!("{CLEAN}/.")]).arg(dir.path());
        assert!(copy.status().unwrap().success());
        Self { dir }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    /// Runs a command in the root, with processes and mounts that end with it, and
    /// returns what it printed.
    fn run(&self, command: &[&str]) -> Output {
        let script = r#"mount -n -t proc proc "$1/proc" && exec chroot "$@""#;
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        inside.args(["sh", "-c", &format!("{{ {script}; }} 2>&1"), "sh"]).arg(self.dir.path());
        inside.args(command).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        inside.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C").output().unwrap()
    }

    fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?}: {}: {printed}", output.status);
        printed
    }

    /// The whole root for volumes.
    fn volumes(&self) -> Vec<String> {
        tree(&self.path("var/lib/dirvol"))
    }

    /// The units of the driver that systemd would start, and by which target.
    fn enabled(&self) -> Vec<String> {
        let mut found = Vec::new();
        for target in ["multi-user.target", "sockets.target"] {
            let wants = self.path(&format!("etc/systemd/system/{target}.wants"));
            let units =
                fs::read_dir(wants).into_iter().flatten().map(|unit| unit.unwrap().file_name());
            let ours = units.filter(|unit| unit.to_string_lossy().starts_with("dirvol"));
            found.extend(ours.map(|unit| format!("{target}/{}", unit.display())));
        }
        found
    }
}

/// Copies the package and its next version into a root, and returns where they are in it.
fn packages(root: &Path) -> [String; 2] {
    ["1", "2~test"].map(|revision| {
        let version = format!("{VERSION}-{revision}");
        let built = fs::read_dir("target/packages").expect("run make deb").map(Result::unwrap);
        let ours = |file: &fs::DirEntry| {
            file.file_name().to_string_lossy().starts_with(&format!("dirvol_{version}_"))
        };
        let built = built.into_iter().find(ours).unwrap_or_else(|| panic!("no {version}"));
        let inside = format!("tmp/dirvol-{revision}.deb");
        fs::copy(built.path(), root.join(&inside)).unwrap();
        format!("/{inside}")
    })
}
