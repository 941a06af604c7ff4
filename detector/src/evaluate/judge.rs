//! A whole table judged as the dataflow would have judged it, one tick after the other; or, where rows have no past, as
//! a table.

use std::sync::Arc;

use serde::Serialize;

use super::recording;
use super::table::Table;
use super::watch::Watch;
use crate::layout::Layout;
use crate::member::{CERTAIN, Member};
use crate::sample::Sample;
use crate::verdict::score_of;
use crate::zone::Level;

/// As in a domain file without settings of its own: rows of a training, how far back they reach, time between two.
const TRAIN_ROWS_MAX: usize = 10_000;
const TRAIN_WINDOW_US: i64 = 7 * 86_400_000_000;
const TRAIN_EVERY_US: i64 = 6 * 3_600_000_000;

/// Verdicts on all rows of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Scores, 0 … 1: those of `anomaly_score`, but that a broken rule is a member like the others here (.92, not 1), so
    /// that ranking does not put it above all that is odder.
    pub scores: Vec<f32>,
    /// Whether rules or model flag the row.
    pub flags: Vec<bool>,
    /// Who was most surprised, for the flagged rows.
    pub found_by: Vec<Option<Member>>,
    /// Whether more than the rules could speak.
    pub is_known: Vec<bool>,
    /// Why the rows were not judged as a stream.
    pub as_table: Option<AsTable>,
}

/// Why rows were judged as a table, all at once, and not as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AsTable {
    /// One series, of which no row says anything of the next: there is nothing to learn from the past.
    NoPast,
    /// Too few rows for more than the rules to speak on half of them.
    TooShort,
    /// Rows follow on one another, and there are too few days or series for baselines: each series is looked at whole.
    Recording,
}

/// Below this correlation between a value's being in the upper half and the next one's (in each metric) a row has no past.
/// It is .3 where normally distributed neighbours correlate by .45, and what is far off does not move it.
const PAST: f64 = 0.3;
/// A metric whose upper half, for ties, is smaller than this says nothing.
const UPPER_LEAST: f64 = 0.05;
/// A recording is shorter than this,
const SPAN_US: i64 = 2 * 86_400_000_000;
/// has at most so many series in a zone,
const SERIES_FEW: usize = 5;
/// and so many rows in a series.
const SERIES_ROWS: usize = 200;
/// Rows from which it is taken.
const PAST_ROWS_MAX: usize = 100_000;

/// Judges all rows: as a stream, or as a table where they are none. `raw` are the scores of the forest on raw values.
/// As a table the share that the layout expects to be anomalous is flagged, as scikit-learn's `contamination` does, and
/// what breaks a rule.
pub fn judge_any(
    table: &Table,
    layout: &Arc<Layout>,
    from: usize,
    raw: impl FnOnce() -> Option<Vec<f32>>,
) -> Judged {
    let mut as_table = (table.sensors() == 1 && !has_past(table)).then_some(AsTable::NoPast);
    let mut judged = Judged::default();
    if as_table.is_none() && is_recording(table, from) {
        return judge_recording(table, layout, from);
    }
    if as_table.is_none() {
        judged = judge(table, layout, &[]);
        let known = judged.is_known[from..].iter().filter(|is| **is).count();
        as_table = (known * 2 < table.rows() - from).then_some(AsTable::TooShort);
    }
    let Some(scores) = as_table.and_then(|_| raw()) else { return judged_or(judged, table, layout) };
    let mut sorted = scores[from..].to_vec();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted[((sorted.len() - 1) as f64 * (1.0 - layout.contamination)) as usize];
    let broken = broken(table, layout);
    let mut judged = Judged { as_table, is_known: vec![true; table.rows()], ..Judged::default() };
    for (row, score) in scores.into_iter().enumerate() {
        let is_odd = score > threshold;
        judged.scores.push(if broken[row] { 1.0 } else { score });
        judged.flags.push(broken[row] || is_odd);
        let member = if broken[row] { Member::Rule } else { Member::Forest };
        judged.found_by.push((broken[row] || is_odd).then_some(member));
    }
    judged
}

