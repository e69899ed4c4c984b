//! Whether what clients saw who called at the same time could have been seen by one who
//! calls after the other: whether there is a legal order of their calls (Wing and Gong's
//! search, with a memory of what was tried).
//!
//! A history is cut where no call was under way. What the model may be at such a moment is
//! known, so each piece is searched for itself, and one without a legal order is printed.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

/// One call of a client, with what it saw, and when it was begun and answered.
#[derive(Debug, Clone)]
pub struct Seen<C> {
    pub client: String,
    pub call: C,
    pub invoked: Instant,
    pub returned: Instant,
}

/// A model to which one call happens after the other.
pub trait Sequential: Clone + Debug + Eq + Hash {
    /// A call with its answer.
    type Call: Clone + Debug;

    /// What the model may be after this call had this answer; nothing, where it could not
    /// have had it.
    fn after(&self, call: &Self::Call) -> Vec<Self>;

    /// Whether the call is one that changes nothing, whatever it is answered.
    fn only_looks(call: &Self::Call) -> bool;
}

/// Finds a legal order of `history`, of a model that was `start` before it.
///
/// # Errors
/// There is none: the shortest part of it that shows this, as text.
pub fn check<S: Sequential>(start: S, mut history: Vec<Seen<S::Call>>) -> Result<(), String> {
    history.sort_by_key(|seen| seen.invoked);
    let mut states = HashSet::from([start]);
    // One order is found soon; that there is none takes all of them.
    if !orders(&states, &history, None, 1).is_empty() {
        return Ok(());
    }
    let mut rest = &history[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(first_piece(rest));
        let ends = orders(&states, piece, None, usize::MAX);
        if ends.is_empty() {
            return Err(told(&states, &shortest(&states, piece)));
        }
        (states, rest) = (ends, after);
    }
    unreachable!("each piece has a legal order, and the whole has none")
}

/// How many calls there are until none is under way.
fn first_piece<C>(history: &[Seen<C>]) -> usize {
    let mut until = history[0].returned;
    let overlapping = history.iter().take_while(|seen| {
        let overlaps = seen.invoked <= until;
        if overlaps {
            until = until.max(seen.returned);
        }
        overlaps
    });
    overlapping.count()
}

/// What the model may be after the calls of `piece`. Those that were not answered by
/// `until` may have happened or not. It ends when it has found `enough`.
fn orders<S: Sequential>(
    states: &HashSet<S>,
    piece: &[Seen<S::Call>],
    until: Option<Instant>,
    enough: usize,
) -> HashSet<S> {
    let must = |at: usize| until.is_none_or(|until| piece[at].returned <= until);
    let none = vec![false; piece.len()];
    let mut open: Vec<_> = states.iter().map(|state| (none.clone(), state.clone())).collect();
    let (mut tried, mut ends) = (HashSet::new(), HashSet::new());
    while let Some((done, state)) = open.pop() {
        if !tried.insert((done.clone(), state.clone())) {
            continue;
        }
        let left = || (0..piece.len()).filter(|at| !done[*at]);
        // Whatever was begun after this was answered came after it.
        let Some(first) = left().filter(|at| must(*at)).map(|at| piece[at].returned).min() else {
            ends.insert(state);
            if ends.len() == enough {
                break;
            }
            continue;
        };
        // Those that were answered first are tried first, as the most likely order.
        let mut next: Vec<usize> = left().filter(|at| piece[*at].invoked <= first).collect();
        next.sort_by_key(|at| std::cmp::Reverse(piece[*at].returned));
        for next in next {
            let mut done = done.clone();
            done[next] = true;
            let after = state.after(&piece[next].call);
            open.extend(after.into_iter().map(|state| (done.clone(), state)));
        }
    }
    ends
}

/// The part of a piece that has no legal order: up to the answer that is the first to
/// have none, and without the looks that it takes no part in.
fn shortest<S: Sequential>(states: &HashSet<S>, piece: &[Seen<S::Call>]) -> Vec<Seen<S::Call>> {
    let mut answers: Vec<Instant> = piece.iter().map(|seen| seen.returned).collect();
    answers.sort();
    let has_none =
        |calls: &[Seen<S::Call>], until| orders(states, calls, Some(until), 1).is_empty();
    let until = answers[answers.partition_point(|until| !has_none(piece, *until))];
    let mut calls: Vec<_> = piece.iter().filter(|seen| seen.invoked <= until).cloned().collect();
    for at in (0..calls.len()).rev() {
        let mut without = calls.clone();
        let left_out = without.remove(at);
        if S::only_looks(&left_out.call) && has_none(&without, until) {
            calls = without;
        }
    }
    calls
}

fn told<S: Sequential>(states: &HashSet<S>, calls: &[Seen<S::Call>]) -> String {
    let begin = calls.iter().map(|seen| seen.invoked).min().unwrap();
    let lines = calls.iter().map(|seen| {
        let at = |time: Instant| (time - begin).as_micros();
        let (from, to) = (at(seen.invoked), at(seen.returned));
        format!("{from:>8}..{to:>8} us  client {}  {:?}", seen.client, seen.call)
    });
    let lines: Vec<String> = lines.collect();
    format!("no legal order from {states:#?}:\n{}", lines.join("\n"))
}
