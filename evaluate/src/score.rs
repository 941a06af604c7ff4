//! Scores a table as a run would have scored the stream; or, where the rows are not a stream, all at once.

use std::sync::Arc;

use citytide_detector::{CERTAIN, Layout, Member, score_of};
use serde::Serialize;

use crate::{Table, recording, score_stream};

/// The verdicts on all rows of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// Scores, 0 to 1: those of `anomaly_score`, except that a broken rule is a member like the others here (0.92
    /// instead of 1), so that it does not rank above everything that is more unusual.
    pub scores: Vec<f32>,
    /// Whether the rules or the model flag the row.
    pub flags: Vec<bool>,
    /// For flagged rows, the member with the largest surprise.
    pub found_by: Vec<Option<Member>>,
    /// Whether more than the rules could judge the row.
    pub is_known: Vec<bool>,
    /// Why the rows were not scored as a stream.
    pub as_table: Option<AsTable>,
}

/// Why rows are scored as a table, all at once, and not as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AsTable {
    /// There is one series, and no row of it says anything about the next one: nothing can be learnt from the past.
    NoPast,
    /// There are too few rows: on more than half of them only the rules could judge.
    TooShort,
    /// Rows follow on one another, but there are too few days or series for baselines: each series is scored as a
    /// whole.
    Recording,
}

/// A metric has a past if being above its median at one row and at the next one correlate by more than this. For
/// normally distributed values this corresponds to a correlation of 0.45; single large values do not change it.
const PAST: f64 = 0.3;
/// A metric is ignored if, because of ties, a smaller share of its values than this lies above the median.
const UPPER_LEAST: f64 = 0.05;
/// Rows that this is computed from, at most.
const PAST_ROWS_MAX: usize = 100_000;
/// A recording is shorter than this,
const SPAN_US: i64 = 2 * 86_400_000_000;
/// has at most this many series per zone,
const SERIES_FEW: usize = 5;
/// and at least this many rows per series.
const SERIES_ROWS: usize = 200;

/// Scores all rows; `from` is the first that counts. `forest_scores` are those of the reference forest on raw values,
/// which scores what is not a stream: the share that the layout expects to be anomalous is flagged, as scikit-learn's
/// `contamination` does, and what breaks a rule.
pub fn score_table(
    table: &Table,
    layout: &Arc<Layout>,
    from: usize,
    forest_scores: impl FnOnce() -> Option<Vec<f32>>,
) -> Scored {
    let mut as_table = (table.series_count() == 1 && !has_past(table)).then_some(AsTable::NoPast);
    let mut scored = None;
    if as_table.is_none() {
        if is_recording(table, from) {
            return score_recording(table, layout, from);
        }
        let stream = score_stream(table, layout, &[]);
        let known = stream.is_known[from..].iter().filter(|is_known| **is_known).count();
        as_table = (known * 2 < table.rows() - from).then_some(AsTable::TooShort);
        scored = Some(stream);
    }
    match as_table.and_then(|as_table| Some((as_table, forest_scores()?))) {
        Some((as_table, scores)) => score_by_forest(table, layout, from, as_table, &scores),
        // Where no forest can be fitted on so few rows, the stream is what is left.
        None => scored.unwrap_or_else(|| score_stream(table, layout, &[])),
    }
}

fn score_by_forest(table: &Table, layout: &Layout, from: usize, as_table: AsTable, scores: &[f32]) -> Scored {
    let mut sorted = scores[from..].to_vec();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted[((sorted.len() - 1) as f64 * (1.0 - layout.contamination)) as usize];
    let mut scored =
        Scored { as_table: Some(as_table), is_known: vec![true; table.rows()], ..Scored::default() };
    for (score, breaks_rule) in scores.iter().zip(broken_rules(table, layout)) {
        scored.scores.push(if breaks_rule { 1.0 } else { *score });
        scored.flag(breaks_rule, *score > threshold, Member::Forest);
    }
    scored
}

/// Whether the rows are a recording: too short to be scored as a stream, and long enough to be scored as a whole. Rows
/// that only teach are a past, and many series in a zone make up for days.
fn is_recording(table: &Table, from: usize) -> bool {
    let (first_us, last_us) = table.span_us();
    let series = table.series_count();
    let is_short = last_us - first_us < SPAN_US && series <= SERIES_FEW * table.zone_names.len();
    from == 0 && is_short && table.rows() >= SERIES_ROWS * series && has_past(table)
}

