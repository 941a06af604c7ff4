//! Figures of events and alarms instead of readings. Nothing is point-adjusted: they stand beside the other figures.

use serde::Serialize;

use crate::nab::{LabelledSeries, Profile, nab_score};
use crate::vus::vus_pr;
use crate::{Evaluation, Table};

/// After an alarm of a series its flags raise no other one for so many times the median step between two readings.
const ALARM_APART: i64 = 60;

/// Figures of events and alarms; `None` where the labels or flags do not allow one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EventFigures {
    /// Events: runs of anomalous rows of one kind in a series, unless the input numbers them.
    pub events: usize,
    /// Share of the events with at least one flagged row.
    pub event_recall: Option<f64>,
    /// Runs of flagged rows of a series.
    pub alarms: usize,
    /// Share of these with at least one anomalous row.
    pub event_precision: Option<f64>,
    /// Volume under the precision-recall surface.
    pub vus_pr: Option<f64>,
    /// The score of the Numenta Anomaly Benchmark by its three profiles.
    pub nab: Option<NabFigures>,
}

/// Scores of the Numenta Anomaly Benchmark: 100 is perfect, 0 is no alarm at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NabFigures {
    pub standard: f64,
    pub reward_low_fp: f64,
    pub reward_low_fn: f64,
    /// Windows, those with an alarm, and alarms outside.
    pub windows: usize,
    pub hits: usize,
    pub false_alarms: usize,
}

impl EventFigures {
    pub fn new(evaluation: &Evaluation<'_>) -> EventFigures {
        let Evaluation { table, labels, from, scored, .. } = evaluation;
        let series = table.rows_by_series(*from);
        let events: usize = evaluation.by_kind().values().map(|kind| kind.events as usize).sum();
        let seen =
            evaluation.by_kind().values().map(|kind| kind.event_recall * kind.events as f64).sum::<f64>();
        let (mut alarms, mut right) = (0, 0);
        for rows in &series {
            for run in rows.chunk_by(|a, b| scored.flags[*a] == scored.flags[*b]) {
                if scored.flags[run[0]] {
                    alarms += 1;
                    right += usize::from(run.iter().any(|row| labels[*row]));
                }
            }
        }
        EventFigures {
            events,
            event_recall: (events > 0).then(|| seen / events as f64),
            alarms,
            event_precision: (alarms > 0).then(|| f64::from(right as u32) / alarms as f64),
            vus_pr: vus_pr(table, labels, &scored.scores, *from),
            nab: (events > 0).then(|| NabFigures::of([NabSeries::of(evaluation)].iter())),
        }
    }
}

/// Series as NAB sees them: windows, and the rows of the alarms.
#[derive(Debug, Clone, Default)]
pub struct NabSeries(Vec<(LabelledSeries, Vec<usize>)>);

impl NabSeries {
    /// Each run of anomalous rows of a series is a window; see [`alarms`].
    pub fn of(evaluation: &Evaluation<'_>) -> NabSeries {
        let Evaluation { table, labels, from, scored, .. } = evaluation;
        let apart_us = ALARM_APART * table.cadence_us();
        let series = table.rows_by_series(*from).into_iter().map(|rows| {
            let mut windows = Vec::new();
            let mut first = 0;
            for run in rows.chunk_by(|a, b| labels[*a] == labels[*b]) {
                if labels[run[0]] {
                    windows.push((first, first + run.len() - 1));
                }
                first += run.len();
            }
            let mut labelled = LabelledSeries::new(rows.len(), windows);
            if *from > 0 {
                labelled.probation = 0;
            }
            let alarms = alarms(table, &rows, &scored.flags, labelled.probation, apart_us);
            (labelled, alarms)
        });
        NabSeries(series.collect())
    }
}

/// The flagged rows of a series that raise an alarm: the first one after probation, and each one that is `apart_us` behind
/// the last alarm.
fn alarms(table: &Table, rows: &[usize], flags: &[bool], probation: usize, apart_us: i64) -> Vec<usize> {
    let mut last_us = None;
    let counted = rows.iter().enumerate().skip(probation).filter(|(_, row)| flags[**row]);
    let raised = counted.filter(|(_, row)| {
        let at_us = table.event_times_us[**row];
        let is_apart = last_us.is_none_or(|last_us| at_us - last_us > apart_us);
        if is_apart {
            last_us = Some(at_us);
        }
        is_apart
    });
    raised.map(|(at, _)| at).collect()
}

impl NabFigures {
    /// Of all series of some tables together.
    pub fn of<'a>(tables: impl Iterator<Item = &'a NabSeries> + Clone) -> NabFigures {
        let series = || tables.clone().flat_map(|table| &table.0);
        let score = |profile| nab_score(series().map(|(labelled, alarms)| (labelled, &alarms[..])), profile);
        let mut figures = NabFigures {
            standard: score(Profile::Standard),
            reward_low_fp: score(Profile::RewardLowFp),
            reward_low_fn: score(Profile::RewardLowFn),
            windows: 0,
            hits: 0,
            false_alarms: 0,
        };
        for (labelled, alarms) in series() {
            let (_, hits, false_alarms) = labelled.score(alarms, Profile::Standard);
            figures.windows += labelled.windows.len();
            (figures.hits, figures.false_alarms) = (figures.hits + hits, figures.false_alarms + false_alarms);
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Scored;
    use crate::testing::one_metric;

    #[test]
    fn alarms_and_events_are_runs_within_a_series() {
        let odd = |step: i64| (300..310).contains(&step).then_some("odd");
        let rows: Vec<_> = (0..400).flat_map(|step| [(step, "a", odd(step)), (step, "b", None)]).collect();
        let table = one_metric(&rows);
        let flags =
            (0..800).map(|row| [(604, 0), (606, 0), (201, 1), (203, 1), (205, 1)].contains(&(row, row % 2)));
        let scored = Scored {
            flags: flags.collect(),
            scores: vec![0.5; 800],
            found_by: vec![None; 800],
            is_known: vec![true; 800],
            as_table: None,
        };
        let labels = table.labels();
        let evaluation = Evaluation { table: &table, labels, from: 0, scored, comparison: BTreeMap::new() };
        let figures = EventFigures::new(&evaluation);
        assert_eq!((figures.events, figures.event_recall), (1, Some(1.0)));
        assert_eq!((figures.alarms, figures.event_precision), (2, Some(0.5)));
        let nab = figures.nab.expect("events");
        assert_eq!((nab.windows, nab.hits, nab.false_alarms), (1, 1, 1));
        assert!(nab.reward_low_fp < nab.standard && nab.reward_low_fn > nab.standard);
    }
}
