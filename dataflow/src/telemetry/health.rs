//! Health: whether the run makes progress, and whether what it writes is current. Pure: a snapshot in, a sentence out.

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

/// `/readyz`: the run has begun, and has committed something or has nothing to commit. `Err` says why not. A partition
/// that holds W back is named; it does not affect readiness.
pub fn ready(snapshot: &Snapshot) -> Result<String, String> {
    lives(snapshot)?;
    match snapshot.phase {
        Phase::Starting => Err("starting".to_owned()),
        Phase::Draining => Err("draining".to_owned()),
        Phase::Running if snapshot.commits > 0 => Ok(format!("lag {}{}", snapshot.lag(), held(snapshot))),
        Phase::Running if snapshot.lag() == 0 => Ok("caught up".to_owned()),
        Phase::Running => Err(format!("no commit yet, lag {}", snapshot.lag())),
    }
}

fn held(snapshot: &Snapshot) -> String {
    snapshot.holder().map_or_else(String::new, |holder| {
        format!(
            "; no window has become final for {} s: partition {} holds the watermark back",
            snapshot.low_held_ms / 1000,
            holder.partition
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{LOW_HELD_MAX_MS, PartitionFigures};
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
    fn a_partition_that_holds_the_watermark_back_for_long_is_named() {
        let held = |low_held_ms| ready(&Snapshot { low_held_ms, ..running(7, 1) });
        assert_eq!(held(LOW_HELD_MAX_MS).as_deref(), Ok("lag 7"));
        let why = "lag 7; no window has become final for 125 s: partition 0 holds the watermark back";
        assert_eq!(held(125_400).as_deref(), Ok(why));
    }

    #[test]
    fn a_run_that_drains_lives_but_is_no_longer_ready() {
        let draining = Snapshot { phase: Phase::Draining, ..running(0, 1) };
        assert!(lives(&draining).is_ok());
        assert_eq!(ready(&draining), Err("draining".to_owned()));
    }
}