/// Scores a recording: all rows of a series at once, and by the rules.
fn score_recording(table: &Table, layout: &Layout, from: usize) -> Scored {
    let surprises = recording::surprises(table);
    let threshold = recording::threshold(&surprises[from..], layout);
    let as_table = Some(AsTable::Recording);
    let mut scored = Scored { as_table, is_known: vec![true; table.rows()], ..Scored::default() };
    for (breaks_rule, (surprise, member)) in broken_rules(table, layout).into_iter().zip(surprises) {
        scored.scores.push(score_of(if breaks_rule { surprise.max(CERTAIN) } else { surprise }));
        scored.flag(breaks_rule, surprise >= threshold, member);
    }
    scored
}

impl Scored {
    /// Appends the flag of a row and who found it.
    fn flag(&mut self, breaks_rule: bool, is_odd: bool, member: Member) {
        let member = if breaks_rule { Member::Rule } else { member };
        self.flags.push(breaks_rule || is_odd);
        self.found_by.push((breaks_rule || is_odd).then_some(member));
    }
}

/// Whether in some metric a value says something about the next one of its series: whether it tends to be above the
/// median when the one before it is.
fn has_past(table: &Table) -> bool {
    // One series after the other.
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
        // In a metric that nearly always has the same value, few pairs would decide.
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

/// For each row, whether it breaks a rule.
pub(crate) fn broken_rules(table: &Table, layout: &Layout) -> Vec<bool> {
    let mut broken = vec![false; table.rows()];
    for (column, metric) in table.metrics.iter().zip(&layout.metrics) {
        for (is_broken, value) in broken.iter_mut().zip(column) {
            *is_broken |= *value < metric.below || *value > metric.above;
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;
    use crate::testing::{Numbers, build};

    fn table(rows: usize, mut value: impl FnMut(usize, &mut Numbers) -> f64) -> (Table, Arc<Layout>) {
        let mut numbers = Numbers(9);
        let rows = (0..rows).map(|row| (row as i64 * 1_000_000, "all", None, [value(row, &mut numbers)]));
        let table = build(&["heat"], rows);
        let layout = Arc::new(table.layout(None));
        (table, layout)
    }

    #[test]
    fn rows_without_a_past_are_scored_as_a_table() {
        let (table, layout) = table(2_000, |_, numbers| numbers.normal());
        let odd: Vec<f32> = (0..2_000).map(|row| row as f32 / 2_000.0).collect();
        let scored = score_table(&table, &layout, 0, || Some(odd.clone()));
        assert_eq!((scored.as_table, &scored.scores), (Some(AsTable::NoPast), &odd));
        assert_eq!(scored.flags.iter().filter(|flag| **flag).count(), 100);
    }

    #[test]
    fn a_table_is_scored_alike_to_the_bit_and_otherwise_with_another_seed() {
        let scores = |seed: u64| {
            let (mut table, layout) = table(2_000, |_, numbers| numbers.normal());
            table.seed = seed;
            let forest = || Reference::ForestRaw.score(&table, &layout, 0).map(|(scores, _)| scores);
            score_table(&table, &layout, 0, forest).scores
        };
        assert_eq!(scores(7), scores(7));
        assert_ne!(scores(7), scores(8));
    }

    #[test]
    fn a_metric_that_is_mostly_nothing_has_no_past_by_itself() {
        let (table, layout) = table(2_000, |_, numbers| (numbers.normal() - 1.0).max(0.0));
        let scored = score_table(&table, &layout, 0, || Some(vec![0.5; 2_000]));
        assert_eq!(scored.as_table, Some(AsTable::NoPast));
    }

    #[test]
    fn a_series_is_scored_as_a_stream_unless_it_is_too_short() {
        let wave = |row: usize, numbers: &mut Numbers| (row as f64 / 50.0).sin() + 0.1 * numbers.normal();
        let (long, layout) = table(3_000, wave);
        let scored = score_table(&long, &layout, 1_000, || unreachable!("it is a stream"));
        assert_eq!((scored.as_table, scored.scores.len()), (None, 3_000));
        let scored = score_table(&long, &layout, 0, || unreachable!("it is a recording"));
        assert_eq!((scored.as_table, scored.scores.len()), (Some(AsTable::Recording), 3_000));
        let (short, layout) = table(150, wave);
        let scored = score_table(&short, &layout, 0, || Some(vec![0.5; 150]));
        assert_eq!(scored.as_table, Some(AsTable::TooShort));
    }

    #[test]
    fn what_is_too_short_for_a_forest_too_is_left_to_the_rules() {
        let (table, layout) = table(20, |_, numbers| numbers.normal());
        let scored = score_table(&table, &layout, 0, || None);
        assert_eq!((scored.as_table, scored.scores), (None, vec![0.0; 20]));
    }
}
