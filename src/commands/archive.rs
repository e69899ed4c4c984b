//! `dirvol import NAME FILE|DIR|-`, `dirvol export NAME FILE|-`

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::change::options;
use super::output::show;
use super::{Failure, ask, find, note};
use crate::api::{self, LEFT_OUT, REQUEST};
use crate::cli::client::{Export, Import};
use crate::client::stream::{Make, Upload};
use crate::store::{self, NewFile, Packing};
use crate::volume::size::about;

/// How often a person is told how far it is.
const TELL: Duration = Duration::from_millis(200);

/// Makes a volume of an archive or of a directory.
///
/// # Errors
/// An option makes no sense, the archive cannot be read, the driver cannot be reached,
/// or it refuses.
pub fn import(socket: Option<PathBuf>, args: Import) -> Result<(), Failure> {
    let request = api::Import { name: args.name, opts: options("--opt", &args.opt)? };
    let make = source(&args.from)?;
    let (client, format) = ask(socket, args.ask)?;
    let imported = client.send("Dirvol.Import", REQUEST, &request, make);
    clear();
    let imported: api::Imported = imported?;
    if let Some(left_out) = &imported.left_out {
        note(&format!("volume {}: left out: {left_out}", imported.name));
    }
    show(format, &imported, |imported| {
        let (name, files, bytes) = (&imported.name, imported.files, about(imported.bytes));
        format!("{name}: {files} files, {bytes} bytes\n")
    })
}

/// Opens what is to be imported: whether it can be is told before the driver is asked.
fn source(from: &Path) -> Result<Make, Failure> {
    let shown = from.display().to_string();
    let at = |error: &dyn std::fmt::Display| Failure::Failed(format!("{shown}: {error}"));
    if from == Path::new("-") {
        if io::stdin().is_terminal() {
            let why = "an archive is not typed: give a file, or pipe it in";
            return Err(Failure::Usage(why.into()));
        }
        return Ok(Box::new(|to| copy(&mut io::stdin().lock(), to, None, "standard input")));
    }
    let mut file = File::open(from).map_err(|error| at(&error))?;
    let metadata = file.metadata().map_err(|error| at(&error))?;
    if metadata.is_dir() {
        let packing = Packing::open(from).map_err(|error| at(&error))?;
        return Ok(Box::new(move |to| {
            let mut told = Progress::new(None);
            let mut to = Counted { to, told: &mut told, shown: &shown };
            // A broken pipe stays one: the driver's own answer says more.
            let kept = |error: store::Error| io::Error::new(error.source.kind(), error);
            let packed = packing.write(&mut to, false).map_err(kept)?;
            if !packed.left_out.is_empty() {
                note(&format!("{shown}: left out: {}", packed.left_out));
            }
            Ok(())
        }));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok(Box::new(move |to| copy(&mut file, to, size, &shown)))
}

fn copy(from: &mut dyn Read, to: &mut Upload, size: Option<u64>, shown: &str) -> io::Result<()> {
    let mut told = Progress::new(size);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(io::Error::other(format!("{shown}: {error}"))),
        };
        to.write_all(&buffer[..len])?;
        told.add(len);
    }
}

/// Writes a volume as an archive.
///
/// # Errors
/// It cannot be written, the driver cannot be reached, or it refuses.
pub fn export(socket: Option<PathBuf>, args: Export) -> Result<(), Failure> {
    let request = api::Export { name: args.name, live: args.live };
    let shown = args.to.display().to_string();
    let at = |error: &dyn std::fmt::Display| Failure::Failed(format!("{shown}: {error}"));
    let to_stdout = args.to == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        let why = "an archive is not written to a terminal: give a file, or pipe it on";
        return Err(Failure::Usage(why.into()));
    }
    let client = find(args.socket.or(socket))?;
    let mut told = Progress::new(None);
    let left_out = if to_stdout {
        let mut out = io::stdout().lock();
        let mut to = Counted { to: &mut out, told: &mut told, shown: "standard output" };
        let received = client.receive("Dirvol.Export", &request, LEFT_OUT, &mut to);
        clear();
        received?
    } else {
        let mut file = NewFile::create(&args.to).map_err(|error| at(&error))?;
        let mut to = Counted { to: &mut file, told: &mut told, shown: &shown };
        let received = client.receive("Dirvol.Export", &request, LEFT_OUT, &mut to);
        clear();
        let received = received?;
        file.keep().map_err(|error| at(&error))?;
        received
    };
    if let Some(left_out) = left_out {
        note(&format!("volume {}: left out: {left_out}", request.name));
    }
    Ok(())
}

/// Tells a person at a terminal how far it is.
struct Progress {
    size: Option<u64>,
    done: u64,
    last: Option<Instant>,
}

impl Progress {
    fn new(size: Option<u64>) -> Self {
        Self { size, done: 0, last: io::stderr().is_terminal().then(Instant::now) }
    }

    fn add(&mut self, len: usize) {
        self.done += len as u64;
        let Some(last) = self.last.filter(|last| last.elapsed() >= TELL) else { return };
        self.last = last.checked_add(last.elapsed());
        let of = self
            .size
            .map(|size| format!(" of {}", about(size)))
            .unwrap_or_else(|| " so far".into());
        // Ignoring: it is for the eye alone.
        let _unseen = write!(io::stderr(), "\r{}{of}\x1b[K", about(self.done));
    }
}

/// Takes the last word on how far it is away again.
fn clear() {
    if io::stderr().is_terminal() {
        // Ignoring, as above.
        let _unseen = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Passes on what is written, and counts it.
struct Counted<'a, W: Write> {
    to: &'a mut W,
    told: &'a mut Progress,
    /// What that is, for errors.
    shown: &'a str,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        let len = written.map_err(|error| named(&error, self.shown))?;
        self.told.add(len);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|error| named(&error, self.shown))
    }
}

/// The same error, and what it is about.
fn named(error: &io::Error, shown: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{shown}: {error}"))
}
