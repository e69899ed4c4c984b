//! One node, and its root on NFS: all that a driver does on a disk of its own.

use std::fs;

use serde_json::json;

use crate::harness::Serve;
use crate::node::{HARD, Node};
use crate::server::{Disk, Server};

#[test]
fn volumes_are_made_mounted_removed_and_taken_back() {
    let server = Server::start();
    for disk in [Disk::Ext4, Disk::Xfs] {
        let share = server.share(disk);
        let node = Node::new(1);
        let setup = node.driver(&share, HARD);
        let serve = node.serve(&setup);
        serve.create("db");
        let data = mountpoint(&serve);
        node.run(|| fs::write(data.join("file"), "kept").unwrap());
        serve.ok("VolumeDriver.Unmount", &json!({"Name": "db", "ID": "a"}).to_string());
        serve.remove("db");
        assert_eq!(serve.names(), Vec::<String>::new());
        eprintln!("{}", serve.log());
    }
}

fn mountpoint(serve: &Serve) -> std::path::PathBuf {
    let body = serve.ok("VolumeDriver.Mount", &json!({"Name": "db", "ID": "a"}).to_string());
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    answer["Mountpoint"].as_str().unwrap().into()
}
