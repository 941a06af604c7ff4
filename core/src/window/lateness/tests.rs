//! Lateness reading by reading against the definition, wherever batches and epochs end.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::NEVER;
use crate::batch::example::{Row, batch};
use crate::batch::{Anomaly, Batch, FlaggedBy, Member, Severity, Tally};
use crate::position::Position;
use crate::window::{EpochPartials, PaneSums, RecentAnomaly};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const ZONES: [&str; 3] = ["Downtown", "Harbour", "Tech Hub"];

/// A reading is late a minute after the end of its pane.
fn domain() -> Domain {
    let mut domain = Domain::smart_city();
    domain.time.allowed_lateness_us = MINUTE;
    domain
}

/// Lateness and panes of the same partitions.
struct Places(Lateness);

impl Places {
    fn new(marks: &[Mark]) -> Places {
        Places(Lateness::new(&domain(), marks.iter().cloned()))
    }

    fn place(&mut self, batch: &mut Batch, partials: &mut EpochPartials) -> (Mark, Vec<RecentAnomaly>) {
        let mark = self.0.judge(batch);
        (mark, partials.place(batch, MINUTE))
    }
}

fn placer() -> Places {
    Places::new(&[Mark::at_start(0, 0)])
}

/// Which readings (sensor, event time), in log order, are late, and the watermark behind them: from the definition.
fn by_definition<'a>(readings: impl Iterator<Item = (&'a str, i64)>) -> (Vec<bool>, i64) {
    let time = domain().time;
    let is_jump = |high: Option<i64>, at_us: i64| {
        high.is_none_or(|high_us| at_us > high_us - time.out_of_orderness_us + time.jump_max_us)
    };
    let mut late = Vec::new();
    // The highest event time that counts, and claims: who, when, and whether nobody else has spoken since.
    let mut high: Option<i64> = None;
    let mut claims: Vec<(&str, i64, bool)> = Vec::new();
    let mut claimed_at: Option<i64> = None;
    for (sensor, at_us) in readings {
        let pane_end_us = (at_us.div_euclid(MINUTE) + 1) * MINUTE;
        let bound_us = pane_end_us + time.allowed_lateness_us + time.out_of_orderness_us;
        late.push(high.is_some_and(|high_us| bound_us <= high_us));
        if late[late.len() - 1] {
            continue;
        }
        if !is_jump(high, at_us) {
            high = high.max(Some(at_us));
            claims.retain(|claim| claim.0 != sensor && is_jump(high, claim.1));
            claims.iter_mut().for_each(|claim| claim.2 = false);
            if claimed_at.is_some_and(|claimed_us| high > Some(claimed_us + time.jump_max_us)) {
                claims.clear();
            }
            continue;
        }
        let other = claims.iter().filter(|claim| claim.0 != sensor).max_by_key(|claim| claim.1).copied();
        let mut left = Vec::new();
        if let Some((who, when_us, _)) = other {
            high = high.max(Some(when_us.min(at_us)));
            left.push(if at_us > when_us { (sensor, at_us, true) } else { (who, when_us, false) });
        } else {
            claims.push((sensor, at_us, true));
            let mut alone: Vec<_> = claims.iter().filter(|claim| claim.2).copied().collect();
            if alone.len() < 3 {
                claimed_at = high;
                continue;
            }
            alone.sort_by_key(|claim| claim.1);
            high = high.max(Some(alone[0].1));
            left.extend(&alone[1..]);
        }
        claims.clear();
        for claim in left {
            if is_jump(high, claim.1) {
                claims.push(claim);
            } else {
                high = high.max(Some(claim.1));
            }
        }
        claimed_at = high;
    }
    (late, high.map_or(NEVER, |high_us| high_us - time.out_of_orderness_us))
}

fn place(placer: &mut Places, event_times_us: &[i64]) -> (Vec<bool>, Mark) {
    let mut rows = Vec::new();
    for at_us in event_times_us {
        // Two sensors at the same time, so that whatever it is, it has a witness.
        for sensor in ["a", "b"] {
            rows.push(Row { sensor: sensor.to_owned(), ..Row::new(0, *at_us, &[1.0]) });
        }
    }
    let mut batch = batch(0, &rows);
    let (mark, _) = placer.place(&mut batch, &mut EpochPartials::default());
    let late = batch.late.chunks_exact(2).map(|both| {
        assert_eq!(both[0], both[1]);
        both[0]
    });
    (late.collect(), mark)
}

