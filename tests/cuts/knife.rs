//! Cutting in the middle of an operation of this process's driver.

use std::sync::{Arc, Mutex};

use crate::disk::{Cut, Disk};
use crate::rig::Rig;

/// What else happens on the disk, just before one step.
#[derive(Debug, Clone, Copy)]
pub enum Meanwhile {
    /// The kernel writes everything.
    Flush,
    /// A neighbour syncs a file of its own. On most file systems this writes the
    /// names of everybody's files, but not what is in them.
    NeighbourSyncs,
}

/// Where an operation is cut.
#[derive(Debug, Clone, Copy)]
pub enum Where {
    /// Before each step.
    Everywhere,
    /// Before the step of this number, just after something else.
    At(usize, Meanwhile),
}

/// What came of an operation that was cut.
#[derive(Default)]
pub struct Slices {
    /// How many steps it has.
    pub steps: usize,
    /// The cuts in the middle of it, and one when it was done.
    pub cuts: Vec<Cut>,
}

/// Runs an operation of `rig`, and cuts it.
pub fn slice(disk: &Arc<Disk>, rig: &Rig, place: Where, operation: impl FnOnce()) -> Slices {
    let slices: Arc<Mutex<Slices>> = Arc::default();
    let (held, knife) = (Arc::clone(&slices), Arc::clone(disk));
    rig.hooked(
        move |step| {
            let mut slices = held.lock().unwrap();
            let here = match place {
                Where::Everywhere => true,
                Where::At(number, _) => number == slices.steps,
            };
            slices.steps += 1;
            if here {
                match place {
                    Where::Everywhere => {}
                    Where::At(_, Meanwhile::Flush) => knife.flush(),
                    Where::At(_, Meanwhile::NeighbourSyncs) => knife.neighbour_syncs(),
                }
                slices.cuts.push(knife.cut(format!("{place:?}, before {step:?}")));
            }
            Ok(())
        },
        operation,
    );
    let mut slices = std::mem::take(&mut *slices.lock().unwrap());
    slices.cuts.push(disk.cut(format!("{place:?}, when it was done")));
    slices
}
