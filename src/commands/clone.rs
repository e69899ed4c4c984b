//! `dirvol clone SRC DST`

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::change::options;
use super::output::show;
use super::{Failure, ask, note};
use crate::api;
use crate::cli::client::Clone;
use crate::client::Client;

/// How often it is shown how far a copy has come.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// How many characters a whole bar has.
const BAR: usize = 30;

/// Creates a volume as a copy of another one.
///
/// # Errors
/// An option makes no sense, the driver cannot be reached, or it refuses.
pub fn clone(socket: Option<PathBuf>, args: Clone) -> Result<(), Failure> {
    let Clone { from, name, live, .. } = args;
    let request = api::Clone { name, from, opts: options("--opt", &args.opt)?, live };
    let (client, format) = ask(socket, args.ask)?;
    let client = Arc::new(client);
    let shown = io::stderr().is_terminal().then(|| Shown::of(&client, &request.name));
    let answer = client.ask("Dirvol.Clone", &request);
    if let Some(shown) = shown {
        shown.end();
    }
    let cloned: api::Cloned = answer?;
    show(format, &cloned, told)?;
    for skipped in &cloned.skipped {
        note(&format!("not copied: {skipped}"));
    }
    match cloned.more_skipped {
        0 => {}
        more => note(&format!("not copied: {more} more")),
    }
    Ok(())
}

/// A thread that shows how far a copy has come.
struct Shown {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Shown {
    /// Begins to show it of the copy `name`.
    fn of(client: &Arc<Client>, name: &str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (client, name, told) = (Arc::clone(client), name.to_owned(), Arc::clone(&ended));
        let show = move || show_progress(&client, name, &told);
        Self { ended, thread: thread::spawn(Box::new(show) as Box<dyn FnOnce() + Send>) }
    }

    /// Takes it away, for the copy has ended.
    fn end(self) {
        self.ended.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // Ignoring: it has told of its panic itself.
        let _panicked = self.thread.join();
    }
}

/// Shows how far a copy has come, until it has ended.
fn show_progress(client: &Client, name: String, ended: &AtomicBool) {
    let mut shown = false;
    let request = api::Named { name };
    loop {
        thread::park_timeout(SHOW_EVERY);
        if ended.load(Ordering::Acquire) {
            break;
        }
        // The copy's own answer says what is wrong, if anything is.
        let Ok(progress) = client.ask::<api::Progress>("Dirvol.Progress", &request) else { break };
        if progress.copying {
            shown = true;
            // Ignoring: it is for a person who watches.
            let _unseen = write!(io::stderr(), "\r\x1b[K{}", line(&progress));
        }
    }
    if shown {
        let _unseen = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Returns how far a copy has come; as a bar, where it is known how much there is.
fn line(progress: &api::Progress) -> String {
    let counted = format!("{} files, {}", progress.files, size(progress.bytes));
    match progress.of_bytes.filter(|&all| all > 0) {
        None => counted,
        Some(all) => {
            let done = progress.bytes.min(all);
            let filled = done.saturating_mul(BAR as u64) / all;
            let bar = "#".repeat(usize::try_from(filled).unwrap_or(0));
            format!("[{bar:-<BAR$}] {counted} of {}", size(all))
        }
    }
}

fn told(cloned: &api::Cloned) -> String {
    let (name, from) = (&cloned.name, &cloned.from);
    match (&cloned.method, cloned.files, cloned.bytes) {
        (None, ..) => format!("{name}: it was there already, made as a copy of {from}\n"),
        (Some(method), Some(files), Some(bytes)) => {
            format!("{name}: a copy of {from} by {method}, {files} files, {}\n", size(bytes))
        }
        (Some(method), ..) => format!("{name}: a copy of {from} by {method}\n"),
    }
}

/// Writes a number of bytes for people: at most four digits, and a unit.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * unit) >= 1024 {
        unit += 1;
    }
    let whole = bytes >> (10 * unit);
    let tenths = (bytes >> (10 * unit.saturating_sub(1)) & 1023) * 10 / 1024;
    match (unit, whole) {
        (1.., 0..10) => format!("{whole}.{tenths} {}", UNITS[unit]),
        _ => format!("{whole} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_that_keeps_it_short() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 10, "10 KiB"),
            (5 << 30 | 512 << 20, "5.5 GiB"),
            (2000 << 40, "2000 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        let progress = |of_bytes| api::Progress { copying: true, files: 7, bytes: 512, of_bytes };
        assert_eq!(line(&progress(None)), "7 files, 512 B");
        let half = "[###############---------------] 7 files, 512 B of 1.0 KiB";
        assert_eq!(line(&progress(Some(1024))), half);
        let more = "[##############################] 7 files, 512 B of 256 B";
        assert_eq!(line(&progress(Some(256))), more);
    }
}
