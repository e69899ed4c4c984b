//! The commands that ask a driver that runs.

use std::path::PathBuf;

use super::Directories;
use clap::{Args, Subcommand, ValueEnum};

/// How to print what the driver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: one line of JSON
    Json,
}

/// Which driver to ask, and how to print what it says.
#[derive(Debug, Args)]
pub struct Ask {
    /// The driver's socket, as before the command
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// How to print the answer
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
}

/// What a list is in the order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// From A to z
    Name,
    /// The fullest first
    Used,
    /// The oldest first
    Age,
}

/// The arguments of `dirvol ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// In which order
    #[arg(long, value_name = "BY", value_enum, default_value = "name")]
    pub sort: Sort,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol du`.
#[derive(Debug, Args)]
pub struct Du {
    /// The volumes; without any, all of them
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol trash ls`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol inspect` and `dirvol holders`.
#[derive(Debug, Args)]
pub struct One {
    /// The volume
    #[arg(value_name = "NAME")]
    pub name: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The volume
    #[arg(value_name = "NAME")]
    pub name: String,

    /// An option of the volume, such as size=10G; may be repeated
    #[arg(short, long, value_name = "K=V")]
    pub opt: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol clone`.
#[derive(Debug, Args)]
pub struct Clone {
    /// The volume to copy
    #[arg(value_name = "SRC")]
    pub from: String,

    /// The volume to make
    #[arg(value_name = "DST")]
    pub name: String,

    /// An option of the new volume, instead of the other one's; may be repeated
    #[arg(short, long, value_name = "K=V")]
    pub opt: Vec<String>,

    /// Copy also what is in use; files that are being written may come out torn
    #[arg(long)]
    pub live: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// The volumes
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol release`.
#[derive(Debug, Args)]
pub struct Release {
    /// The node, which is off
    #[arg(long, value_name = "NAME")]
    pub node: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The volume
    #[arg(value_name = "NAME")]
    pub name: String,

    /// What to set: retain, protect, size, inodes, uid, gid or mode
    #[arg(value_name = "K=V", required = true)]
    pub opts: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// For how long nobody must have used a volume; 0 for those that nobody uses now
    #[arg(long, value_name = "DUR", default_value = "7d")]
    pub unused_for: String,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Ask no engine: there is none whose stopped containers need a volume
    #[arg(long)]
    pub no_engine: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// What stands below the help of `dirvol doctor`.
pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  dirvol doctor                       what 'dirvol serve' without flags would serve
  dirvol doctor --root /srv/volumes   another root
  dirvol doctor --format json         for programs

Exit codes: 0 nothing is wrong, 1 something is, 2 it was asked for wrongly.";

/// The arguments of `dirvol doctor`: those of the driver that is looked at.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Those of the driver
    #[command(flatten)]
    pub directories: Directories,

    /// The driver's socket; else $DIRVOL_SOCKET, or /run/docker/plugins/dirvol.sock
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// How to print what was found
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,

    /// Where to look for units of systemd instead; for tests
    #[arg(long, value_name = "DIR", hide = true)]
    pub unit_dir: Vec<PathBuf>,
}

/// The arguments of `dirvol trash`.
#[derive(Debug, Args)]
pub struct Trash {
    /// What to do.
    #[command(subcommand)]
    pub command: TrashCommand,
}

/// The commands of `dirvol trash`.
#[derive(Debug, Subcommand)]
pub enum TrashCommand {
    /// List the removed volumes that can be restored
    Ls(List),
    /// Make a removed volume a volume again
    ///
    /// It comes back whole, with its bytes, owner and options. Labels are the engine's
    /// own, and went with its `volume rm`; the command that brings them back is printed.
    Restore(Restore),
    /// Delete removed volumes for good; without arguments, those whose time is up
    ///
    /// A volume that somebody still has mounted stays. Space is freed in the background.
    Purge(Purge),
}

/// The arguments of `dirvol trash restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The entry, as `trash ls` names it; or its volume's name, if that has just one
    #[arg(value_name = "ENTRY")]
    pub entry: String,

    /// What to call the volume, where its own name is taken
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol trash purge`.
#[derive(Debug, Args)]
pub struct Purge {
    /// The entry, as `trash ls` names it; or its volume's name, if that has just one
    #[arg(value_name = "ENTRY", conflicts_with_all = ["expired", "all"])]
    pub entry: Option<String>,

    /// Those whose time is up
    #[arg(long, conflicts_with = "all")]
    pub expired: bool,

    /// All of them
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol call`.
#[derive(Debug, Args)]
pub struct Call {
    /// The method, such as VolumeDriver.Get
    #[arg(value_name = "METHOD")]
    pub method: String,

    /// What to send
    #[arg(value_name = "JSON", default_value = "{}")]
    pub body: String,

    /// The driver's socket, as before the command
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// The arguments of `dirvol completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// The arguments of `dirvol import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The volume, which must be new
    #[arg(value_name = "NAME")]
    pub name: String,

    /// A tar archive, - for standard input, or a directory
    #[arg(value_name = "FILE|DIR|-")]
    pub from: PathBuf,

    /// Move the directory into the root instead of copying it: a rename, on its file system
    #[arg(long = "move")]
    pub move_in: bool,

    /// An option of the volume, such as size=10G; may be repeated
    #[arg(short, long, value_name = "K=V")]
    pub opt: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// The arguments of `dirvol export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The volume
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Where to write the archive; - for standard output
    #[arg(value_name = "FILE|-")]
    pub to: PathBuf,

    /// Also while somebody uses it, although what is written meanwhile may be torn
    #[arg(long)]
    pub live: bool,

    /// The driver's socket, as before the command
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}
