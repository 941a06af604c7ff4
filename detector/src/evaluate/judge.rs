//! A whole table judged as the dataflow would have judged it, one tick after the other.

use std::sync::Arc;

use super::table::Table;
use super::watch::Watch;
use crate::layout::Layout;
use crate::member::Member;
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
