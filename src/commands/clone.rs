//! `dirvol clone SRC DST`

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::change::options;
use super::output::{bar, show};
use super::{Failure, ask, note};
use crate::api;
use crate::cli::client::Clone;
use crate::client::Client;
use crate::volume::size::about;

/// How often it is shown how far a copy has come.
const SHOW_EVERY: Duration = Duration::from_millis(500);

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
    let counted = format!("{} files, {} bytes", progress.files, about(progress.bytes));
    match progress.of_bytes.filter(|&all| all > 0) {
        None => counted,
        Some(all) => {
            format!("{} {counted} of {}", bar(progress.bytes, all), about(all))
        }
    }
}

fn told(cloned: &api::Cloned) -> String {
    let (name, from) = (&cloned.name, &cloned.from);
    match (&cloned.method, cloned.files, cloned.bytes) {
        (None, ..) => format!("{name}: it was there already, made as a copy of {from}\n"),
        (Some(method), Some(files), Some(bytes)) => {
            format!("{name}: a copy of {from} by {method}, {files} files, {} bytes\n", about(bytes))
        }
        (Some(method), ..) => format!("{name}: a copy of {from} by {method}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        let progress = |of_bytes| api::Progress { copying: true, files: 7, bytes: 512, of_bytes };
        assert_eq!(line(&progress(None)), "7 files, 512 bytes");
        let half = "[#####.....] 7 files, 512 bytes of 1.0K";
        assert_eq!(line(&progress(Some(1024))), half);
        let more = "[##########] 7 files, 512 bytes of 256";
        assert_eq!(line(&progress(Some(256))), more);
    }
}
