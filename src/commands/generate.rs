//! `dirvol completions SHELL`, `dirvol man`: what is made of the command line's
//! own definition.

use clap::CommandFactory;
use clap_mangen::Man;

use super::Failure;
use super::output::print;
use crate::cli::Cli;
use crate::cli::client::Completions;

/// What the manual page says beside the command line's own help.
const MORE: &str = r#".SH "EXIT STATUS"
.IP 0
It is done.
.IP 1
It was tried, and failed; standard error says why, in one line.
.IP 2
It was asked for in a way that makes no sense; nothing was done.
.IP 3
The driver could not be reached.
.SH FILES
.TP
.I ROOT/volumes/NAME/data
A volume: what containers see, and nothing else.
.TP
.I ROOT/trash/
Removed volumes, whole, until their time is up.
.TP
.I /run/docker/plugins/dirvol.sock
The socket on which engines find the driver. The driver is called as its socket.
.SH EXAMPLES
.TP
.B dirvol serve --root /srv/volumes
Serves the volumes in a directory.
.TP
.B docker volume create -d dirvol -o mode=0750 -o retain=7d db
Creates a volume by way of Docker.
.TP
.B dirvol trash restore db
Takes back a volume that was removed.
.TP
.B dirvol prune --unused-for 30d --dry-run
Says which volumes nobody has used for a month.
.SH "SEE ALSO"
.BR docker-volume-create (1),
.BR podman-volume-create (1)
"#;

/// Prints the completions for a shell.
///
/// # Errors
/// They cannot be written.
pub fn completions(args: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dirvol", &mut text);
    print(text)
}

/// Prints the manual page of all commands, as roff.
///
/// # Errors
/// It cannot be written.
pub fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| Failure::Failed(format!("the manual page: {error}")))?;
    print(page)
}

fn render(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut dirvol = Cli::command().term_width(100);
    dirvol.build();
    let whole = Man::new(dirvol.clone());
    whole.render_title(page)?;
    whole.render_name_section(page)?;
    whole.render_synopsis_section(page)?;
    whole.render_description_section(page)?;
    whole.render_options_section(page)?;
    page.extend(b".SH COMMANDS\n");
    for command in dirvol.get_subcommands() {
        if command.get_name() != "help" {
            render_command(command, page)?;
        }
    }
    page.extend(MORE.as_bytes());
    Ok(())
}

/// Renders a command and those below it, as sections of the one page.
fn render_command(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let below: Vec<&clap::Command> =
        command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    if !below.is_empty() {
        return below.into_iter().try_for_each(|command| render_command(command, page));
    }
    let name = command.get_bin_name().unwrap_or_default();
    page.extend(format!(".SS \"{name}\"\n").as_bytes());
    let mut section = Vec::new();
    let man = Man::new(command.clone());
    man.render_synopsis_section(&mut section)?;
    man.render_description_section(&mut section)?;
    man.render_options_section(&mut section)?;
    // Its own headings would end the section.
    let text = String::from_utf8_lossy(&section);
    let lines = text.lines().map(|line| match line.strip_prefix(".SH ") {
        Some(_) => ".PP",
        None => line,
    });
    for line in lines {
        page.extend(line.as_bytes());
        page.push(b'\n');
    }
    Ok(())
}