/// Whether the rows are a recording that is too short for what a stream is judged by, and long enough to be looked at as a
/// whole. Rows that only teach are a past, and many series of a zone make up for days.
fn is_recording(table: &Table, from: usize) -> bool {
    let span_us = table.event_times_us[table.rows() - 1] - table.event_times_us[0];
    let series = table.sensors();
    let is_short = span_us < SPAN_US && series <= SERIES_FEW * table.zone_names.len();
    from == 0 && is_short && table.rows() >= SERIES_ROWS * series && has_past(table)
}

/// Judges a recording: all rows of a series at once, and by the rules.
fn judge_recording(table: &Table, layout: &Layout, from: usize) -> Judged {
    let surprises = recording::surprises(table);
    let threshold = recording::threshold(&surprises[from..], layout);
    let mut judged = Judged {
        as_table: Some(AsTable::Recording),
        is_known: vec![true; table.rows()],
        ..Judged::default()
    };
    for (is_broken, (surprise, member)) in broken(table, layout).into_iter().zip(surprises) {
        let is_flagged = is_broken || surprise >= threshold;
        judged.scores.push(score_of(if is_broken { surprise.max(CERTAIN) } else { surprise }));
        judged.flags.push(is_flagged);
        judged.found_by.push(is_flagged.then_some(if is_broken { Member::Rule } else { member }));
    }
    judged
}

/// What was judged as a stream; where nothing was, because no forest could be fitted on so few rows, do it now.
fn judged_or(judged: Judged, table: &Table, layout: &Arc<Layout>) -> Judged {
    if judged.scores.is_empty() { judge(table, layout, &[]) } else { judged }
}

/// Whether in some metric a value says something of the next one: whether one is in the upper half of the values when the
/// one before is.
fn has_past(table: &Table) -> bool {
    // One series behind the other.
    let mut order: Vec<usize> = (0..table.rows().min(PAST_ROWS_MAX)).collect();
    order.sort_by_key(|row| (table.series[*row], *row));
    table.metrics.iter().any(|column| {
        let mut values: Vec<f64> =
            order.iter().map(|row| column[*row]).filter(|value| !value.is_nan()).collect();
        if values.is_empty() {
            return false;
        }
        let at = values.len() / 2;
        let middle = *values.select_nth_unstable_by(at, f64::total_cmp).1;
        let upper = values.iter().filter(|value| **value > middle).count() as f64 / values.len() as f64;
        // Of a metric that nearly always has the same value, few pairs would decide.
        if upper.min(1.0 - upper) < UPPER_LEAST {
            return false;
        }
        let pairs = order.windows(2).filter(|rows| table.series[rows[0]] == table.series[rows[1]]);
        let pairs = pairs.map(|rows| [column[rows[0]], column[rows[1]]]);
        let pairs = pairs.filter(|pair| !pair[0].is_nan() && !pair[1].is_nan());
        let (mut both, mut count) = (0.0, 0.0);
        for pair in pairs {
            (both, count) = (both + f64::from(pair[0] > middle && pair[1] > middle), count + 1.0);
        }
        both / count - upper * upper > PAST * upper * (1.0 - upper)
    })
}

/// Which rows break a rule.
pub(super) fn broken(table: &Table, layout: &Layout) -> Vec<bool> {
    let mut broken = vec![false; table.rows()];
    for (column, metric) in table.metrics.iter().zip(&layout.metrics) {
        for (is_broken, value) in broken.iter_mut().zip(column) {
            *is_broken |= *value < metric.below || *value > metric.above;
        }
    }
    broken
}

