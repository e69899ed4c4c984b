//! A volume that is a directory where it is, beside a real dockerd.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use crate::daemon::Daemon;
use crate::harness::{Setup, tree};

/// Everything of the directory itself that a change would change.
fn itself(dir: &Path) -> (u32, u32, u32, u64, i64, i64) {
    let meta = fs::metadata(dir).unwrap();
    (meta.mode(), meta.uid(), meta.gid(), meta.ino(), meta.mtime(), meta.mtime_nsec())
}

#[test]
fn a_container_writes_where_the_directory_is_and_a_remove_leaves_what_it_wrote() {
    let setup = Setup::new();
    let (srv, pg) = (setup.path("srv"), setup.path("srv/pg"));
    fs::create_dir_all(&pg).unwrap();
    fs::write(pg.join("old"), "old\n").unwrap();
    chown(&pg, Some(70), Some(70)).unwrap();
    let setup = setup.arg("--bind-root").arg(srv.display().to_string());
    let serve = setup.serve();
    let mut daemon = Daemon::start(setup.dir.path());
    let path = pg.display();
    daemon.ok(&format!("volume create -d dirvol -o path={path} --label a=b db"));
    let options = "--rm --user 70:70 -v db:/data";
    daemon.shell(options, "cat /data/old > /data/new && mkdir /data/below");
    let inspected = daemon.inspect("db");
    assert_eq!(inspected[0]["Mountpoint"], path.to_string());
    let (before, all) = (itself(&pg), tree(&pg));
    assert_eq!(all, ["below/ 0755 70:70", "new 0644 70:70 \"old\\n\"", "old 0644 0:0 \"old\\n\""]);

    // While a container runs, the kernel knows it, though the driver is a new one.
    daemon.run("-d --name holder -v db:/x", "top");
    serve.stop();
    let serve = setup.serve();
    let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"db"}"#);
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.body.contains("which has it mounted at /x"), "{}", answer.body);
    daemon.restart();
    assert_eq!(daemon.inspect("db"), inspected);
    daemon.ok("rm -f holder");

    // Without the directory no container starts on something else.
    let away = srv.join("away");
    fs::rename(&pg, &away).unwrap();
    let error = daemon.run_fails(options, "true");
    assert!(error.contains(&format!("volume db cannot be used: {path} is missing")), "{error}");
    assert!(!pg.exists());
    fs::rename(&away, &pg).unwrap();
    assert_eq!(daemon.run(options, "cat /data/new"), "old\n");

    daemon.ok("volume rm db");
    assert_eq!(serve.names(), [""; 0]);
    assert_eq!((itself(&pg), tree(&pg)), (before, all));
}
