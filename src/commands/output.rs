//! What commands print.

use std::io::{self, Write};

use serde::Serialize;

use super::Failure;
use crate::cli::client::Format;

/// Prints `text` as it is. A reader that has gone, such as `head`, is no failure.
///
/// # Errors
/// It cannot be written.
pub fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints `answer` as one line of JSON, or what `table` makes of it.
///
/// # Errors
/// It cannot be written.
pub fn show<T: Serialize>(
    format: Format,
    answer: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Table => print(table(answer)),
        Format::Json => {
            let line = serde_json::to_string(answer).expect("an answer has only text and numbers");
            print(line + "\n")
        }
    }
}

/// Lays rows out below their heads, in columns two blanks apart.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let mut widths = heads.clone().map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [&heads].into_iter().chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line += &format!("{:width$}  ", harmless(cell));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Returns `text` without control characters: each would be an order to the
/// terminal, and a container chooses where it mounts a volume.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Returns what is known, or a dash.
pub fn known(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["a", "long enough", "1"]), row(["longer", "", "\u{1b}[31m"])];
        let expected =
            "A       SECOND       C\na       long enough  1\nlonger               ?[31m\n";
        assert_eq!(table(["A", "SECOND", "C"], &rows), expected);
        assert_eq!(table(["A"], &[]), "A\n");
    }
}
