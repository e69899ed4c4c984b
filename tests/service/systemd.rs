//! The driver under a service manager: what it passes, and what it is told.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::expect::done;
use crate::handover::handed_over;
use crate::harness::{Client, DEADLINE, Serve, Setup, eventually};
use crate::program::{failure, run, usage};

/// The service manager's end of what it is told.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }
}

const READY: &str = "READY=1";
const STOPPING: &str = "STOPPING=1\nSTATUS=answering what was asked";

#[test]
fn the_service_manager_is_told_of_the_start_the_root_and_the_end() {
    let setup = Setup::new();
    let path = setup.path("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let setup = setup.env("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut serve = setup.serve();
    let serving = format!("STATUS=serving {}", setup.root().display());
    assert_eq!([manager.next(), manager.next()], [READY, &serving]);
    let away = setup.path("away");
    fs::rename(setup.root(), &away).unwrap();
    // Gone from its path, or, by the next attempt to open it, not there.
    let why = format!("STATUS=unavailable: root {} ", setup.root().display());
    let gone = manager.next();
    assert!(gone.starts_with(&why), "{gone}");
    fs::rename(&away, setup.root()).unwrap();
    let back = eventually("the root is back", || {
        Some(manager.next()).filter(|told| !told.starts_with(&why))
    });
    assert_eq!(back, serving);
    serve.signal(Signal::SIGTERM);
    assert_eq!(manager.next(), STOPPING);
    assert!(serve.wait().success());
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err());
}

#[test]
fn a_driver_without_its_root_is_ready_and_says_why_it_does_not_serve() {
    // An abstract name of this test alone, as containers' service managers have.
    let setup = Setup::new().arg("--init").arg("never");
    let name = format!("{}-notify", setup.dir.path().display());
    let address = net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let setup = setup.env("NOTIFY_SOCKET", format!("@{name}"));
    let serve = setup.start();
    assert_eq!(manager.next(), READY);
    let status = manager.next();
    let why = format!("STATUS=unavailable: root {} does not exist", setup.root().display());
    assert!(status.starts_with(&why), "{status}");
    serve.stop();
    assert_eq!(manager.next(), STOPPING);
}

#[test]
fn a_service_manager_that_is_not_there_stops_nothing() {
    for name in ["/nowhere/notify", "notify", "@"] {
        let setup = Setup::new().env("NOTIFY_SOCKET", name);
        let serve = setup.serve();
        serve.create("a");
        assert!(serve.log().contains("the service manager "), "{}", serve.log());
        serve.stop();
    }
}