#[test]
fn a_reading_is_late_from_the_very_microsecond_at_which_its_pane_is_a_minute_past() {
    // Pane 0 ends at 1 min and stays open for 1 min more; the watermark trails by 5 s.
    let bound_us = 2 * MINUTE + 5 * SECOND;
    assert_eq!(place(&mut placer(), &[bound_us - 1, 0]).0, [false, false]);
    assert_eq!(place(&mut placer(), &[bound_us, MINUTE - 1]).0, [false, true]);
    assert_eq!(place(&mut placer(), &[bound_us, MINUTE]).0, [false, false]);
}

#[test]
fn the_first_reading_of_a_partition_is_never_late() {
    assert_eq!(place(&mut placer(), &[-366 * 24 * 60 * MINUTE]).0, [false]);
}

#[test]
fn a_late_reading_moves_neither_the_watermark_nor_a_sum() {
    let mut placer = placer();
    let (_, before) = place(&mut placer, &[10 * MINUTE]);
    let mut late = batch(0, &[Row::new(1, MINUTE, &[1.0])]);
    let mut partials = EpochPartials::default();
    let (after, recent) = placer.place(&mut late, &mut partials);
    assert_eq!(late.late, [true]);
    assert_eq!((after.position.watermark_us, after.position.counts.late), (before.position.watermark_us, 1));
    assert_eq!((partials.finish(), recent), (vec![], vec![]));
}

#[test]
fn a_restart_goes_on_from_the_committed_mark() {
    let (_, mark) = place(&mut placer(), &[10 * MINUTE]);
    let mut resumed = Places::new(&[mark]);
    assert_eq!(place(&mut resumed, &[MINUTE, 9 * MINUTE]).0, [true, false]);
}

#[test]
fn zones_are_told_with_the_batch_that_brings_them_and_not_again() {
    let mut placer = placer();
    let mut first = batch(0, &[Row::new(0, 0, &[1.0])]);
    first.new_zones = vec![Arc::from("Harbour")];
    let told = |batch: &mut Batch, placer: &mut Places| {
        placer.place(batch, &mut EpochPartials::default()).0.new_zones
    };
    assert_eq!(told(&mut first, &mut placer), ["Harbour"]);
    assert_eq!(told(&mut batch(0, &[Row::new(1, 0, &[1.0])]), &mut placer), Vec::<String>::new());
}

/// A reading of the log, and what ends before it.
#[derive(Debug, Clone)]
struct Logged {
    partition: i32,
    at_us: i64,
    sensor: &'static str,
    zone: &'static str,
    value: f64,
    is_anomaly: bool,
    gaps: i64,
    dead: usize,
    ends_batch: bool,
    ends_epoch: bool,
}

