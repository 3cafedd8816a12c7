//! Which savepoints PostgreSQL keeps for ours: [`Savepoints`].
//!
//! PostgreSQL's are a stack: to release one is to release all above it. Ours are dropped in any
//! order. So one that is dropped is only marked, and released with the next statement that needs
//! the stack, once all above it are marked too.
//!
//! # Invariants
//! - Numbers are not used again, so that no name is hidden by a later one that is the same.

/// The savepoints of the transaction that runs, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Savepoints {
    last: u64,
    stack: Vec<Savepoint>,
}

#[derive(Debug)]
struct Savepoint {
    number: u64,
    dropped: bool,
}

impl Savepoints {
    /// Adds one at the top.
    pub(crate) fn push(&mut self) -> u64 {
        self.last += 1;
        self.stack.push(Savepoint { number: self.last, dropped: false });
        self.last
    }

    /// Nobody will return to this one.
    pub(crate) fn mark(&mut self, number: u64) {
        let place = self.stack.iter().rposition(|savepoint| savepoint.number == number);
        if let Some(place) = place {
            self.stack[place].dropped = true;
        }
    }

    /// Takes away those at the top that nobody will return to; the lowest of them, whose release
    /// releases all.
    pub(crate) fn trim(&mut self) -> Option<u64> {
        let kept = self.stack.iter().rposition(|savepoint| !savepoint.dropped);
        let kept = kept.map_or(0, |last| last + 1);
        let lowest = self.stack.get(kept).map(|savepoint| savepoint.number);
        self.stack.truncate(kept);
        lowest
    }

    /// Takes away those above this one.
    pub(crate) fn return_to(&mut self, number: u64) {
        self.stack.retain(|savepoint| savepoint.number <= number);
    }

    /// Takes away all: their transaction is over.
    pub(crate) fn clear(&mut self) {
        self.stack.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_released_with_those_above_it_and_not_before() {
        let mut savepoints = Savepoints::default();
        let [one, two, three] = [(); 3].map(|()| savepoints.push());

        savepoints.mark(two);
        assert_eq!(savepoints.trim(), None, "three is still needed");
        savepoints.mark(three);
        assert_eq!(savepoints.trim(), Some(two));
        assert_eq!(savepoints.trim(), None);
        savepoints.mark(one);
        assert_eq!(savepoints.trim(), Some(one));
    }

    #[test]
    fn what_is_above_a_savepoint_that_was_returned_to_is_gone() {
        let mut savepoints = Savepoints::default();
        let [one, two] = [(); 2].map(|()| savepoints.push());

        savepoints.return_to(one);
        savepoints.mark(two);
        assert_eq!(savepoints.trim(), None);
        assert!(savepoints.push() > two, "a number is used once");
    }
}
