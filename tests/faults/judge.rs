//! What must hold once the root was opened again.

use std::fs;

use dirvol::volume::Health;

use crate::operations::{Operation, Outcome};
use crate::world::World;

/// The listings between which an operation leads.
pub struct Ends {
    before: Vec<String>,
    done: Vec<String>,
}

/// How an operation ended.
pub struct Ending {
    /// Success, or what was said instead; `None` where it was cut off.
    pub answer: Option<Result<(), String>>,
    /// Whether the disk said that it was full, for which the trash may give way.
    pub full: bool,
    /// Whether the root was opened anew after it.
    pub reopened: bool,
}

impl Ends {
    /// Makes `operation` once, and nothing fails.
    pub fn of(operation: &Operation) -> Self {
        let world = World::before(operation);
        let before = world.listing();
        (operation.run)(world.driver()).unwrap();
        let report = world.driver().collect();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        Self { before, done: world.listing() }
    }

    fn legal(&self, outcome: &Outcome) -> Vec<String> {
        match outcome {
            Outcome::Before => self.before.clone(),
            Outcome::Done => self.done.clone(),
            Outcome::BeforeBut(edits) => {
                let mut lines = self.before.join("\n");
                for (from, to) in *edits {
                    assert!(lines.contains(from), "{from:?} is not in\n{lines}");
                    // The neighbours come after it, or have no such text.
                    lines = lines.replacen(from, to, 1);
                }
                lines.split('\n').map(str::to_owned).collect()
            }
        }
    }

    /// Judges what `operation` left, whose root was opened again, and makes it once
    /// more.
    pub fn judge(
        &self,
        operation: &Operation,
        world: &mut World,
        ending: &Ending,
    ) -> Result<(), String> {
        let done = matches!(ending.answer, Some(Ok(())));
        if let Some(Err(why)) = &ending.answer
            && (why.is_empty() || why.contains('\n'))
        {
            return Err(format!("the answer is not one line: {why:?}"));
        }
        let report = world.driver().collect();
        if !report.failed.is_empty() {
            return Err(format!("could not be swept: {:?}", report.failed));
        }
        let gave_way = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| !line.starts_with("trash/old~")).collect()
        };
        let is = |found: &[String], legal: &[String]| {
            found == legal || ending.full && found == gave_way(legal.to_vec())
        };
        let is_nobodys = |line: &String| {
            // A record that has not got its name yet: the next one replaces it.
            !done && line.contains("/volume.json.new ")
                // What could not be deleted is left to the next opening of the root.
                || !ending.reopened && is_staged(line)
        };
        let mut found = world.listing();
        found.retain(|line| !is_nobodys(line));
        let is_legal = operation.outcomes.iter().any(|outcome| is(&found, &self.legal(outcome)));
        if done && !is(&found, &self.done) {
            return Err(format!("it answered success, and left {}", differing(&found, &self.done)));
        }
        if !done && !is_legal {
            return Err(format!("it left {}", differing(&found, &self.before)));
        }
        self.usable(world, ending)?;
        let again = (operation.run)(world.driver());
        let was_done = is(&found, &self.done);
        match again {
            Err(why) if !(was_done && operation.once) => return Err(format!("again: {why}")),
            _ => {}
        }
        if !ending.reopened {
            world.reopen();
        }
        world.driver().collect();
        let found = world.listing();
        if is(&found, &self.done) {
            return Ok(());
        }
        Err(format!("after it was made again there is {}", differing(&found, &self.done)))
    }

    /// Every volume can be used, and the state directory knows this root and them.
    fn usable(&self, world: &World, ending: &Ending) -> Result<(), String> {
        let names = world.driver().list().map_err(|error| error.to_string())?;
        for name in &names {
            let volume = world.driver().get(name).map_err(|error| error.to_string())?;
            if volume.health != Health::Ok {
                return Err(format!("{name} is {:?}", volume.health));
            }
            if volume.place().is_some() && !world.root().join("places").join(name.as_str()).exists()
            {
                return Err(format!("{name} is not among those that lie elsewhere"));
            }
        }
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let seen = world.names(&world.setup.state().join("seen"));
        // A name too many does little harm until the root is opened anew.
        let known = names.iter().all(|name| seen.contains(name));
        if !known || ending.reopened && seen != names {
            return Err(format!("the state directory knows {seen:?}, of {names:?}"));
        }
        let marker = fs::read_to_string(world.root().join("dirvol.json")).unwrap();
        let id = fs::read_to_string(world.setup.state().join("root-id")).unwrap();
        if !marker.contains(id.trim()) {
            return Err(format!("the state directory knows root {id}, and it is {marker}"));
        }
        Ok(())
    }
}

/// The lines that are in one of two listings alone.
fn differing(found: &[String], expected: &[String]) -> String {
    let only = |these: &[String], those: &[String], sign: char| -> Vec<String> {
        let these = these.iter().filter(|line| !those.contains(line));
        these.map(|line| format!("{sign} {line}")).collect()
    };
    [only(found, expected, '+'), only(expected, found, '-')].concat().join("; ")
}

/// Whether a line of a listing is of what is being built or deleted.
fn is_staged(line: &str) -> bool {
    line.strip_prefix("staging/").is_some_and(|rest| !rest.starts_with(' '))
}
