//! Health: whether the run lives, and whether what it writes is current. Pure: a snapshot in, a sentence out.

use super::{Phase, Snapshot};

/// A committed frontier that stands still for longer is not well, milliseconds. It moves twenty times a second, with
/// readings or without; the watchdog gives up after a minute.
pub const STANDING_MAX_MS: u64 = 10_000;

/// `/healthz`: the process is there and its committed frontier moves. `Err` says why not.
pub fn lives(snapshot: &Snapshot) -> Result<String, String> {
    if snapshot.phase == Phase::Starting {
        return Ok("starting".to_owned());
    }
    match snapshot.standing_ms {
        ms if ms >= STANDING_MAX_MS => Err(format!(
            "nothing committed for {} s: the database or another process does not answer",
            ms / 1000
        )),
        _ => Ok("the committed frontier moves".to_owned()),
    }
}

/// `/readyz`: the run has begun, and has committed something or has nothing to commit. `Err` says why not.
pub fn ready(snapshot: &Snapshot) -> Result<String, String> {
    lives(snapshot)?;
    match snapshot.phase {
        Phase::Starting => Err("starting".to_owned()),
        Phase::Draining => Err("draining".to_owned()),
        Phase::Running if snapshot.commits > 0 => Ok(format!("lag {}", snapshot.lag())),
        Phase::Running if snapshot.lag() == 0 => Ok("caught up".to_owned()),
        Phase::Running => Err(format!("no commit yet, lag {}", snapshot.lag())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::PartitionFigures;
    use citytide_core::position::{Activity, Counts};

    fn running(lag: i64, commits: u64) -> Snapshot {
        let partition = PartitionFigures {
            partition: 0,
            first_offset: 0,
            next_offset: 10,
            end_offset: 10 + lag,
            counts: Counts::default(),
            watermark_us: None,
            activity: Activity::Active,
        };
        Snapshot {
            phase: Phase::Running,
            partitions: vec![partition],
            commits,
            workers: 1,
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_process_that_starts_lives_but_is_not_ready() {
        assert!(lives(&Snapshot::default()).is_ok());
        assert_eq!(ready(&Snapshot::default()), Err("starting".to_owned()));
    }

    #[test]
    fn a_run_is_ready_with_its_first_commit_or_when_there_is_nothing_to_commit() {
        assert_eq!(ready(&running(5, 0)), Err("no commit yet, lag 5".to_owned()));
        assert!(ready(&running(5, 1)).is_ok());
        assert!(ready(&running(0, 0)).is_ok());
    }

    #[test]
    fn a_frontier_that_stands_still_is_neither_alive_nor_ready() {
        let standing = |standing_ms| Snapshot { standing_ms, ..running(0, 1) };
        assert!(lives(&standing(STANDING_MAX_MS - 1)).is_ok() && ready(&standing(9_000)).is_ok());
        let why = lives(&standing(12_400)).expect_err("it stands");
        assert!(why.starts_with("nothing committed for 12 s"), "{why}");
        assert!(ready(&standing(12_400)).is_err());
    }

    #[test]
    fn a_run_that_drains_lives_but_is_no_longer_ready() {
        let draining = Snapshot { phase: Phase::Draining, ..running(0, 1) };
        assert!(lives(&draining).is_ok());
        assert_eq!(ready(&draining), Err("draining".to_owned()));
    }
}
