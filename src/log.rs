//! Where the log goes: one line an event, failures to stderr and the rest to
//! stdout. dockerd logs a managed plugin's stdout as information and its stderr
//! as errors (moby `plugin/manager_linux.go`, makeLoggerStreams).
//!
//! A log that cannot be written, on a full disk or in a pipe that nobody reads,
//! must neither stop the driver nor end it. So lines go through a bounded queue
//! to a thread of their own; what does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait to be written.
const QUEUE: usize = 1024;

/// How long the end of the process waits for the lines that still wait.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

static QUEUED: OnceLock<SyncSender<Line>> = OnceLock::new();

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

enum Line {
    Out(Vec<u8>),
    Err(Vec<u8>),
    /// Tells when everything before it was written.
    Flush(SyncSender<()>),
}

/// Starts logging. Call it once.
///
/// # Errors
/// No thread is to be had.
pub fn start(level: Level, format: Format) -> io::Result<()> {
    let (sender, lines) = sync_channel(QUEUE);
    let write: Box<dyn FnOnce() + Send> = Box::new(move || write_all(&lines));
    thread::Builder::new().name("log".into()).spawn(write)?;
    let _called_once = QUEUED.set(sender.clone());
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false)
        .with_writer(Queue { sender });
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Waits until what was logged is written, but not for ever.
pub fn flush() {
    let (done, written) = sync_channel(1);
    if let Some(sender) = QUEUED.get()
        && sender.try_send(Line::Flush(done)).is_ok()
    {
        // Ignoring: a log that nobody reads holds up no exit.
        let _late = written.recv_timeout(FLUSH_LIMIT);
    }
}

/// Returns how many lines were dropped since the start.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn write_all(lines: &Receiver<Line>) {
    let mut told = 0;
    // Ignoring every error of writing: there is no place left to tell it.
    for line in lines {
        match line {
            Line::Out(bytes) => drop(io::stdout().write_all(&bytes)),
            Line::Err(bytes) => drop(io::stderr().write_all(&bytes)),
            Line::Flush(done) => drop(done.try_send(())),
        }
        let lost = dropped() - told;
        if lost > 0 {
            told += lost;
            drop(writeln!(io::stderr(), "{lost} lines of log were dropped: nobody read them"));
        }
    }
}

struct Queue {
    sender: SyncSender<Line>,
}

/// The writer of one line.
struct OneLine<'a> {
    queue: &'a Queue,
    line: fn(Vec<u8>) -> Line,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine { queue: self, line: Line::Out }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let line = if *event.level() <= Level::WARN { Line::Err } else { Line::Out };
        OneLine { queue: self, line }
    }
}

impl Write for OneLine<'_> {
    /// Takes a whole line: the subscriber writes an event at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.sender.try_send((self.line)(bytes.to_vec()))
        {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