/// Judges all rows in the order of their times by a detector that knows nothing at the first one, without the members
/// that are `muted`.
pub fn judge(table: &Table, layout: &Arc<Layout>, muted: &[Member]) -> Judged {
    let rows = table.rows();
    let mut watch = Watch::new(layout.clone(), Sample::new(TRAIN_ROWS_MAX, TRAIN_WINDOW_US), TRAIN_EVERY_US);
    muted.iter().for_each(|member| watch.mute(*member));
    let mut judged = Judged { flags: vec![false; rows], found_by: vec![None; rows], ..Judged::default() };
    let mut metrics = Vec::new();
    let mut is_known: Vec<Option<bool>> = Vec::new();
    let mut from = 0;
    while from < rows {
        let tick = layout.tick(table.event_times_us[from]);
        let length = table.event_times_us[from..].partition_point(|at_us| layout.tick(*at_us) == tick);
        let verdicts = watch.judge(table.batch(from, from + length, &mut metrics));
        judged.scores.extend(verdicts.surprises.iter().map(|surprise| score_of(*surprise)));
        for verdict in &verdicts.flagged {
            let row = from + verdict.row as usize;
            judged.flags[row] = true;
            judged.found_by[row] = Member::ALL
                .into_iter()
                .max_by(|a, b| verdict.surprises[*a as usize].total_cmp(&verdict.surprises[*b as usize]));
        }
        is_known.clear();
        is_known.resize(table.zone_names.len(), None);
        for zone in &table.zones[from..from + length] {
            let known = is_known[*zone as usize].get_or_insert_with(|| {
                watch.model().is_some() && watch.level(&table.zone_names[*zone as usize]) > Level::Rules
            });
            judged.is_known.push(*known);
        }
        from += length;
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::super::table::{Gathered, Row};
    use super::*;
    use crate::forest::tests::Numbers;

    fn table(rows: usize, mut value: impl FnMut(usize, &mut Numbers) -> f64) -> (Table, Arc<Layout>) {
        let mut numbers = Numbers(9);
        let mut gathered = Gathered::new(1);
        for row in 0..rows {
            let (line, at_us) = (row + 2, row as i64 * 1_000_000);
            let value = value(row, &mut numbers);
            let row = Row { line, at_us, zone: "all", sensor: "all", kind: None };
            gathered.push(row, [value].into_iter()).expect("few kinds");
        }
        let table = gathered.table(vec![Some("heat".to_owned())]).expect("rows");
        let layout = Arc::new(table.layout(None));
        (table, layout)
    }

    #[test]
    fn rows_without_a_past_are_judged_as_a_table() {
        let (table, layout) = table(2_000, |_, numbers| numbers.normal());
        let odd: Vec<f32> = (0..2_000).map(|row| row as f32 / 2_000.0).collect();
        let judged = judge_any(&table, &layout, 0, || Some(odd.clone()));
        assert_eq!((judged.as_table, &judged.scores), (Some(AsTable::NoPast), &odd));
        assert_eq!(judged.flags.iter().filter(|flag| **flag).count(), 100);
    }

    #[test]
    fn a_metric_that_is_mostly_nothing_has_no_past_by_itself() {
        let (table, layout) = table(2_000, |_, numbers| (numbers.normal() - 1.0).max(0.0));
        let judged = judge_any(&table, &layout, 0, || Some(vec![0.5; 2_000]));
        assert_eq!(judged.as_table, Some(AsTable::NoPast));
    }

    #[test]
    fn a_series_is_judged_as_a_stream_unless_it_is_too_short() {
        let wave = |row: usize, numbers: &mut Numbers| (row as f64 / 50.0).sin() + 0.1 * numbers.normal();
        let (long, layout) = table(3_000, wave);
        let judged = judge_any(&long, &layout, 1_000, || unreachable!("it is a stream"));
        assert_eq!((judged.as_table, judged.scores.len()), (None, 3_000));
        let judged = judge_any(&long, &layout, 0, || unreachable!("it is a recording"));
        assert_eq!((judged.as_table, judged.scores.len()), (Some(AsTable::Recording), 3_000));
        let (short, layout) = table(150, wave);
        let judged = judge_any(&short, &layout, 0, || Some(vec![0.5; 150]));
        assert_eq!(judged.as_table, Some(AsTable::TooShort));
    }

    #[test]
    fn what_is_too_short_for_a_forest_too_is_left_to_the_rules() {
        let (table, layout) = table(20, |_, numbers| numbers.normal());
        let judged = judge_any(&table, &layout, 0, || None);
        assert_eq!((judged.as_table, judged.scores), (None, vec![0.0; 20]));
    }
}