fn logged() -> impl Strategy<Value = Logged> {
    // Mostly forward with some disorder, at times far ahead or far behind.
    let at_us = prop_oneof![6 => 0..4 * MINUTE, 2 => 0..20 * MINUTE, 1 => 0..90 * MINUTE];
    let sensor = prop::sample::select(&["a", "b", "c"][..]);
    let zone = prop::sample::select(&ZONES[..]);
    let value = prop_oneof![9 => -1e3..1e3_f64, 1 => Just(f64::NAN)];
    let ends = (prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    (0..2_i32, at_us, (sensor, zone), value, prop::bool::weighted(0.2), 0..3_i64, 0..2_usize, ends).prop_map(
        |(partition, at_us, (sensor, zone), value, is_anomaly, gaps, dead, (ends_batch, ends_epoch))| {
            Logged { partition, at_us, sensor, zone, value, is_anomaly, gaps, dead, ends_batch, ends_epoch }
        },
    )
}

fn dead_letter() -> crate::batch::DeadLetter {
    crate::batch::DeadLetter {
        offset: 0,
        received_at_ms: 0,
        reason: crate::decode::Reason::Empty,
        field: None,
        message: String::new(),
        payload: Vec::new(),
        payload_bytes: 0,
        sensor: None,
    }
}

type Sums = BTreeMap<(Arc<str>, i64), PaneSums>;

fn merge(sums: &mut Sums, partials: EpochPartials) {
    for partial in partials.finish() {
        let metrics = partial.sums.metrics.len();
        let sum = sums.entry((partial.zone, partial.pane_us)).or_insert_with(|| PaneSums::empty(metrics));
        sum.merge(&partial.sums);
    }
}

proptest! {
    #[test]
    fn lateness_sums_and_counts_are_functions_of_the_logs_alone(log in prop::collection::vec(logged(), 1..120)) {
        let mut placer = Places::new(&[Mark::at_start(0, 7), Mark::at_start(1, 0)]);
        let mut partials = EpochPartials::default();
        let mut sums = Sums::new();
        let mut late: [Vec<bool>; 2] = Default::default();
        let mut anomalies = 0;
        let mut flagged = 0;
        let mut marks = [Mark::at_start(0, 7), Mark::at_start(1, 0)];
        for chunk in log.chunk_by(|a, b| a.partition == b.partition && !a.ends_batch) {
            let partition = chunk[0].partition as usize;
            let mut next_offset = marks[partition].position.next_offset;
            let rows: Vec<Row> = chunk.iter().map(|one| {
                next_offset += one.gaps + one.dead as i64 + 1;
                let row = Row::new(next_offset - 1, one.at_us, &[one.value]);
                Row { zone: one.zone.to_owned(), sensor: one.sensor.to_owned(), ..row }
            }).collect();
            let mut batch = batch(partition as i32, &rows);
            // One worker's zones have the same numbers in all of its batches.
            batch.zone_names = Arc::new(ZONES.map(Arc::from).to_vec());
            let number = |one: &Logged| ZONES.iter().position(|zone| *zone == one.zone).unwrap() as u32;
            batch.zones = chunk.iter().map(number).collect();
            batch.progress.gaps = chunk.iter().map(|one| one.gaps).sum();
            batch.dead = vec![dead_letter(); chunk.iter().map(|one| one.dead).sum()];
            let judged = chunk.iter().enumerate().filter(|(_, one)| one.is_anomaly);
            batch.anomalies = judged.map(|(row, _)| Anomaly {
                row: row as u32, score: 1.0, severity: Severity::High, flagged_by: FlaggedBy::Rules, found_by: Member::Rule,
                reasons: String::new(),
            }).collect();
            let (mark, recent) = placer.place(&mut batch, &mut partials);
            anomalies += recent.len();
            flagged += Tally::of(&batch).anomalies();
            late[partition].extend(batch.late);
            marks[partition] = mark;
            if chunk[chunk.len() - 1].ends_epoch {
                merge(&mut sums, std::mem::take(&mut partials));
                // As after a restart, from what was committed.
                placer = Places::new(&marks);
            }
        }
        merge(&mut sums, partials);

        let mut expected = Sums::new();
        let mut expected_anomalies = 0;
        for (partition, mark) in marks.iter().enumerate() {
            let of_partition: Vec<&Logged> = log.iter().filter(|one| one.partition as usize == partition).collect();
            let (is_late, watermark_us) = by_definition(of_partition.iter().map(|one| (one.sensor, one.at_us)));
            prop_assert_eq!(&late[partition], &is_late);
            let accepted: Vec<&&Logged> =
                of_partition.iter().zip(&is_late).filter(|(_, late)| !**late).map(|(one, _)| one).collect();
            let Position { first_offset, next_offset, counts, watermark_us: seen_us, .. } = &mark.position;
            prop_assert_eq!(*seen_us, watermark_us);
            prop_assert_eq!(counts.accepted, accepted.len() as i64);
            prop_assert_eq!(counts.late, (is_late.len() - accepted.len()) as i64);
            prop_assert_eq!(
                next_offset - first_offset,
                counts.accepted + counts.late + counts.dead + counts.lost + counts.gaps
            );
            for one in accepted {
                let key = (Arc::from(one.zone), one.at_us.div_euclid(MINUTE) * MINUTE);
                let sum = expected.entry(key).or_insert_with(|| PaneSums::empty(1));
                sum.readings += 1;
                sum.anomalies += u64::from(one.is_anomaly);
                sum.last_event_us = sum.last_event_us.max(one.at_us);
                sum.metrics[0].add(one.value);
                expected_anomalies += usize::from(one.is_anomaly);
            }
        }
        prop_assert_eq!(anomalies, expected_anomalies);
        prop_assert_eq!(flagged, expected_anomalies as i64);
        prop_assert_eq!(sums, expected);
    }
}
