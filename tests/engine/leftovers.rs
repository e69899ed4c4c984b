//! That these tests leave nothing behind on the machine that they run on.

use std::fs;
use std::path::Path;

use crate::daemon::Daemon;
use crate::harness::Setup;

/// The processes whose command line contains `words`.
fn processes(words: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let lines = entries.filter_map(|process| fs::read_to_string(process.join("cmdline")).ok());
    lines.map(|line| line.replace('\0', " ")).filter(|line| line.contains(words)).collect()
}

/// The control groups called `name`, in every hierarchy.
fn cgroups(name: &str) -> usize {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    let all = hierarchies.chain([Path::new("/sys/fs/cgroup").to_path_buf()]);
    all.filter(|hierarchy| hierarchy.join(name).exists()).count()
}

#[test]
fn an_engine_leaves_nothing_behind() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut daemon = Daemon::start(setup.dir.path());
    daemon.run("-d --volume-driver dirvol -v held:/x", "top");
    // What it leaves of itself is the most that it can leave.
    daemon.kill();
    let dir = daemon.dir().to_owned();
    let words = dir.to_str().unwrap().to_owned();
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let shims = processes(&words).iter().filter(|line| line.contains("containerd-shim")).count();
    assert_eq!(shims, 1);
    assert!(cgroups(&name) > 0);

    drop(daemon);

    assert_eq!(processes(&words), Vec::<String>::new());
    assert_eq!(cgroups(&name), 0);
    assert!(!dir.exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own: Vec<&str> = mounts.lines().filter(|line| line.contains(&words)).collect();
    assert_eq!(own, Vec::<&str>::new());
    // The volume is not held any more, and the driver can tell.
    let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"held"}"#);
    assert!(!answer.body.contains("in use by process"), "{}", answer.body);
}
