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
    table_with_numbers(heads, &[], rows)
}

/// As [`table`]; the columns with these heads hold numbers, and end at their right.
pub fn table_with_numbers<const N: usize>(
    heads: [&str; N],
    numbers: &[&str],
    rows: &[[String; N]],
) -> String {
    let rows: Vec<&[String]> = rows.iter().map(<[String; N]>::as_slice).collect();
    lay_out(&heads, numbers, &rows)
}

fn lay_out(heads: &[&str], numbers: &[&str], rows: &[&[String]]) -> String {
    let cells: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(*row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [cells.as_slice()].iter().chain(rows) {
        let mut line = String::new();
        for ((&width, cell), head) in widths.iter().zip(*row).zip(heads) {
            let cell = harmless(cell);
            line += &match numbers.contains(head) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// How wide a full bar is.
const BAR: u128 = 10;

/// Draws how much of `all`, which is not 0, `part` is.
pub fn bar(part: u64, all: u64) -> String {
    let full = (u128::from(part) * BAR / u128::from(all)).min(BAR);
    format!("[{:.<10}]", "#".repeat(usize::try_from(full).unwrap_or(0)))
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

    #[test]
    fn numbers_end_at_the_right_of_their_column() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned);
        let rows = [row(["1", "a"]), row(["1023", "b"])];
        let expected = "  AT  B\n   1  a\n1023  b\n";
        assert_eq!(table_with_numbers(["AT", "B"], &["AT"], &rows), expected);
    }

    #[test]
    fn a_bar_is_full_when_all_is_there_or_more() {
        let cases = [
            (0, "[..........]"),
            (1, "[..........]"),
            (10, "[#.........]"),
            (99, "[#########.]"),
            (100, "[##########]"),
            (u64::MAX, "[##########]"),
        ];
        for (part, text) in cases {
            assert_eq!(bar(part, 100), text);
        }
    }
}
