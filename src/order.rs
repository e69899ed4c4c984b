//! The one sort. The library's own is compiled for each type anew, and is 6 kB each time.

use std::cmp::Ordering;

/// Sorts `items` as `compare` says; what is equal keeps its order.
pub fn sort<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let order = order(items.len(), &|a, b| compare(&items[a], &items[b]));
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(order.into_iter().filter_map(|at| taken[at].take()));
}

/// Returns the numbers below `len` in the order that `compare` says.
fn order(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_keeps_its_order() {
        let mut words = vec!["bb", "a", "ccc", "aa", "b", ""];
        sort(&mut words, |a, b| a.len().cmp(&b.len()));
        assert_eq!(words, ["", "a", "b", "bb", "aa", "ccc"]);
    }
}
