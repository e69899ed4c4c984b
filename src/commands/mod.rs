//! The commands, one file each.

mod init;
mod serve;

pub use init::init;
pub use serve::serve;

/// Why a command did not do what was asked, in one line.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for in a way that makes no sense: exit code 2.
    Usage(String),
    /// It was tried, and failed: exit code 1.
    Failed(String),
}
