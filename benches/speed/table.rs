//! The tables, in Markdown, and where they go.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::disk;
use crate::engine;
use crate::harness::{project, tool};
use crate::http::Cell;
use crate::plot;

/// Everything that was measured.
pub struct Results {
    pub cells: Vec<Cell>,
    pub memory: Vec<(String, f64)>,
    pub disk: Vec<disk::Row>,
    pub idle: f64,
    pub burst: [f64; 3],
    pub engine: Vec<engine::Row>,
}

/// In the document, the tables are between these.
const MARKS: [&str; 2] = ["<!-- results: `make bench` writes these -->\n", "<!-- end -->\n"];

impl Results {
    pub fn cell(&self, work: &str, connections: usize, peer: &str) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| (cell.work, cell.connections, cell.peer) == (work, connections, peer))
    }

    fn p50_ratio(&self, work: &str, connections: usize, beside: &str) -> f64 {
        let of = |peer| self.cell(work, connections, peer).unwrap().shown.p50;
        of("dirvol") / of(beside)
    }

    fn memory_of(&self, start: &str) -> f64 {
        self.memory.iter().find(|(name, _)| name.starts_with(start)).unwrap().1
    }
}

/// Prints the tables, and writes them and the plot.
pub fn write(results: &Results, quick: bool) {
    let machine = said("uname", &["-n"]);
    let name = format!("{}-{machine}", said("date", &["-u", "+%Y-%m-%d"]));
    let tables = tables(results);
    println!("{tables}");
    let dir = project(if quick { "target/bench/results" } else { "benches/results" });
    fs::create_dir_all(&dir).unwrap();
    let page =
        format!("# {name}\n\n![The median answer, beside a raw socket]({name}.svg)\n\n{tables}");
    fs::write(dir.join(format!("{name}.md")), page).unwrap();
    fs::write(dir.join(format!("{name}.svg")), plot::draw(results)).unwrap();
    println!("in {}", dir.join(format!("{name}.md")).display());
    let document = project("docs/performance.md");
    let text = fs::read_to_string(&document).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let [begin, end] = MARKS;
    let picture =
        format!("![The median answer, beside a raw socket](../benches/results/{name}.svg)");
    let text = format!("{before}{begin}\n{picture}\n\n{tables}\n{end}{after}");
    // The document keeps the figures of a whole run.
    let document = if quick { project("target/bench/performance.md") } else { document };
    fs::write(&document, text).unwrap();
    println!("and in {}", document.display());
}

fn said(program: &str, args: &[&str]) -> String {
    match Command::new(program).args(args).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "not there".to_owned(),
    }
}

fn tables(results: &Results) -> String {
    [
        machine(),
        aims(results),
        requests(results),
        durable(results),
        starts(results),
        through_docker(results),
        memory(results),
    ]
    .join("\n")
}

fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches(['\t', ' ', ':']));
    let rclone = tool("rclone").arg("version").output();
    let rclone = rclone.map_or("none".to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("none").to_owned()
    });
    format!(
        "Measured on {date}, on {model} with {cores} processors, {kernel}, volumes on ext4 \
         on a loop device in {fs}; \
         {dockerd}, {rclone}, dirvol {version} at commit {commit}.\n",
        date = said("date", &["-u", "+%Y-%m-%d"]),
        cores = said("nproc", &[]),
        kernel = said("uname", &["-sr"]),
        fs = said("stat", &["-f", "-c", "%T", project("target").to_str().unwrap()]),
        dockerd = said("dockerd", &["--version"]),
        version = env!("CARGO_PKG_VERSION"),
        commit = said("git", &["rev-parse", "--short", "HEAD"]),
    )
}