/// Starts a driver that `manager` watches, as the process `pid` in words of a shell.
fn watched(setup: &Setup, pid: &str) -> Serve {
    fs::create_dir(setup.root()).unwrap();
    let driver = setup.command();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(r#"WATCHDOG_PID={pid} exec "$0" "$@""#));
    command.arg(driver.get_program()).args(driver.get_args());
    command.envs(driver.get_envs().filter_map(|(name, value)| Some((name, value?))));
    setup.start_with(command)
}

#[test]
fn the_watchdog_hears_that_the_reactor_turns() {
    let setup = Setup::new().env("WATCHDOG_USEC", "100000");
    let path = setup.path("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let setup = setup.env("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut serve = watched(&setup, "$$");
    assert_eq!(manager.next(), READY);
    let serving = format!("STATUS=serving {}", setup.root().display());
    let mut before = Vec::new();
    eventually("the root is told of", || {
        before.push(manager.next());
        (before.last() == Some(&serving)).then_some(())
    });
    before.pop();
    // In the second until then, more than a few; how many is a matter of speed.
    assert!(before.len() > 2, "{before:?}");
    assert_eq!(before, vec!["WATCHDOG=1"; before.len()]);
    assert_eq!(manager.next(), "WATCHDOG=1");
    serve.signal(Signal::SIGTERM);
    assert!(serve.wait().success());
}

#[test]
fn a_watchdog_of_another_process_hears_nothing() {
    let setup = Setup::new().env("WATCHDOG_USEC", "1000");
    let path = setup.path("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let setup = setup.env("NOTIFY_SOCKET", path.to_str().unwrap());
    let serve = watched(&setup, "1");
    let serving = format!("STATUS=serving {}", setup.root().display());
    assert_eq!([manager.next(), manager.next()], [READY, &serving]);
    serve.stop();
    assert_eq!(manager.next(), STOPPING);
}

#[test]
fn an_idle_exit_without_a_socket_that_stays_is_refused() {
    let setup = Setup::new().arg("--idle-exit").arg("10m");
    let why = "--idle-exit 10m: afterwards nobody would listen; have systemd pass the socket (a \
               .socket unit), or leave this out";
    assert_eq!(run(&mut setup.command()), usage(why));
    assert!(!setup.socket().exists());
}

/// The command that has systemd's own program listen on `addresses`, called `names`,
/// and start the driver at the first connection.
fn activated(setup: &Setup, addresses: &[&str], names: &str) -> Command {
    let driver = setup.command();
    let mut command = Command::new("systemd-socket-activate");
    for address in addresses {
        command.args(["-l", address]);
    }
    command.arg(format!("--fdname={names}")).arg(driver.get_program()).args(driver.get_args());
    command
}

/// Waits until somebody listens on the socket.
fn wait_for_socket(setup: &Setup) {
    eventually("there is a socket", || setup.socket().exists().then_some(()));
}

#[test]
fn systemds_own_activation_starts_it_and_an_idle_exit_leaves_the_socket() {
    let setup = Setup::new().arg("--idle-exit").arg("300ms");
    let socket = setup.socket();
    let addresses = [socket.to_str().unwrap()];
    let command = activated(&setup, &addresses, "plugin");
    fs::create_dir(setup.root()).unwrap();
    let mut serve = setup.start_with(command);
    // It may have ended for want of questions already; if not, it answers.
    if let Ok(stream) = UnixStream::connect(&socket) {
        drop(stream);
    }
    assert!(serve.wait().success());
    assert!(socket.exists());
    let log = fs::read_to_string(&serve.log).unwrap();
    let end = " INFO nothing was asked for long: the next request starts it again\n";
    assert!(log.contains(end), "{log}");
    assert!(log.ends_with(" INFO stopped\n"), "{log}");
}

#[test]
fn a_second_socket_that_is_passed_serves_metrics_and_nothing_else() {
    let setup = Setup::new();
    let socket = setup.socket();
    // systemd takes no port 0. That somebody else takes this one is unlikely.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let addresses = [free.as_str(), socket.to_str().unwrap()];
    let command = activated(&setup, &addresses, "metrics:plugin");
    fs::create_dir(setup.root()).unwrap();
    let serve = setup.start_with(command);
    serve.wait_available();
    let address = metrics_address(&serve);
    let ask = |request: &str| {
        let mut client = Client::connect_tcp(address);
        client.send(request);
        client.answer().unwrap()
    };
    let metrics = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(metrics.status == 200 && metrics.body.contains("\ndirvol_"), "{metrics:?}");
    let create = "POST /VolumeDriver.Create HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(create).status, 404);
    assert_eq!(serve.call("VolumeDriver.Create", r#"{"Name":"a"}"#), done());
    serve.stop();
    assert!(socket.exists());
}

/// The address of the metrics, as the log has it.
fn metrics_address(serve: &Serve) -> SocketAddr {
    let log = serve.log();
    let line = log.lines().find(|line| line.contains("serving metrics")).unwrap();
    let (_, url) = line.split_once("http://").unwrap();
    url.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn a_name_that_says_nothing_is_refused_among_several_sockets() {
    let setup = Setup::new();
    let socket = setup.socket();
    let other = setup.path("other.sock");
    let addresses = [socket.to_str().unwrap(), other.to_str().unwrap()];
    let mut command = activated(&setup, &addresses, "plugin:other");
    setup.log_to(&mut command);
    let mut child = command.spawn().unwrap();
    wait_for_socket(&setup);
    let asked = eventually("it listens", || UnixStream::connect(&socket).ok());
    let status = eventually("it ends", || child.try_wait().unwrap());
    drop(asked);
    let log = fs::read_to_string(setup.path("log")).unwrap();
    let why = "dirvol: the inherited socket: \"other\" is not a name of one of several: \
               FileDescriptorName=plugin is the engines' socket, and \
               FileDescriptorName=metrics is for /metrics\n";
    assert_eq!(status.code(), Some(1));
    assert!(log.ends_with(why), "{log}");
}

#[test]
fn a_socket_for_metrics_alone_leaves_the_engines_one_to_the_driver() {
    let setup = Setup::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let mut command = handed_over(&setup.command(), tcp.into(), "1", "$$");
    command.env("LISTEN_FDNAMES", "metrics");
    fs::create_dir(setup.root()).unwrap();
    let serve = setup.start_with(command);
    assert_eq!(metrics_address(&serve), address);
    serve.stop();
    assert!(!setup.socket().exists());
    let unix = UnixListener::bind(setup.path("other.sock")).unwrap();
    let mut command = handed_over(&setup.command(), unix.into(), "1", "$$");
    command.env("LISTEN_FDNAMES", "metrics");
    let ended = run(&mut command);
    let why =
        "the inherited socket: it must be a TCP socket, to serve metrics on: invalid argument";
    assert_eq!(ended, failure(why));
}
