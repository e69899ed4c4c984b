//! The program `dirvol`: reads the command line, runs the command, and says how
//! it ended. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use dirvol::cli::Cli;
use dirvol::commands::{self, Failure};

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        Cli::without_settings(&error.to_string()).unwrap_or_else(|| error.exit())
    });
    let Err(failure) = commands::run(cli) else { return ExitCode::SUCCESS };
    failure.tell();
    match failure {
        Failure::Failed(_) => ExitCode::FAILURE,
        Failure::Usage(_) => ExitCode::from(2),
        Failure::Unreachable(_) => ExitCode::from(3),
    }
}
