//! How far two models agree: the one in force, and one that is asked beside it and decides nothing.

use serde::{Deserialize, Serialize};

/// Readings by who flags them; what a rule flags, both do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// All that were judged by both.
    pub readings: u64,
    /// Flagged by both.
    pub both: u64,
    /// Flagged by the one in force alone.
    pub only_in_force: u64,
    /// Flagged by the other one alone.
    pub only_beside: u64,
}

impl Agreement {
    /// Counts a reading.
    pub fn count(&mut self, in_force: bool, beside: bool) {
        self.readings += 1;
        match (in_force, beside) {
            (true, true) => self.both += 1,
            (true, false) => self.only_in_force += 1,
            (false, true) => self.only_beside += 1,
            (false, false) => {}
        }
    }

    /// Adds others.
    pub fn merge(&mut self, other: Agreement) {
        self.readings += other.readings;
        self.both += other.both;
        self.only_in_force += other.only_in_force;
        self.only_beside += other.only_beside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_counts_once_for_who_flags_it() {
        let mut agreement = Agreement::default();
        for (in_force, beside) in [(false, false), (true, true), (true, false), (true, false), (false, true)]
        {
            agreement.count(in_force, beside);
        }
        let counted = Agreement { readings: 5, both: 1, only_in_force: 2, only_beside: 1 };
        assert_eq!(agreement, counted);
        agreement.merge(counted);
        assert_eq!((agreement.readings, agreement.only_in_force), (10, 4));
    }
}
