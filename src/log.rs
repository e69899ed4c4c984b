//! Where the log goes: one line an event, failures to stderr and the rest to
//! stdout. dockerd logs a managed plugin's stdout as information and its stderr
//! as errors (moby `plugin/manager_linux.go`, makeLoggerStreams).

use std::io;

use tracing::Level;
use tracing_subscriber::fmt::writer::MakeWriterExt;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// Starts logging. Call it once.
pub fn start(level: Level, format: Format) {
    let writer = io::stderr.with_max_level(Level::WARN).or_else(io::stdout);
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer);
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}
