//! The program `dirvol`: reads the command line, runs the command, and says how
//! it ended. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use dirvol::cli::{Cli, Command};
use dirvol::commands::{self, Failure};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => commands::serve(*args),
        Command::Init(args) => commands::init(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => {
            eprintln!("dirvol: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("dirvol: {why}");
            ExitCode::FAILURE
        }
    }
}
