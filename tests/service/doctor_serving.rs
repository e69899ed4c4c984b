//! `dirvol doctor`: what is found of drivers, sockets, units and engines, and that it
//! waits for nothing for ever.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;

use crate::doctor::{but, doctor, doctor_anywhere, no_root, served_once, told};
use crate::engines::Engine;
use crate::harness::{Serve, Setup};
use crate::mounts::{HangingDisk, in_own_mounts, mount_memory};

const STALE: &str = "nobody listens there: dockerd waits 15 s for each volume of this driver it \
                     knows; start the driver; or, if it is given up, rm";

/// What is well of a host whose root `serve` serves.
fn running(serve: &Serve) -> [(&'static str, &'static str); 2] {
    let text = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let process = format!("process {} (dirvol)", serve.pid());
    [
        ("lock", text(format!("{process} holds that of DIR/root"))),
        ("sockets", text(format!("DIR/dirvol.sock is served by {process}"))),
    ]
}

#[test]
fn a_socket_that_nobody_listens_on_is_found_wherever_it_is() {
    served_once(|setup| {
        fs::create_dir_all("/run/docker/plugins/0a").unwrap();
        let plugins = Path::new("/run/docker/plugins");
        for path in [
            setup.socket(),
            plugins.join("dirvol-ssd.sock"),
            plugins.join("0a/dirvol.sock"),
            // That of another driver is not ours to judge.
            plugins.join("other.sock"),
        ] {
            drop(UnixListener::bind(path).unwrap());
        }
        for path in
            [setup.socket(), plugins.join("dirvol-ssd.sock"), plugins.join("0a/dirvol.sock")]
        {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let line = |path: &str| format!("{path}: {STALE} {path}");
        let found = [
            line("DIR/dirvol.sock"),
            line("/run/docker/plugins/0a/dirvol.sock"),
            line("/run/docker/plugins/dirvol-ssd.sock"),
        ];
        let found = found.each_ref().map(|line| ("sockets", line.as_str()));
        assert_eq!(doctor(setup, &[]), told(&but(&[]), &found));
    });
}

#[test]
fn a_driver_that_does_not_answer_is_found_and_not_waited_for() {
    served_once(|setup| {
        let serve = setup.serve();
        serve.freeze();
        let found = "DIR/dirvol.sock: whoever listens there does not answer: DIR/dirvol.sock has \
                     not answered for 5 s; see its log, and start it anew: dockerd cannot start \
                     meanwhile";
        assert_eq!(doctor(setup, &[]), told(&but(&running(&serve)), &[("sockets", found)]));
        serve.signal(Signal::SIGCONT);
        serve.stop();
    });
}

#[test]
fn somebody_elses_socket_is_found() {
    served_once(|setup| {
        let listener = UnixListener::bind(setup.socket()).unwrap();
        fs::set_permissions(setup.socket(), fs::Permissions::from_mode(0o600)).unwrap();
        // One connection to see whose it is, and one to ask.
        let other = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let _some = stream.read(&mut [0; 1000]).unwrap();
                let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                let _gone = std::io::Write::write_all(&mut stream, answer);
            }
        });
        let found = "DIR/dirvol.sock: it is no driver of ours that answers; give --socket";
        assert_eq!(doctor(setup, &[]), told(&but(&[]), &[("sockets", found)]));
        other.join().unwrap();
    });
}

