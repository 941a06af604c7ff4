//! Which jobs are due in a round: a database to which nothing comes is asked next to nothing.

/// Followers are looked at once in so many rounds.
const FOLLOWERS_ROUNDS: u64 = 5;
/// Incidents are counted once in so many rounds.
const INCIDENTS_ROUNDS: u64 = 15;
/// Retention is looked at once in so many rounds.
const RETENTION_ROUNDS: u64 = 30;

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    round: u64,
    /// The newest commit when what follows from commits was last done.
    caught_up_with: Option<i64>,
    /// No partitions have to be made before this time, milliseconds.
    partitions_made_until_ms: u64,
}

/// The jobs of a round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Make partitions ahead.
    pub(super) partitions: bool,
    /// Summarise what was written, and delete what the detector knew before.
    pub(super) after_commits: bool,
    /// Look at the followers.
    pub(super) followers: bool,
    /// Count the incidents.
    pub(super) incidents: bool,
    /// Look at what is too old.
    pub(super) retention: bool,
}

impl Schedule {
    /// The jobs of the next round, given the newest commit.
    pub(super) fn next(&mut self, newest: Option<i64>, now_ms: u64) -> Due {
        let round = self.round;
        self.round += 1;
        Due {
            partitions: now_ms >= self.partitions_made_until_ms,
            after_commits: newest != self.caught_up_with,
            followers: round.is_multiple_of(FOLLOWERS_ROUNDS),
            incidents: round.is_multiple_of(INCIDENTS_ROUNDS),
            retention: round.is_multiple_of(RETENTION_ROUNDS),
        }
    }

    /// The partitions that are needed until then are there.
    pub(super) fn partitions_are_made(&mut self, until_ms: u64) {
        self.partitions_made_until_ms = until_ms;
    }

    /// What follows from the commits up to `newest` is done.
    pub(super) fn caught_up_with(&mut self, newest: Option<i64>) {
        self.caught_up_with = newest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: u64 = 1_795_262_400_000;
    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn without_commits_only_followers_and_retention_are_looked_at_now_and_then() {
        let mut schedule = Schedule::default();
        let first = schedule.next(Some(50), NOON_MS);
        assert_eq!(
            first,
            Due { partitions: true, after_commits: true, followers: true, incidents: true, retention: true }
        );
        schedule.partitions_are_made(NOON_MS + HOUR_MS);
        schedule.caught_up_with(Some(50));
        let idle: Vec<Due> = (0..30).map(|round| schedule.next(Some(50), NOON_MS + 2000 * round)).collect();
        assert!(idle.iter().all(|due| !due.partitions && !due.after_commits));
        let count = |is_due: fn(&Due) -> bool| idle.iter().filter(|due| is_due(due)).count();
        let counts = [count(|due| due.followers), count(|due| due.incidents), count(|due| due.retention)];
        assert_eq!(counts, [6, 2, 1]);
    }

    #[test]
    fn a_commit_and_a_new_partition_are_followed_until_it_is_done() {
        let mut schedule = Schedule::default();
        schedule.partitions_are_made(NOON_MS + HOUR_MS);
        schedule.caught_up_with(Some(50));
        for _ in 0..2 {
            let due = schedule.next(Some(100), NOON_MS + HOUR_MS);
            assert!(due.after_commits && due.partitions, "what lacked a lock is tried again: {due:?}");
        }
        schedule.caught_up_with(Some(100));
        schedule.partitions_are_made(NOON_MS + 2 * HOUR_MS);
        let due = schedule.next(Some(100), NOON_MS + 2 * HOUR_MS - 1);
        assert!(!due.after_commits && !due.partitions, "{due:?}");
    }
}