fn aims(results: &Results) -> String {
    let mut text = "| aim | at most | measured | |\n|---|---|---|---|\n".to_owned();
    let mut aim = |name: &str, most: f64, measured: f64| {
        let met = if measured <= most { "met" } else { "not met" };
        writeln!(text, "| {name} | {most} | {measured:.2} | {met} |").unwrap();
    };
    aim(
        "Get at one connection, beside the raw socket",
        1.2,
        results.p50_ratio("Get", 1, "raw socket"),
    );
    let processor = |peer| results.cell("Get", 1, peer).unwrap().shown.processor;
    aim(
        "processor time of a Get, beside bare hyper",
        1.5,
        processor("dirvol") / processor("bare hyper"),
    );
    let worst = results.disk.iter().map(|row| row.create / row.bare_create);
    aim("Create beside its system calls, at its worst", 1.25, worst.fold(0.0, f64::max));
    let [first, last] = [results.disk.first().unwrap(), results.disk.last().unwrap()];
    aim("Create with the most volumes, beside none", 1.1, last.create / first.create);
    aim(
        "List of 10,000, beside writing its bytes",
        3.0,
        results.p50_ratio("List of 10,000", 1, "raw socket"),
    );
    aim("start with the most volumes, beside none", 1.1, last.start / first.start);
    if let Some(row) = results.engine.iter().find(|row| row.work.contains("-v")) {
        aim("`docker run -v`, beside `local`", 1.03, row.dirvol / row.local);
    }
    aim("resident, idle, MB", 4.0, results.memory_of("resident, idle"));
    aim("resident after 100,000 requests, MB", 8.0, results.memory_of("resident, with"));
    let binary = fs::metadata(env!("CARGO_BIN_EXE_dirvol")).unwrap().len() as f64 / 1e6;
    aim("binary, MB", 3.5, binary);
    text
}

fn requests(results: &Results) -> String {
    let mut text = "| work | connections | who | p50 beside raw | p50 µs | p99 µs | max µs | \
        requests/s | processor µs | beside hyper |\n|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for cell in &results.cells {
        let of = |peer| results.cell(cell.work, cell.connections, peer).unwrap().shown;
        let shown = &cell.shown;
        writeln!(
            text,
            "| {} | {} | {} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.2} |",
            cell.work,
            cell.connections,
            cell.peer,
            shown.p50 / of("raw socket").p50,
            shown.p50,
            shown.p99,
            shown.max,
            shown.per_second,
            shown.processor,
            shown.processor / of("bare hyper").processor,
        )
        .unwrap();
    }
    text
}

fn durable(results: &Results) -> String {
    let mut text = "| volumes there | Create beside its system calls | Create µs | bare µs | \
        Remove beside its system calls | Remove µs | bare µs |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in &results.disk {
        writeln!(
            text,
            "| {} | {:.2} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} |",
            row.volumes,
            row.create / row.bare_create,
            row.create,
            row.bare_create,
            row.remove / row.bare_remove,
            row.remove,
            row.bare_remove,
        )
        .unwrap();
    }
    text
}

fn starts(results: &Results) -> String {
    let first = results.disk[0].start;
    let mut text = "| start to first answer | ms | beside no volume |\n|---|---|---|\n".to_owned();
    let mut row = |name: &str, took: f64, beside: f64| {
        writeln!(text, "| {name} | {:.2} | {:.2} |", took / 1e3, took / beside).unwrap();
    };
    for size in &results.disk {
        row(&format!("{} volumes", size.volumes), size.start, first);
    }
    row("first answer after an idle exit", results.idle, first);
    text.push_str("\n| 64 connections at once after a start | ms | beside raw |\n|---|---|---|\n");
    for (who, took) in ["dirvol", "bare hyper", "raw socket"].iter().zip(results.burst) {
        writeln!(text, "| {who} | {:.2} | {:.2} |", took / 1e3, took / results.burst[2]).unwrap();
    }
    text
}

fn through_docker(results: &Results) -> String {
    let mut text = "| through dockerd | dirvol beside `local` | dirvol ms | `local` ms |\n\
        |---|---|---|---|\n"
        .to_owned();
    for row in &results.engine {
        let ratio = row.dirvol / row.local;
        writeln!(text, "| {} | {ratio:.3} | {:.1} | {:.1} |", row.work, row.dirvol, row.local)
            .unwrap();
    }
    text
}

fn memory(results: &Results) -> String {
    let mut text = "| memory | MB |\n|---|---|\n".to_owned();
    for (name, mega) in &results.memory {
        writeln!(text, "| {name} | {mega:.2} |").unwrap();
    }
    text
}
