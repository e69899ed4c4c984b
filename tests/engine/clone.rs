//! A copy of a volume, asked for by Docker's own command.

use crate::daemon::Daemon;
use crate::harness::Setup;

#[test]
fn a_volume_is_made_of_another_one_and_a_container_reads_its_bytes() {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    daemon.ok("volume create -d dirvol -o retain=7d original");
    daemon
        .shell("--rm -v original:/x", "echo precious > /x/file; ln /x/file /x/again; chown 5:6 /x");
    daemon.ok("volume create -d dirvol -o from=original --label team=db copy");
    let seen = "cat file again; stat -c %u:%g:%h . file | tr '\\n' ' '";
    let expected = "precious\nprecious\n5:6:2 0:0:2 ";
    assert_eq!(daemon.shell("--rm -v copy:/x:ro -w /x", seen), expected);
    let copy = &daemon.inspect("copy")[0];
    assert_eq!(copy["Labels"]["team"], "db");
    let options = &copy["Status"]["options"];
    assert_eq!((&options["from"], &options["retain"]), (&"original".into(), &"7days".into()));
    let log = serve.log();
    let how = if log.contains("cloned by reflink: ") { "reflink" } else { "copy" };
    let note = format!("cloned by {how}: 2 files, 9 bytes");
    assert!(
        log.lines().any(|line| line.contains(&note) && line.contains("op=\"create\"")),
        "{log}"
    );

    // A container that may be writing keeps it from being copied.
    daemon.run("-d --name writer -v original:/x", "top");
    let refused = daemon.fails("volume create -d dirvol -o from=original torn");
    let start = "volume torn: volume original is in use by process ";
    assert!(refused.contains(start) && refused.contains("live=true"), "{refused}");
    assert_eq!(serve.names(), ["copy", "original"]);
    daemon.ok("volume create -d dirvol -o from=original -o live=true live");
    assert_eq!(daemon.inspect("live")[0]["Status"]["copied"], "live");
    daemon.ok("rm -f writer");
    // When it has ended, the same call is served.
    daemon.ok("volume create -d dirvol -o from=original torn");
    assert_eq!(daemon.run("--rm -v torn:/x:ro", "cat /x/file"), "precious\n");
    // The original goes without its copies.
    daemon.ok("volume rm original");
    assert_eq!(daemon.run("--rm -v copy:/x:ro", "cat /x/again"), "precious\n");
    serve.stop();
}
