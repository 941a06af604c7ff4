//! Decides which jobs are due in a round, so that an idle run sends almost no statements.

/// Rounds between two readings of the followers.
const FOLLOWERS_ROUNDS: u64 = 5;
/// Rounds between two counts of incidents.
const INCIDENTS_ROUNDS: u64 = 15;
/// Rounds between two applications of the retention.
const RETENTION_ROUNDS: u64 = 30;

/// The state of the jobs.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    round: u64,
    /// The newest commit when the jobs after commits were last done.
    caught_up_with: Option<i64>,
    /// No further partitions are needed before this time, milliseconds.
    partitions_until_ms: u64,
}

/// The jobs of a round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Create partitions ahead of time.
    pub(super) partitions: bool,
    /// Summarise the BRIN indexes, and delete old states of the detector.
    pub(super) after_commits: bool,
    /// Read the followers.
    pub(super) followers: bool,
    /// Count the incidents.
    pub(super) incidents: bool,
    /// Apply the retention and merge old commits.
    pub(super) retention: bool,
}

impl Schedule {
    /// The jobs of the next round, given the newest commit.
    pub(super) fn next(&mut self, newest: Option<i64>, now_ms: u64) -> Due {
        let round = self.round;
        self.round += 1;
        Due {
            partitions: now_ms >= self.partitions_until_ms,
            after_commits: newest != self.caught_up_with,
            followers: round.is_multiple_of(FOLLOWERS_ROUNDS),
            incidents: round.is_multiple_of(INCIDENTS_ROUNDS),
            retention: round.is_multiple_of(RETENTION_ROUNDS),
        }
    }

    /// Notes that all partitions that are needed before `until_ms` exist.
    pub(super) fn partitions_exist_until(&mut self, until_ms: u64) {
        self.partitions_until_ms = until_ms;
    }

    /// Notes that the jobs after the commits up to `newest` are done.
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
    fn without_commits_only_followers_incidents_and_retention_are_due_now_and_then() {
        let mut schedule = Schedule::default();
        let first = schedule.next(Some(50), NOON_MS);
        assert_eq!(
            first,
            Due { partitions: true, after_commits: true, followers: true, incidents: true, retention: true }
        );
        schedule.partitions_exist_until(NOON_MS + HOUR_MS);
        schedule.caught_up_with(Some(50));
        let idle: Vec<Due> = (0..30).map(|round| schedule.next(Some(50), NOON_MS + 2000 * round)).collect();
        assert!(idle.iter().all(|due| !due.partitions && !due.after_commits));
        let count = |is_due: fn(&Due) -> bool| idle.iter().filter(|due| is_due(due)).count();
        let counts = [count(|due| due.followers), count(|due| due.incidents), count(|due| due.retention)];
        assert_eq!(counts, [6, 2, 1]);
    }

    #[test]
    fn a_job_after_a_commit_and_a_missing_partition_stay_due_until_they_are_done() {
        let mut schedule = Schedule::default();
        schedule.partitions_exist_until(NOON_MS + HOUR_MS);
        schedule.caught_up_with(Some(50));
        for _ in 0..2 {
            let due = schedule.next(Some(100), NOON_MS + HOUR_MS);
            assert!(due.after_commits && due.partitions, "a job that lacked a lock is retried: {due:?}");
        }
        schedule.caught_up_with(Some(100));
        schedule.partitions_exist_until(NOON_MS + 2 * HOUR_MS);
        let due = schedule.next(Some(100), NOON_MS + 2 * HOUR_MS - 1);
        assert!(!due.after_commits && !due.partitions, "{due:?}");
    }
}
