//! The tables of `docs/budgets.md`, which are where the ceilings are.

use std::fs;

use crate::harness::project;

/// Compares what was measured with the table below `heading`, whose rows are
/// `what | now | ceiling | reason`; says what is over it. Printed, a ceiling stays, or
/// is so many per cent `above` what was measured.
pub fn over(heading: &str, above: Option<u64>, measured: &[(&str, u64)]) -> Vec<String> {
    let rows = rows(heading, measured.iter().map(|(what, _)| *what));
    let rows = || rows.iter().zip(measured);
    print(
        heading,
        rows().map(|(row, (_, now))| {
            let above = above.map(|percent| (now * (100 + percent)).div_ceil(100_000) * 1000);
            let ceiling = above.map_or_else(|| row[2].clone(), grouped);
            [row[0].clone(), grouped(*now), ceiling, row[3].clone()].join(" | ")
        }),
    );
    let over = rows().filter(|(row, (_, now))| *now > row[2].replace(',', "").parse().unwrap());
    over.map(|(row, (what, now))| format!("{what}: {} of {}", grouped(*now), row[2])).collect()
}

/// Compares what was measured with the table below `heading`, whose rows are
/// `what | this | reason`; says what is another.
pub fn others(heading: &str, measured: &[(&str, String)]) -> Vec<String> {
    let rows = rows(heading, measured.iter().map(|(what, _)| *what));
    let rows = || rows.iter().zip(measured);
    print(
        heading,
        rows().map(|(row, (_, now))| [row[0].clone(), now.clone(), row[2].clone()].join(" | ")),
    );
    let others = rows().filter(|(row, (_, now))| row[1] != *now);
    others.map(|(row, (what, now))| format!("{what}: {now}\n  and not: {}", row[1])).collect()
}

/// Fails with what was said of all tables of a test.
pub fn check(wrong: &[String]) {
    assert!(wrong.is_empty(), "not as docs/budgets.md has it:\n{}", wrong.join("\n"));
}

/// The cells of each row of the table below a heading. Each row is measured, and
/// nothing else is.
fn rows<'a>(heading: &str, measured: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let text = fs::read_to_string(project("docs/budgets.md")).unwrap();
    let lines = text.lines().skip_while(|line| *line != format!("## {heading}"));
    let table = lines.skip_while(|line| !line.starts_with('|')).skip(2);
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> =
        table.take_while(|line| line.starts_with('|')).map(cells).collect();
    let column: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(column, measured.collect::<Vec<_>>(), "{heading}");
    rows
}

fn print(heading: &str, rows: impl Iterator<Item = String>) {
    if std::env::var_os("BUDGETS_PRINT").is_some() {
        let rows: Vec<String> = rows.map(|row| format!("| {row} |")).collect();
        println!("\n## {heading}\n\n{}", rows.join("\n"));
    }
}

/// A number as it is read best: `3,500,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| str::from_utf8(group).unwrap()).collect::<Vec<_>>().join(",")
}