#[test]
fn a_socket_that_others_may_use_or_replace_is_found() {
    served_once(|setup| {
        let serve = setup.serve();
        fs::set_permissions(setup.socket(), fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(setup.dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let found = [
            (
                "sockets",
                "DIR/dirvol.sock: others than its owner may connect (mode 0666), and so remove \
                 volumes; chmod 0600 DIR/dirvol.sock; in a unit for it, SocketMode=0600",
            ),
            (
                "sockets",
                "DIR: others than its owner may write there (mode 1777), and put a socket in the \
                 driver's place; chmod go-w DIR",
            ),
        ];
        assert_eq!(doctor(setup, &[]), told(&but(&running(&serve)), &found));
        serve.stop();
    });
}

#[test]
fn a_driver_that_is_unavailable_is_found_with_its_reason() {
    served_once(|setup| {
        fs::rename(setup.root(), setup.path("away")).unwrap();
        let serve = setup.start();
        serve.wait_unavailable();
        let cure = "mount its disk, or make it with 'dirvol init DIR/root'";
        let found = [
            (
                "root",
                "DIR/root: it does not exist; mount its disk, give --root, or make it with \
                 'dirvol init DIR/root'"
                    .to_owned(),
            ),
            (
                "sockets",
                format!(
                    "DIR/dirvol.sock: its driver is unavailable: root DIR/root does not exist: \
                     {cure}; it is back within a second after that"
                ),
            ),
        ];
        let found = found.each_ref().map(|(check, what)| (*check, what.as_str()));
        assert_eq!(doctor(setup, &[]), told(&no_root(), &found));
        serve.stop();
    });
}

#[test]
fn a_lock_whose_holder_does_not_answer_is_found() {
    let other = Setup::new();
    served_once(|setup| {
        let serve = setup.serve();
        let holder = format!("DIR/root: process {} (dirvol) holds the lock, and", serve.pid());
        // Its socket's file was deleted.
        fs::rename(setup.socket(), setup.path("away")).unwrap();
        let found = format!(
            "{holder} does not listen at DIR/dirvol.sock; give the --socket that it has; or start \
             it anew with this one"
        );
        let well = but(&[]);
        assert_eq!(doctor(setup, &[]), told(&well, &[("lock", &found)]));
        // Another driver has it, for another root.
        let another = other.serve();
        symlink(&another.socket, setup.socket()).unwrap();
        let process = format!("process {} (dirvol)", another.pid());
        let found = format!(
            "{holder} {process} answers at DIR/dirvol.sock; stop one of them; or give the \
             --socket of the first, or the --root of the other"
        );
        let served = format!("DIR/dirvol.sock is served by {process}");
        let well: Vec<(&str, &str)> = well
            .into_iter()
            .map(|(check, saw)| (check, if check == "sockets" { &served } else { saw }))
            .collect();
        assert_eq!(doctor(setup, &[]), told(&well, &[("lock", &found)]));
        serve.kill();
        let found = format!(
            "DIR/root: {process} answers at DIR/dirvol.sock, and serves another root; give the \
             --root that it has, or the --socket of the driver that serves this one"
        );
        assert_eq!(doctor(setup, &[]), told(&well, &[("lock", &found)]));
        another.stop();
    });
}

/// A service manager makes the socket, and the driver has it open.
#[test]
fn a_driver_whose_socket_was_handed_over_is_known_as_the_holder_of_the_lock() {
    served_once(|setup| {
        let listener = UnixListener::bind(setup.socket()).unwrap();
        fs::set_permissions(setup.socket(), fs::Permissions::from_mode(0o600)).unwrap();
        let serve = setup.start_with(crate::handover::with_socket(&setup.command(), &listener));
        serve.wait_available();
        let ended = doctor(setup, &[]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
        serve.stop();
    });
}

#[test]
fn units_in_the_wrong_order_are_found() {
    served_once(|setup| {
        let units = setup.path("units");
        fs::create_dir_all(units.join("dirvol.service.d")).unwrap();
        fs::create_dir(units.join("multi-user.target.wants")).unwrap();
        let write = |name: &str, text: &str| fs::write(units.join(name), text).unwrap();
        write("dirvol.service", "[Unit]\nAfter=dirvol.socket local-fs.target\n");
        write("dirvol.socket", "[Unit]\nBefore=docker.service\n");
        let looked = ("units", "DIR/units/dirvol.service, DIR/units/dirvol.socket");
        assert_eq!(doctor(setup, &[]), told(&but(&[looked]), &[]));

        write("dirvol.service", "[Unit]\n# After=docker.service\nAfter = a docker.service\n");
        write("dirvol.service.d/order.conf", "[Unit]\nAfter=docker.service\n");
        let wanted = units.join("multi-user.target.wants/dirvol.service");
        symlink("../dirvol.service", wanted).unwrap();
        let after = "it is started after docker.service, which waits for its volumes, and so for \
                     it; replace After=docker.service by Before=docker.service";
        let [unit, drop_in] =
            ["", ".d/order.conf"].map(|file| format!("DIR/units/dirvol.service{file}: {after}"));
        let found = [
            ("units", unit.as_str()),
            ("units", &drop_in),
            (
                "units",
                "DIR/units/dirvol.service: it is enabled, and dirvol.socket is not; systemctl \
                 enable dirvol.socket",
            ),
        ];
        assert_eq!(doctor(setup, &[]), told(&but(&[looked]), &found));
        fs::create_dir(units.join("sockets.target.wants")).unwrap();
        symlink("../dirvol.socket", units.join("sockets.target.wants/dirvol.socket")).unwrap();
        assert_eq!(doctor(setup, &[]), told(&but(&[looked]), &found[..2]));
    });
}

#[test]
fn the_units_that_are_shipped_are_in_order() {
    served_once(|setup| {
        let units = setup.path("units");
        fs::create_dir_all(&units).unwrap();
        for unit in fs::read_dir("packaging/systemd").unwrap() {
            let unit = unit.unwrap();
            fs::copy(unit.path(), units.join(unit.file_name())).unwrap();
        }
        let looked = "DIR/units/dirvol-announce.service, DIR/units/dirvol.service, \
                      DIR/units/dirvol.socket, DIR/units/dirvol@.service, \
                      DIR/units/dirvol@.socket";
        assert_eq!(doctor(setup, &[]), told(&but(&[("units", looked)]), &[]));
    });
}

#[test]
fn an_engines_own_volume_that_hides_one_of_ours_is_found() {
    served_once(|setup| {
        let own = r#"{"Volumes":[{"Name":"db","Driver":"local"},{"Name":"x"}],"Warnings":null}"#;
        let docker = Path::new("/run/docker.sock");
        let engine = Engine::listen(docker, "200 OK", "[]", own);
        let found = "volume db: the engine at /run/docker.sock has a local volume of that name, \
                     which containers get instead; stop its containers, save what it holds, and \
                     run 'docker volume rm db'";
        let looked = ("engines", "/run/docker.sock has 2 local volumes");
        assert_eq!(doctor(setup, &[]), told(&but(&[looked]), &[("engines", found)]));
        let target = "GET /volumes?filters=%7B%22driver%22%3A%7B%22local%22%3Atrue%7D%7D HTTP/1.1";
        assert_eq!(engine.asked(), [target]);
        drop(engine);

        drop(UnixListener::bind(docker).unwrap());
        let found = "engine: the engine at /run/docker.sock cannot be asked which volumes of its \
                     own it has: cannot connect to /run/docker.sock: Connection refused (os error \
                     111); start it first; run this again then: volumes of ours may be hidden by \
                     its own";
        assert_eq!(doctor(setup, &[]), told(&but(&[]), &[("engines", found)]));
    });
}

/// Without flags it looks where the driver would be.
#[test]
fn the_usual_places_are_looked_at() {
    in_own_mounts(|| {
        mount_memory(Path::new("/run"), "");
        mount_memory(Path::new("/var/lib"), "");
        let ended = crate::program::dirvol(["doctor", "--unit-dir", "/nowhere"]);
        let well = [
            ("root", ""),
            ("lock", ""),
            ("permissions", ""),
            ("space", ""),
            ("health", ""),
            ("leftovers", ""),
            ("sockets", "/run/docker/plugins/dirvol.sock is not there"),
            ("units", "systemd has none of dirvol's"),
            ("engines", "none listens where engines do"),
            ("selinux", ""),
        ];
        let found = "/var/lib/dirvol: it does not exist; mount its disk, give --root, or make it \
                     with 'dirvol init /var/lib/dirvol'";
        assert_eq!(ended, told(&well, &[("root", found)]));
        assert_eq!(crate::harness::tree(Path::new("/var/lib")), [""; 0], "nothing is made");
    });
}

#[test]
fn a_disk_that_hangs_is_found_and_not_waited_for() {
    served_once(|setup| {
        let _disk = HangingDisk::mount(&setup.root());
        let found = [(
            "root",
            "DIR/root: the disk has not answered for 20 s; see the kernel's log for it; nothing \
             else of the root was looked at",
        )];
        assert_eq!(doctor_anywhere(setup, &[]), told(&no_root(), &found));
    });
}
