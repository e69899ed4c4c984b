//! The same binary as the command line beside its plugin: on the host, and from
//! an image with nothing else in it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::tree;
use crate::plugged::{PLUGIN, Plugged, bundle};

impl Plugged {
    /// Runs the command line where the engine runs. It is told of no socket.
    pub fn dirvol(&self, line: &str) -> String {
        let mut command = self.daemon.inside(env!("CARGO_BIN_EXE_dirvol"));
        let output = command.args(line.split_whitespace()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "dirvol {line}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Imports the plugin's root file system as the image `dirvol-cli`.
    fn import(&self) {
        let rootfs = bundle().join("rootfs");
        let tar = Command::new("tar").arg("-C").arg(rootfs).args(["-c", "."]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let mut import = Command::new("docker");
        import.env("DOCKER_HOST", format!("unix://{}", self.daemon.socket().display())).args([
            "import",
            "--change",
            r#"ENTRYPOINT ["/dirvol"]"#,
            "-",
            "dirvol-cli",
        ]);
        let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
        assert!(import.wait().unwrap().success(), "no image");
    }
}

/// Makes a volume again as [`Plugged::fill`] made it. Labels are the engine's own,
/// and went with its volume.
fn create_again(plugged: &Plugged, name: &str) {
    let given = format!("--label of={name} --label kept -o mode=0750 -o retain=7d");
    plugged.daemon.ok(&format!("volume create -d {PLUGIN} {given} {name}"));
}

/// The first column of a table, below its head.
fn names(table: &str) -> Vec<&str> {
    table.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect()
}

#[test]
fn the_command_line_finds_the_plugin_by_itself() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.fill("web");
    assert_eq!(names(&plugged.dirvol("ls")), ["db", "web"]);
    let before = plugged.everything();
    plugged.daemon.ok("volume rm db");
    assert_eq!(names(&plugged.dirvol("ls")), ["web"]);
    plugged.dirvol("trash restore db");
    create_again(&plugged, "db");
    assert_eq!(plugged.everything(), before);
}

#[test]
fn the_binary_is_the_command_line_in_an_image_of_its_own() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    plugged.fill("web");
    plugged.import();
    let daemon = &plugged.daemon;
    let run = "run --rm --network none -v /run/docker/plugins:/run/docker/plugins dirvol-cli";
    assert_eq!(names(&daemon.ok(&format!("{run} ls"))), ["db", "web"]);
    assert_eq!(names(&daemon.ok(&format!("{run} trash ls"))), Vec::<&str>::new());
    let before = plugged.everything();
    daemon.ok("volume rm web");
    let entries = daemon.ok(&format!("{run} trash ls"));
    let [entry] = names(&entries)[..] else { panic!("{entries}") };
    assert!(entry.starts_with("web~"), "{entries}");
    daemon.ok(&format!("{run} trash restore {entry}"));
    create_again(&plugged, "web");
    assert_eq!(plugged.everything(), before);
}

#[test]
fn a_volume_of_the_plugin_goes_out_as_an_archive_and_comes_in_as_one() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let archive = plugged.path("db.tar").display().to_string();
    assert_eq!(plugged.dirvol(&format!("export db {archive}")), "");
    let said = plugged.dirvol(&format!("import copy {archive}"));
    assert!(said.starts_with("copy: "), "{said}");
    let data = |name: &str| tree(&plugged.root().join("volumes").join(name).join("data"));
    assert!(!data("db").is_empty());
    assert_eq!(data("copy"), data("db"));
    // What somebody has mounted is not to be seen from there; what was said is known.
    plugged.daemon.run("-d --name user -v copy:/x", "top");
    let mut export = plugged.daemon.inside(env!("CARGO_BIN_EXE_dirvol"));
    let refused = export.args(["export", "copy", &archive]).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("volume copy: volume is in use by mount ID "), "{why}");
    plugged.dirvol(&format!("export copy {archive} --live"));
    plugged.daemon.ok("rm -f user");
}
