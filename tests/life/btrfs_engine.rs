//! A container of a real dockerd that hits its volume's limit on btrfs.

use std::fs;

use serde_json::{Value, json};

use crate::btrfs::commit;
use crate::daemon::Daemon;
use crate::loops::{Btrfs, Quota};
use crate::served::MIB;

#[test]
fn a_container_that_hits_its_limit_goes_on_when_the_volume_is_given_more() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    let daemon = Daemon::start(served.setup.dir.path());
    daemon.ok("volume create -d dirvol -o size=8M db");
    daemon.run("-d --name writer -v db:/data", "top");
    let dd = |file: &str, mib: u64| {
        format!("exec writer busybox dd if=/dev/zero of=/data/{file} bs=64k count={}", mib * 16)
    };

    let said = daemon.fails(&dd("file", 16));
    assert!(said.contains("dd: error writing '/data/file': Disk quota exceeded"), "{said}");
    let written = fs::metadata(served.data("db").join("file")).unwrap().len();
    assert!(written <= 8 * MIB && written > 7 * MIB, "{written}");
    assert!(daemon.fails(&dd("more", 1)).contains("Disk quota exceeded"));

    // It sees the whole file system, and not what it may write.
    let df = daemon.ok("exec writer busybox df -P -k /data");
    let size: u64 = df.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(size, 1 << 20, "{df}");
    commit(&served);
    let volumes: Value = serde_json::from_str(&daemon.ok("volume inspect db")).unwrap();
    let status = &volumes[0]["Status"];
    let used = status["used"]["bytes"].as_u64().unwrap();
    assert!(used <= 8 * MIB && used > 7 * MIB, "{used}");
    assert_eq!(status["used"], json!({"bytes": used}));
    assert_eq!(status["options"]["size"], "8M");

    served.said("set db size=16M");
    daemon.ok(&dd("more", 6));
    assert_eq!(fs::metadata(served.data("db").join("more")).unwrap().len(), 6 * MIB);

    daemon.ok("rm -f writer");
    daemon.ok("volume rm db");
    served.said("trash restore db");
    assert_eq!(
        daemon.run("--rm -v db:/data", "busybox stat -c %s /data/file"),
        format!("{written}\n")
    );
}
