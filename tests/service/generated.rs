//! What is made of the command line's own definition: completions, the manual
//! page, and the help.

use std::fs;
use std::process::Command;

use clap::CommandFactory;
use dirvol::cli::Cli;

use crate::harness::temporary;
use crate::program::{Ended, dirvol, run};

fn printed(args: &[&str]) -> String {
    let Ended { code, stdout, stderr } = dirvol(args);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
    stdout
}

/// All commands, as they are written, with the names of their flags.
fn commands() -> Vec<(String, Vec<String>)> {
    fn visit(command: &clap::Command, all: &mut Vec<(String, Vec<String>)>) {
        let below = || command.get_subcommands().filter(|below| below.get_name() != "help");
        if below().next().is_none() {
            // What is hidden is for a bundle, and not for people.
            let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
            let flags = shown.filter_map(|arg| arg.get_long());
            let name = command.get_bin_name().unwrap().to_owned();
            all.push((name, flags.map(|flag| format!("--{flag}")).collect()));
        }
        below().for_each(|below| visit(below, all));
    }
    let mut cli = Cli::command();
    cli.build();
    let mut all = Vec::new();
    visit(&cli, &mut all);
    assert!(all.len() > 12, "{all:?}");
    all
}

#[test]
fn the_manual_page_has_every_command_with_every_flag() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH dirvol 1"), "{page}");
    let plain = page.replace("\\-", "-");
    let sections: Vec<&str> = plain.split(".SS ").skip(1).collect();
    let commands = commands();
    assert_eq!(sections.len(), commands.len());
    for (section, (name, flags)) in sections.iter().zip(&commands) {
        assert!(section.starts_with(&format!("\"{name}\"\n")), "{name}: {section}");
        for flag in flags {
            assert!(section.contains(flag.as_str()), "{name} {flag}: {section}");
        }
    }
    for heading in ["NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "\"EXIT STATUS\"", "FILES"] {
        assert_eq!(plain.matches(&format!(".SH {heading}\n")).count(), 1, "{heading}");
    }
}

#[test]
fn completions_are_what_the_shell_can_read() {
    let dir = temporary();
    let script = dir.path().join("dirvol.bash");
    fs::write(&script, printed(&["completions", "bash"])).unwrap();
    // Loaded into a real shell, it completes the commands of the trash.
    let ask = r#"source "$0" && COMP_WORDS=(dirvol trash re) COMP_CWORD=2 &&
        _dirvol dirvol re trash && echo "${COMPREPLY[*]}""#;
    let ended = run(Command::new("bash").args(["-c", ask]).arg(&script));
    let stdout = "restore\n".to_owned();
    assert_eq!(ended, Ended { code: Some(0), stdout, stderr: String::new() });
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let text = printed(&["completions", shell]);
        for (name, _) in commands() {
            let last = name.rsplit(' ').next().unwrap();
            assert!(text.contains(last), "{shell}: {name}");
        }
    }
}
