//! The plot: the median answer of each peer as a multiple of the raw socket's.

use std::fmt::Write;

use crate::http::{CONNECTIONS, WORK};
use crate::table::Results;

const PEERS: [(&str, &str); 3] =
    [("bare hyper", "#9aa5b1"), ("dirvol", "#1f6feb"), ("rclone", "#d98324")];
/// Of one panel; three stand side by side.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 220.0;

/// Draws a panel for each work, with a group of bars for each number of connections.
pub fn draw(results: &Results) -> String {
    let rows = WORK.len().div_ceil(3) as f64;
    let (width, height) = (WIDTH * 3.0 + 20.0, HEIGHT * rows + 60.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"20\" y=\"22\" font-size=\"14\">median answer, as a multiple of the raw \
         socket's (line: 1), at 1, 4, 16 and 64 connections</text>\n"
    );
    for ((name, color), at) in PEERS.iter().zip(0_u8..) {
        let x = 20.0 + f64::from(at) * 100.0;
        let label = x + 16.0;
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"32\" width=\"11\" height=\"11\" fill=\"{color}\"/>\
             <text x=\"{label}\" y=\"42\">{name}</text>"
        )
        .unwrap();
    }
    for (at, work) in WORK.iter().enumerate() {
        let (x, y) = ((at % 3) as f64 * WIDTH + 20.0, (at / 3) as f64 * HEIGHT + 60.0);
        panel(&mut svg, results, work.name, x, y);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, results: &Results, work: &str, left: f64, top: f64) {
    let ratio = |connections, peer| {
        let raw = results.cell(work, connections, "raw socket")?.shown.p50;
        Some(results.cell(work, connections, peer)?.shown.p50 / raw)
    };
    let all = CONNECTIONS.iter().flat_map(|&count| PEERS.map(|(peer, _)| ratio(count, peer)));
    let highest = all.flatten().fold(1.5, f64::max);
    let (bottom, room) = (top + HEIGHT - 40.0, HEIGHT - 80.0);
    let group = (WIDTH - 30.0) / CONNECTIONS.len() as f64;
    writeln!(svg, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{work}</text>", top + 14.0)
        .unwrap();
    for (at, &connections) in CONNECTIONS.iter().enumerate() {
        let from = left + at as f64 * group;
        let bars =
            PEERS.iter().filter_map(|(peer, color)| Some((ratio(connections, peer)?, color)));
        for ((ratio, color), bar) in bars.zip(0_u8..) {
            let (x, tall) = (from + f64::from(bar) * 20.0, ratio / highest * room);
            let y = bottom - tall;
            writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"17\" height=\"{tall:.1}\" \
                 fill=\"{color}\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"8\" \
                 text-anchor=\"middle\">{ratio:.1}</text>",
                x + 8.5,
                y - 3.0
            )
            .unwrap();
        }
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\">{connections}</text>",
            from + 20.0,
            bottom + 15.0
        )
        .unwrap();
    }
    let one = bottom - room / highest;
    writeln!(
        svg,
        "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{one:.1}\" y2=\"{one:.1}\" stroke=\"#444\" \
         stroke-dasharray=\"3 3\"/>",
        left + WIDTH - 30.0
    )
    .unwrap();
}
