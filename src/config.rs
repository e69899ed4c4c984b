//! What the command line means: typed, checked, and without a trace of clap.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::Level;

use crate::cli;
use crate::log::Format;
use crate::store::{FileName, Init, Scope};
use crate::volume::VolumeName;
use crate::volume::options::{Fixture, Options};
use crate::volume::value;

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The root, absolute.
    pub root: PathBuf,
    /// The state directory, absolute, outside the root.
    pub state_dir: PathBuf,
    /// The socket, absolute.
    pub socket: PathBuf,
    /// Whether an empty directory becomes a root.
    pub init: Init,
    /// Whose volumes the root holds.
    pub scope: Scope,
    /// The name of this node, where others share the root.
    pub node: Option<FileName>,
    /// How long a removed volume is kept.
    pub retention: Duration,
    /// The options of a Create that does not state them.
    pub defaults: Options,
    /// The directories of the host below which volumes may lie.
    pub bind_roots: Vec<PathBuf>,
    /// The id of a root that is served although another one was served last.
    pub accept_root: Option<String>,
    /// Whether this is a managed plugin.
    pub plugin: bool,
    /// Why a setting of it cannot be used; nothing is served then.
    pub unusable: Option<String>,
    /// The least that is logged.
    pub log_level: Level,
    /// How it is logged.
    pub log_format: Format,
    /// Where to serve metrics besides the socket.
    pub metrics_listen: Option<SocketAddr>,
    /// How many volumes have metrics of their own.
    pub metrics_volumes: usize,
    /// After what time without a request to end.
    pub idle_exit: Option<Duration>,
    /// Whether to behave as the reference fixture.
    pub fixture: Fixture,
    /// Where to listen besides the socket: a loopback address.
    pub listen: Option<SocketAddr>,
    /// Where to announce that address.
    pub spec_dir: Option<PathBuf>,
}

impl Config {
    /// Checks what the command line says.
    ///
    /// # Errors
    /// One line that names the flag, what is wrong with it, and what to give.
    pub fn new(args: cli::Serve) -> Result<Self, String> {
        let root = absolute("--root", &args.directories.root)?;
        let state_dir = absolute("--state-dir", &args.directories.state_dir)?;
        if state_dir.starts_with(&root) || root.starts_with(&state_dir) {
            return Err(format!(
                "--state-dir {} and --root {} lie in one another: give them apart, for the state \
                 must be there when the root is not",
                state_dir.display(),
                root.display()
            ));
        }
        let bind_roots = bind_roots(&args.bind_root, &root, &state_dir)?;
        let node = match scope(&args.scope) {
            Scope::Local => None,
            Scope::Global if !bind_roots.is_empty() => {
                return Err("--bind-root allows directories of this host, and --scope global \
                            shares the volumes with others: leave one of them out"
                    .into());
            }
            Scope::Global => Some(node(args.node.as_deref())?),
        };
        let fixture = if args.test_fixture { Fixture::On } else { Fixture::Off };
        let listen = args.listen.as_deref().map(|url| listen(url, fixture)).transpose()?;
        if args.spec_dir.is_some() && listen.is_none() {
            return Err("--spec-dir announces --listen: give that too, or leave this out".into());
        }
        let retention = value::duration(&args.trash_retention)
            .map_err(|error| format!("--trash-retention: {error}"))?;
        Ok(Self {
            socket: absolute("--socket", &args.socket)?,
            init: if args.init == "never" { Init::Never } else { Init::Auto },
            scope: scope(&args.scope),
            node,
            retention,
            defaults: defaults(&args.default_opt)?,
            bind_roots,
            accept_root: args.accept_root.filter(|id| !id.is_empty()),
            plugin: args.plugin,
            unusable: args.unusable,
            log_level: match args.log_level.as_str() {
                "error" => Level::ERROR,
                "warn" => Level::WARN,
                "debug" => Level::DEBUG,
                _ => Level::INFO,
            },
            log_format: if args.log_format == "json" { Format::Json } else { Format::Text },
            metrics_listen: metrics_listen(args.metrics_listen.as_deref().unwrap_or_default())?,
            metrics_volumes: metrics_volumes(&args.metrics_volumes)?,
            idle_exit: idle_exit(args.idle_exit.as_deref().unwrap_or_default())?,
            fixture,
            listen,
            spec_dir: args.spec_dir.map(|dir| absolute("--spec-dir", &dir)).transpose()?,
            root,
            state_dir,
        })
    }
}

/// Reads a scope that clap has checked.
pub fn scope(word: &str) -> Scope {
    if word == "global" { Scope::Global } else { Scope::Local }
}

