//! The commands, one file for each kind.

mod adopt;
mod archive;
mod call;
mod change;
mod clone;
mod doctor;
mod du;
mod generate;
mod init;
mod ls;
mod output;
mod prune;
mod serve;
mod systemd;
mod trash;

use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::client::{Ask, Format};
use crate::cli::{Cli, Command};
use crate::client::{self, Client};

/// Why a command did not do what was asked, in one line.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for in a way that makes no sense: exit code 2.
    Usage(String),
    /// It was tried, and failed: exit code 1.
    Failed(String),
    /// The driver could not be reached: exit code 3.
    Unreachable(String),
}

impl Failure {
    /// The failure of something that was tried for many: all but the last are
    /// told here.
    fn of_many(mut failures: Vec<Self>) -> Result<(), Self> {
        let Some(last) = failures.pop() else { return Ok(()) };
        failures.iter().for_each(Self::tell);
        Err(last)
    }

    /// Tells why, on standard error.
    pub fn tell(&self) {
        match self {
            Self::Usage(why) | Self::Failed(why) | Self::Unreachable(why) => note(why),
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Unreachable(why) => Self::Unreachable(why),
            client::Error::Failed(why) => Self::Failed(why),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// It was not done.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let socket = cli.socket;
    let unused = match &cli.command {
        Command::Serve(_) => Some("give it after 'serve'"),
        Command::Init(_) | Command::Completions(_) | Command::Man => Some("leave it out"),
        _ => None,
    };
    if let (Some(cure), Some(_)) = (unused, &socket) {
        return Err(Failure::Usage(format!("--socket says which driver to ask: {cure}")));
    }
    match cli.command {
        Command::Serve(args) => serve::serve(*args),
        Command::Init(args) => init::init(&args),
        Command::Ls(args) => ls::ls(socket, args),
        Command::Inspect(args) => ls::inspect(socket, args),
        Command::Create(args) => change::create(socket, args),
        Command::Clone(args) => clone::clone(socket, args),
        Command::Rm(args) => change::rm(socket, args),
        Command::Holders(args) => ls::holders(socket, args),
        Command::Du(args) => du::du(socket, args),
        Command::Release(args) => change::release(socket, args),
        Command::Set(args) => change::set(socket, args),
        Command::Import(args) if args.move_in => adopt::adopt(socket, args),
        Command::Import(args) => archive::import(socket, args),
        Command::Export(args) => archive::export(socket, args),
        Command::Prune(args) => prune::prune(socket, args),
        Command::Doctor(args) => doctor::doctor(socket, args),
        Command::Trash(args) => trash::trash(socket, args.command),
        Command::Call(args) => call::call(socket, args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man => generate::man(),
    }
}

/// Finds the driver to ask.
fn ask(before: Option<PathBuf>, args: Ask) -> Result<(Client, Format), Failure> {
    find(args.socket.or(before)).map(|client| (client, args.format))
}

fn find(socket: Option<PathBuf>) -> Result<Client, Failure> {
    let (client, told) = Client::find(socket)?;
    if let Some(told) = told {
        note(&told);
    }
    Ok(client)
}

/// Tells something beside the answer.
fn note(what: &str) {
    // Ignoring: there is nowhere left to say that it could not be said.
    let _untold = writeln!(io::stderr(), "dirvol: {}", output::harmless(what));
}
