//! The command line: what may be written, and the help that says so. What it
//! means is decided in [`crate::config`].

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub mod client;

/// What stands below the help of `dirvol` itself.
const AFTER: &str = "\
Exit codes: 0 done, 1 it failed, 2 it was asked for wrongly, 3 the driver could not be reached.

Without --socket, a driver is looked for at $DIRVOL_SOCKET, then at
/run/docker/plugins/dirvol.sock, then at /run/docker/plugins/*/dirvol.sock, which is
where a managed plugin has its socket.";

/// A volume driver for Docker, Podman and Swarm: volumes are ordinary
/// directories, treated as data that must not be lost.
#[derive(Debug, Parser)]
#[command(name = "dirvol", version, max_term_width = 100, after_help = AFTER)]
pub struct Cli {
    /// The socket of the driver that is asked
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Returns what the command line of a managed plugin says without its
    /// environment, or `None` for everybody else. A plugin that ends at its start
    /// cannot be enabled again before dockerd is restarted (measured on 20.10), so a
    /// setting that cannot be used must not end it.
    pub fn without_settings(why: &str) -> Option<Self> {
        if !std::env::args_os().any(|arg| arg == "--plugin") {
            return None;
        }
        let command = Self::command().mut_subcommand("serve", |serve| {
            serve.mut_args(|arg| arg.env(clap::builder::Resettable::Reset))
        });
        let mut cli = Self::from_arg_matches(&command.try_get_matches().ok()?).ok()?;
        let Command::Serve(serve) = &mut cli.command else { return None };
        // clap's messages have a head and hints below.
        let text = why.split("\n\nFor more information").next().unwrap_or(why);
        let words: Vec<&str> = text.trim_start_matches("error: ").split_whitespace().collect();
        serve.unusable = Some(words.join(" "));
        Some(cli)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the volumes of a root to container engines
    Serve(Box<Serve>),
    /// Make a directory a root for volumes
    Init(Init),
    /// List the volumes
    ///
    /// USED is what the kernel counts, without a look into the volume, and how much of the
    /// limit SIZE that is. Where it counts nothing, 'dirvol du' does.
    Ls(client::Ls),
    /// Show a volume as Docker sees it
    Inspect(client::One),
    /// Create a volume
    ///
    /// One that is there with the same options is success, and is left as it is. The options are
    /// size and inodes, its limits; uid, gid and mode, of its directory; retain, for how long the
    /// trash keeps it; protect=true, against its removal; from and live, the volume that it is a
    /// copy of; and path, a directory of the host that it is, where it is.
    Create(client::Create),
    /// Create a volume as a copy of another one
    ///
    /// It has the bytes of the other one, with owners, permissions, times and attributes,
    /// and its options, but for 'protect' and for those that are given. On btrfs it is a
    /// snapshot, on xfs the two share their bytes until one is written to, elsewhere the
    /// bytes are copied. It is there when it is whole.
    Clone(client::Clone),
    /// Remove volumes; they go to the trash
    ///
    /// Engines are not asked: a container that does not run loses its volume. 'docker
    /// volume rm' asks. One that was created with path is forgotten, and its directory stays.
    Rm(client::Rm),
    /// Count what volumes hold, the largest first
    ///
    /// The driver walks through each of them, as 'du' does: a file with several names counts
    /// once, and what is mounted below a volume is left out. USED is what is allocated, and
    /// LENGTH how long the files are, holes included.
    Du(client::Du),
    /// Show who has a volume mounted
    Holders(client::One),
    /// Change options of a volume: retain, protect, size, inodes, uid, gid, mode
    ///
    /// They hold at once, also while the volume is in use. A size of 0 takes the limit away.
    /// Owner, group and mode are those of the volume's directory; what lies in it stays
    /// as it is. Of a volume that was created with path, protect alone can be set.
    Set(client::Set),
    /// Free the volumes that a node held which is off for good
    ///
    /// Of a root that nodes share: a volume cannot be removed while a node holds it, and one
    /// that was switched off does so until it is back. A node that is alive is refused. One
    /// that was only cut off, and comes back with containers that run, holds its volumes anew.
    Release(client::Release),
    /// Make a volume of a tar archive, or of a directory
    ///
    /// All of it, or nothing: an archive that is cut off or cannot be used leaves no
    /// volume. Owners are numbers; owner, group and mode of the volume itself are those of
    /// the archive's './', unless an option states them. A leading '/' or './' of a path is
    /// taken off; nothing is written outside the volume. What is compressed goes through
    /// its own program, as in 'zcat FILE | dirvol import NAME -'. A directory is copied: its
    /// files stay where they are. With --move it becomes the volume's own by a rename, at
    /// once and as it is; it must lie on the root's file system.
    Import(client::Import),
    /// Write a volume as a tar archive
    ///
    /// Owners are numbers; times to the nanosecond, extended attributes, ACLs, hard links,
    /// holes, fifos and devices are kept, as a pax archive that GNU tar reads. Sockets and
    /// what is mounted below the volume are left out, and told. A volume that somebody uses
    /// is refused without --live. FILE gets its name when all of it is on the disk.
    Export(client::Export),
    /// Remove the volumes that nobody has used for long; they go to the trash
    ///
    /// Docker's own prune never touches a plugin's volumes. A volume stays that is
    /// protected, mounted, or needed by a container, also by one that does not run: every
    /// engine at $DOCKER_HOST, /run/docker.sock and /run/podman/podman.sock is asked. Where
    /// none can be, nothing is removed unless --no-engine says that there is none.
    Prune(client::Prune),
    /// Look for what is wrong on this host, and say what to do
    ///
    /// It looks at the root, its lock and its volumes, at sockets, permissions and space, at
    /// units of systemd, at the engines' own volumes and at SELinux. It changes nothing, and
    /// works with and without a driver that runs.
    #[command(after_long_help = client::DOCTOR_EXAMPLES)]
    Doctor(client::Doctor),
    /// Look after removed volumes
    Trash(client::Trash),
    /// Call a method of the protocol, and print the driver's answer as it is
    Call(client::Call),
    /// Print the completions for a shell
    Completions(client::Completions),
    /// Print the manual page
    Man,
}

/// The directories of a driver.
#[derive(Debug, Args)]
pub struct Directories {
    /// The directory that holds the volumes
    #[arg(long, value_name = "DIR", env = "DIRVOL_ROOT", default_value = "/var/lib/dirvol")]
    pub root: PathBuf,

    /// Where to remember which root was served; outside the root
    #[arg(
        long,
        value_name = "DIR",
        env = "DIRVOL_STATE_DIR",
        default_value = "/var/lib/dirvol-state"
    )]
    pub state_dir: PathBuf,
}

/// The flags of `dirvol serve`. Each has an environment variable, so that a
/// managed plugin can be set without arguments.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where the volumes are, and what is remembered of them
    #[command(flatten)]
    pub directories: Directories,

    /// The socket to listen on; its file name, without .sock, is the driver's name
    #[arg(
        long,
        value_name = "PATH",
        env = "DIRVOL_SOCKET",
        default_value = "/run/docker/plugins/dirvol.sock"
    )]
    pub socket: PathBuf,

    /// Whether to make an empty directory a root where none was served before
    #[arg(long, value_name = "WHEN", env = "DIRVOL_INIT", default_value = "auto")]
    #[arg(value_parser = ["auto", "never"])]
    pub init: String,

    /// Whether the root is this host's alone, or shared with others that serve it too
    #[arg(long, value_name = "SCOPE", env = "DIRVOL_SCOPE", default_value = "local")]
    #[arg(value_parser = ["local", "global"])]
    pub scope: String,

    /// The name of this node among those that share the root; else the machine's id is it
    #[arg(long, value_name = "NAME", env = "DIRVOL_NODE")]
    pub node: Option<String>,

    /// How long a removed volume stays in the trash; 0 keeps nothing
    #[arg(long, value_name = "DUR", env = "DIRVOL_TRASH_RETENTION", default_value = "24h")]
    pub trash_retention: String,

    /// A volume option for every volume that does not state it; may be repeated
    #[arg(long, value_name = "K=V", env = "DIRVOL_DEFAULT_OPT", value_delimiter = ',')]
    pub default_opt: Vec<String>,

    /// Volumes may be directories below this one, with the option path; may be repeated
    #[arg(long, value_name = "DIR", env = "DIRVOL_BIND_ROOT", value_delimiter = ',')]
    pub bind_root: Vec<String>,

    /// Serve the root with this id although another one was served last
    #[arg(long, value_name = "UUID", env = "DIRVOL_ACCEPT_ROOT")]
    pub accept_root: Option<String>,

    /// The least that is logged
    #[arg(long, value_name = "L", env = "DIRVOL_LOG_LEVEL", default_value = "info")]
    #[arg(value_parser = ["error", "warn", "info", "debug"])]
    pub log_level: String,

    /// How it is logged
    #[arg(long, value_name = "FORMAT", env = "DIRVOL_LOG_FORMAT", default_value = "text")]
    #[arg(value_parser = ["text", "json"])]
    pub log_format: String,

    /// Serve /metrics and /healthz on this address too: 9876 means 127.0.0.1:9876
    #[arg(long, value_name = "ADDR", env = "DIRVOL_METRICS_LISTEN")]
    pub metrics_listen: Option<String>,

    /// How many volumes have metrics of their own: the first ones by name
    #[arg(long, value_name = "N", env = "DIRVOL_METRICS_VOLUMES", default_value = "200")]
    pub metrics_volumes: String,

    /// End when nothing was asked for this long; the socket must be systemd's
    #[arg(long, value_name = "DUR", env = "DIRVOL_IDLE_EXIT")]
    pub idle_exit: Option<String>,

    /// This is a managed plugin: settings are variables, and cures are Docker's
    #[arg(long, hide = true)]
    pub plugin: bool,

    /// Why a variable could not be used; of a managed plugin.
    #[arg(skip)]
    pub unusable: Option<String>,

    /// Behave as the reference fixture that tests container engines; never for real data
    #[arg(long, env = "DIRVOL_TEST_FIXTURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub test_fixture: bool,

    /// Listen on this loopback address too; only with --test-fixture
    #[arg(long, value_name = "tcp://127.0.0.1:PORT", env = "DIRVOL_LISTEN")]
    pub listen: Option<String>,

    /// Announce --listen to engines by a .spec file in this directory
    #[arg(long, value_name = "DIR", env = "DIRVOL_SPEC_DIR")]
    pub spec_dir: Option<PathBuf>,
}

/// The arguments of `dirvol init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The directory: empty, or not there yet
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Whether it is for this host alone, or to be shared with others that serve it too
    #[arg(long, value_name = "SCOPE", default_value = "local")]
    #[arg(value_parser = ["local", "global"])]
    pub scope: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_serve_has_its_environment_variable() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let shown = serve.get_arguments().filter(|arg| !arg.is_hide_set());
        for arg in shown.filter(|arg| arg.get_id() != "help") {
            let name = arg.get_long().unwrap().to_uppercase().replace('-', "_");
            let variable = arg.get_env().unwrap_or_default().to_str().unwrap();
            assert_eq!(variable, format!("DIRVOL_{name}"));
        }
    }
}