/// Returns the name of this node: what was given, or the machine's id. The name of the host
/// is none: it may be given to another machine.
fn node(given: Option<&str>) -> Result<FileName, String> {
    const MACHINE_ID: &str = "/etc/machine-id";
    let name = match given.filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string(MACHINE_ID).unwrap_or_default().trim().to_owned(),
    };
    if name.is_empty() {
        return Err(format!(
            "--scope global needs a name of this node that no other has, and {MACHINE_ID} has \
             none: give --node"
        ));
    }
    VolumeName::new(&name).map(|name| name.file().clone()).ok_or_else(|| {
        format!(
            "--node {name:?}: use letters, digits, '_', '.' and '-', beginning with a letter \
                 or digit"
        )
    })
}

/// Returns the absolute form of a path that was given for `flag`.
///
/// # Errors
/// It has `..` in it, or there is no working directory.
pub fn absolute(flag: &str, path: &Path) -> Result<PathBuf, String> {
    let plain = |path: PathBuf| -> PathBuf { path.components().collect() };
    match std::path::absolute(path) {
        // Containers' paths begin with the root's, and an engine may compare
        // them as text (moby `plugin/v2/plugin.go`, ScopedPath).
        Ok(path) if path.components().any(|part| part == std::path::Component::ParentDir) => {
            Err(format!("{flag} {}: give a path without '..'", path.display()))
        }
        Ok(path) => Ok(plain(path)),
        Err(error) => Err(format!("{flag} {}: {error}", path.display())),
    }
}

/// Reads the directories below which volumes may lie. They need not be there yet.
fn bind_roots(stated: &[String], root: &Path, state_dir: &Path) -> Result<Vec<PathBuf>, String> {
    let stated = stated.iter().filter(|path| !path.is_empty()).map(Path::new);
    let read = stated.map(|path| {
        if path.is_relative() {
            return Err(format!("--bind-root {}: give an absolute path", path.display()));
        }
        let path = absolute("--bind-root", path)?;
        let own = [("--root", root), ("--state-dir", state_dir)];
        match own.iter().find(|(_, own)| own.starts_with(&path) || path.starts_with(own)) {
            None => Ok(path),
            Some((flag, own)) => Err(format!(
                "--bind-root {} and {flag} {} lie in one another: give them apart, for volumes must \
                 not lie in what is the driver's own",
                path.display(),
                own.display()
            )),
        }
    });
    read.collect()
}

fn listen(url: &str, fixture: Fixture) -> Result<SocketAddr, String> {
    let address = url.strip_prefix("tcp://").and_then(|address| address.parse().ok());
    let address: SocketAddr = address.ok_or_else(|| {
        format!("--listen {url:?}: give tcp://ADDRESS:PORT, as tcp://127.0.0.1:0")
    })?;
    if !address.ip().is_loopback() {
        return Err(format!("--listen {url}: TCP has no access control: give a loopback address"));
    }
    match fixture {
        Fixture::On => Ok(address),
        Fixture::Off => Err(format!(
            "--listen {url}: TCP has no access control, so only --test-fixture may use it"
        )),
    }
}

/// Reads where to serve metrics; nothing is nowhere. A port alone is one of the
/// loopback address: whoever wants a network to read them says so.
fn metrics_listen(stated: &str) -> Result<Option<SocketAddr>, String> {
    if stated.is_empty() {
        return Ok(None);
    }
    let port = stated.strip_prefix(':').unwrap_or(stated).parse::<u16>();
    let address = match port {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => stated.parse(),
    };
    address.map(Some).map_err(|_| {
        format!("--metrics-listen {stated:?}: give PORT or ADDRESS:PORT, as 9876 or 0.0.0.0:9876")
    })
}

fn metrics_volumes(stated: &str) -> Result<usize, String> {
    stated.parse().map_err(|_| {
        format!("--metrics-volumes {stated:?}: give a number of volumes, as 200, or 0 for none")
    })
}

/// Reads after what time to end; nothing, as 0, is never.
fn idle_exit(stated: &str) -> Result<Option<Duration>, String> {
    if stated.is_empty() {
        return Ok(None);
    }
    let limit = value::duration(stated).map_err(|error| format!("--idle-exit: {error}"))?;
    Ok(Some(limit).filter(|limit| !limit.is_zero()))
}

