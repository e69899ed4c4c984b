//! The documents, where they can be tried: each call in `docs/protocol.md` is made,
//! and `docs/command-line.md` is what the program says of itself.

use std::env;
use std::fs;

use clap::CommandFactory;
use dirvol::cli::Cli;

use crate::expect::neutral;
use crate::harness::Setup;

/// The root in the document.
const ROOT: &str = "/var/lib/dirvol/";

/// A call and its answer, as they are written.
struct Documented {
    method: String,
    body: String,
    status: u16,
    answer: String,
}

fn documented() -> Vec<Documented> {
    let text = fs::read_to_string("docs/protocol.md").unwrap();
    let blocks = text.split("```call\n").skip(1);
    blocks
        .map(|block| {
            let lines: Vec<&str> = block.split("```").next().unwrap().lines().collect();
            let [request, body, status, answer] = lines[..] else { panic!("{lines:?}") };
            Documented {
                method: request.strip_prefix("POST /").unwrap().to_owned(),
                body: body.to_owned(),
                status: status.parse().unwrap(),
                answer: answer.to_owned(),
            }
        })
        .collect()
}

#[test]
fn every_call_in_the_document_is_answered_as_it_says() {
    let setup = Setup::new();
    let serve = setup.serve();
    let root = format!("{}/", setup.root().display());
    for call in documented() {
        let answer = serve.call(&call.method, &call.body);
        let body = neutral(&answer.body.replace(&root, ROOT));
        let expected = (call.status, neutral(&call.answer));
        assert_eq!((answer.status, body), expected, "{} {}", call.method, call.body);
    }
    serve.stop();
}

#[test]
fn every_call_that_is_served_is_in_the_document_and_no_other() {
    let source = fs::read_to_string("src/server/routes.rs").unwrap();
    let quoted = source.split('"').filter(|text| {
        ["/Plugin.", "/VolumeDriver.", "/Dirvol."].iter().any(|start| text.starts_with(start))
    });
    let mut served: Vec<String> = quoted.map(|path| path[1..].to_owned()).collect();
    served.sort();
    let mut shown: Vec<String> = documented().into_iter().map(|call| call.method).collect();
    shown.sort();
    shown.dedup();
    assert_eq!(served.len(), 24);
    assert_eq!(shown, served);
}

/// What the document has by hand, up to the first command.
const BY_HAND: &str = "\n## dirvol\n";

#[test]
fn the_command_line_is_what_its_document_says() {
    fn write(command: &mut clap::Command, text: &mut String) {
        if command.get_name() == "help" {
            return;
        }
        let name = command.get_bin_name().unwrap_or("dirvol").to_owned();
        let help = command.clone().term_width(90).render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        *text += &format!("\n## {name}\n\n```\n{}\n```\n", help.join("\n").trim_end());
        command.get_subcommands_mut().for_each(|below| write(below, text));
    }
    let mut cli = Cli::command();
    cli.build();
    let mut expected = String::new();
    write(&mut cli, &mut expected);
    let path = "docs/command-line.md";
    let document = fs::read_to_string(path).unwrap();
    let by_hand = document.split(BY_HAND).next().unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, format!("{by_hand}{expected}")).unwrap();
        return;
    }
    assert_eq!(
        document,
        format!("{by_hand}{expected}"),
        "UPDATE_DOCS=1 cargo test --test service documented writes it anew"
    );
}
