//! A message followed to the letter.

use crate::harness::eventually;
use crate::plugged::{PLUGIN, Plugged};

impl Plugged {
    /// What Docker says of a create that is refused.
    pub fn refused(&self) -> String {
        self.daemon.fails(&format!("volume create -d {PLUGIN} new"))
    }

    /// Runs the docker commands that a message names, in its order, with what they
    /// leave open put in: words, and what stands for them.
    pub fn follow(&self, message: &str, given: &[(&str, &str)]) {
        let mut commands = Vec::new();
        for quoted in message.split('\'').filter_map(|part| part.strip_prefix("docker ")) {
            let mut command = quoted.replace("PLUGIN", PLUGIN);
            for (open, value) in given {
                command = command.replace(open, value);
            }
            self.daemon.ok(&command);
            // A person is slower than dockerd is at unmounting.
            eventually("dockerd has unmounted", || {
                (!command.contains("disable") || self.mounts() == 0).then_some(())
            });
            commands.push(command);
        }
        let steps = commands.iter().map(|command| command.split(' ').nth(1).unwrap());
        assert_eq!(steps.collect::<Vec<_>>(), ["disable", "set", "enable"], "{message}");
    }
}