fn defaults(stated: &[String]) -> Result<Options, String> {
    let pairs: Option<Vec<(&str, &str)>> =
        stated.iter().filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=')).collect();
    let pairs = pairs.ok_or_else(|| format!("--default-opt {}: give K=V", stated.join(",")))?;
    let options = Options::parse(pairs, Fixture::Off);
    let options = options.map_err(|error| format!("--default-opt: {error}"))?;
    match options.of_creation() {
        Some(key) => Err(format!(
            "--default-opt: option {key:?} says how one volume is made: give it at its creation"
        )),
        None => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(args: &str) -> Result<Config, String> {
        let args = ["dirvol", "serve"].into_iter().chain(args.split_whitespace());
        match Cli::try_parse_from(args).unwrap().command {
            Command::Serve(args) => Config::new(*args),
            _ => unreachable!("the arguments say serve"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let expected = Config {
            root: "/var/lib/dirvol".into(),
            state_dir: "/var/lib/dirvol-state".into(),
            socket: "/run/docker/plugins/dirvol.sock".into(),
            init: Init::Auto,
            scope: Scope::Local,
            node: None,
            retention: Duration::from_secs(86_400),
            defaults: Options::default(),
            bind_roots: Vec::new(),
            accept_root: None,
            plugin: false,
            unusable: None,
            log_level: Level::INFO,
            log_format: Format::Text,
            metrics_listen: None,
            metrics_volumes: 200,
            idle_exit: None,
            fixture: Fixture::Off,
            listen: None,
            spec_dir: None,
        };
        assert_eq!(config(""), Ok(expected));
    }

    #[test]
    fn a_flag_that_cannot_be_used_says_which_and_what_to_give() {
        let cases = [
            (
                "--root /a --state-dir /a/b",
                "--state-dir /a/b and --root /a lie in one another: give them apart, for the \
                 state must be there when the root is not",
            ),
            ("--root /a/../b", "--root /a/../b: give a path without '..'"),
            (
                "--trash-retention soon",
                "--trash-retention: \"soon\" is not a duration: give one such as 90m, 24h, 7d or 0",
            ),
            ("--default-opt mode", "--default-opt mode: give K=V"),
            (
                "--default-opt from=db",
                "--default-opt: option \"from\" says how one volume is made: give it at its creation",
            ),
            (
                "--listen 127.0.0.1:0 --test-fixture",
                "--listen \"127.0.0.1:0\": give tcp://ADDRESS:PORT, as tcp://127.0.0.1:0",
            ),
            (
                "--listen tcp://0.0.0.0:0 --test-fixture",
                "--listen tcp://0.0.0.0:0: TCP has no access control: give a loopback address",
            ),
            (
                "--listen tcp://127.0.0.1:0",
                "--listen tcp://127.0.0.1:0: TCP has no access control, so only --test-fixture \
                 may use it",
            ),
            (
                "--metrics-listen localhost:9876",
                "--metrics-listen \"localhost:9876\": give PORT or ADDRESS:PORT, as 9876 or \
                 0.0.0.0:9876",
            ),
            (
                "--metrics-listen 65536",
                "--metrics-listen \"65536\": give PORT or ADDRESS:PORT, as 9876 or 0.0.0.0:9876",
            ),
            (
                "--metrics-volumes all",
                "--metrics-volumes \"all\": give a number of volumes, as 200, or 0 for none",
            ),
            (
                "--idle-exit soon",
                "--idle-exit: \"soon\" is not a duration: give one such as 90m, 24h, 7d or 0",
            ),
            ("--spec-dir /s", "--spec-dir announces --listen: give that too, or leave this out"),
        ];
        for (args, why) in cases {
            assert_eq!(config(args), Err(why.to_owned()), "{args}");
        }
    }

    #[test]
    fn bind_roots_may_be_repeated_and_comma_separated_and_need_not_be_there() {
        for args in ["--bind-root /none/a/ --bind-root /b", "--bind-root /none/a,/b"] {
            let expected: [PathBuf; 2] = ["/none/a".into(), "/b".into()];
            assert_eq!(config(args).unwrap().bind_roots, expected, "{args}");
        }
        assert!(config("--bind-root=").unwrap().bind_roots.is_empty());
    }

    #[test]
    fn a_port_for_metrics_is_one_of_the_loopback_address() {
        let cases = [
            ("9876", "127.0.0.1:9876"),
            (":9876", "127.0.0.1:9876"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:9876", "0.0.0.0:9876"),
            ("[::1]:9876", "[::1]:9876"),
        ];
        for (stated, address) in cases {
            let listen = config(&format!("--metrics-listen {stated}")).unwrap().metrics_listen;
            assert_eq!(listen, Some(address.parse().unwrap()), "{stated}");
        }
        // As a managed plugin's setting that is not set.
        assert_eq!(config("--metrics-listen=").unwrap().metrics_listen, None);
    }

    #[test]
    fn without_a_time_there_is_no_idle_exit() {
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        for (stated, limit) in [("", None), ("0", None), ("0s", None), ("10m", minutes(10))] {
            assert_eq!(config(&format!("--idle-exit={stated}")).unwrap().idle_exit, limit);
        }
    }

    #[test]
    fn default_options_may_be_repeated_and_comma_separated() {
        let expected = Options { uid: Some(5), mode: Some(0o700), ..Options::default() };
        for args in ["--default-opt uid=5 --default-opt mode=0700", "--default-opt uid=5,mode=700"]
        {
            assert_eq!(config(args).unwrap().defaults, expected, "{args}");
        }
    }
}
