//! One node, and its root on NFS: what a driver does on a disk of its own, it does there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Serve, Setup, eventually, tree};
use crate::node::{HARD, Node};
use crate::server::{Disk, Server};

/// What is written, as `tree` shows it.
const FILES: [&str; 4] = [
    "dir/ 0700 1000:1000",
    "dir/file 0600 1000:1000 \"kept\"",
    "dir/hard 0600 1000:1000 \"kept\"",
    "dir/link 120777 1000:1000",
];

/// A driver on a node, whose root is a share.
struct Served {
    serve: Serve,
    setup: Setup,
    node: Node,
}

impl Served {
    fn on(server: &Server, disk: Disk) -> (Self, crate::server::Share) {
        let share = server.share(disk);
        let node = Node::new(1);
        let setup = node.driver(&share, HARD);
        let serve = node.serve(&setup);
        (Self { serve, setup, node }, share)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.setup.root().join("volumes").join(name).join("data")
    }

    /// Fills a volume as a container does.
    fn fill(&self, name: &str) {
        let mount = json!({"Name": name, "ID": "a"}).to_string();
        let answer: Value =
            serde_json::from_str(&self.serve.ok("VolumeDriver.Mount", &mount)).unwrap();
        assert_eq!(answer, json!({"Mountpoint": self.data(name), "Err": ""}));
        let dir = self.data(name).join("dir");
        self.node.run(|| {
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("file"), "kept").unwrap();
            fs::hard_link(dir.join("file"), dir.join("hard")).unwrap();
            symlink("file", dir.join("link")).unwrap();
            for (path, mode) in [(dir.join("file"), 0o600), (dir.clone(), 0o700)] {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            for path in ["", "file", "link"] {
                std::os::unix::fs::lchown(dir.join(path), Some(1000), Some(1000)).unwrap();
            }
        });
        self.serve.ok("VolumeDriver.Unmount", &mount);
    }

    fn files(&self, name: &str) -> Vec<String> {
        self.node.run(|| tree(&self.data(name)))
    }

    /// What a person on the node does.
    fn command(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        command.arg("--socket").arg(self.setup.socket()).args(line.split_whitespace());
        self.node.run(|| command.output().unwrap())
    }

    fn said(&self, line: &str) -> String {
        let output = self.command(line);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dirvol {line}: {wrong}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn volumes_are_made_filled_removed_and_taken_back() {
    let server = Server::start();
    for disk in [Disk::Ext4, Disk::Xfs] {
        let (served, _share) = Served::on(&server, disk);
        let serve = &served.serve;
        serve.create("db");
        // Nothing is put in the place of what is there.
        serve.create("db");
        served.fill("db");
        assert_eq!(served.files("db"), FILES, "{disk:?}");
        serve.remove("db");
        assert_eq!(serve.names(), Vec::<String>::new());
        serve.create("db");
        let entry = json_of(&served.said("trash ls --format json"))[0]["Entry"].clone();
        let entry = entry.as_str().unwrap();
        let refused = served.command(&format!("trash restore {entry}"));
        assert!(!refused.status.success());
        served.said(&format!("trash restore {entry} --as old"));
        assert_eq!(served.files("old"), FILES, "{disk:?}");
        assert_eq!(served.files("db"), Vec::<String>::new(), "{disk:?}");
        serve.remove("old");
        served.said("trash purge --all");
        let below = ["staging", "trash"].map(|dir| served.setup.root().join(dir));
        eventually("what was purged is gone", || {
            let none = |dir: &PathBuf| fs::read_dir(dir).unwrap().next().is_none();
            served.node.run(|| below.iter().all(none)).then_some(())
        });
    }
}

#[test]
fn copies_and_archives_are_equal_to_what_they_were_made_of() {
    let server = Server::start();
    for (disk, way) in [(Disk::Ext4, "copy"), (Disk::Xfs, "reflink")] {
        let (served, _share) = Served::on(&server, disk);
        served.serve.create("db");
        served.fill("db");
        let copied = served.said("clone db copy");
        assert_eq!(copied, format!("copy: a copy of db by {way}, 4 files, 4 bytes\n"));
        let archive = served.setup.path("archive");
        served.said(&format!("export db {}", archive.display()));
        served.said(&format!("import imported {}", archive.display()));
        for name in ["copy", "imported"] {
            assert_eq!(served.files(name), FILES, "{disk:?}");
        }
        let limited = served.command("create limited -o size=1M");
        let why = String::from_utf8(limited.stderr).unwrap();
        assert!(why.contains("does not enforce limits"), "{why}");
        let place = format!("--root {}", served.setup.root().display());
        served.said(&format!("doctor {place} --state-dir {}", served.setup.state().display()));
    }
}

#[test]
fn a_directory_beside_the_root_is_moved_into_it() {
    let server = Server::start();
    let share = server.share(Disk::Ext4);
    let node = Node::new(1);
    let setup = Setup::new();
    let at = setup.path("nfs");
    fs::create_dir(&at).unwrap();
    node.mount(&share, &at, HARD);
    symlink(at.join("root"), setup.root()).unwrap();
    node.run(|| fs::create_dir(at.join("root")).unwrap());
    let serve = node.serve(&setup);
    let served = Served { serve, setup, node };
    let theirs = at.join("theirs");
    served.node.run(|| {
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("file"), "kept").unwrap();
    });
    served.said(&format!("import --move moved {}", theirs.display()));
    assert_eq!(served.files("moved"), ["file 0644 0:0 \"kept\""]);
    assert!(!served.node.run(|| theirs.exists()));
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
