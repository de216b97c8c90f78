//! Removes duplicates and keeps the order.

use std::collections::HashSet;
use std::hash::Hash;

/// The different elements, each where it came first. The time is linear.
#[must_use]
pub fn unique<T: Eq + Hash>(all: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::with_capacity(all.len());
    let is_first: Vec<bool> = all.iter().map(|one| seen.insert(one)).collect();
    all.into_iter().zip(is_first).filter_map(|(one, is_first)| is_first.then_some(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_is_kept_in_order() {
        assert_eq!(unique(vec![2, 1, 2, 3, 1]), [2, 1, 3]);
    }
}
