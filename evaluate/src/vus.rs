//! The volume under the precision-recall surface, VUS-PR (Paparrizos et al.: Volume Under the Surface, 2022): average
//! precision with labels that fade out over a buffer on either side of each event, averaged over the widths of the buffer.
//!
//! A score a little before or behind an event counts in part; nothing within the event is adjusted.

use crate::Table;

/// Greatest width of the buffer, in readings, as the authors' program takes where a series has no period.
const BUFFER_MAX: usize = 100;
/// Widths of the buffer that are averaged: 0, 10, … 100.
const WIDTHS: usize = 11;

/// VUS-PR of the rows from `from` on; `None` when nothing is anomalous.
pub fn vus_pr(table: &Table, labels: &[bool], scores: &[f32], from: usize) -> Option<f64> {
    if !labels[from..].iter().any(|label| *label) {
        return None;
    }
    let series = table.rows_by_series(from);
    let mut order: Vec<usize> = (from..table.rows()).collect();
    let score = |row: usize| if scores[row].is_nan() { f32::NEG_INFINITY } else { scores[row] };
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    let widths = (0..WIDTHS).map(|step| step * BUFFER_MAX / (WIDTHS - 1));
    let areas = widths.map(|width| {
        let (weights, events) = faded(&series, labels, table.rows(), width);
        area(&order, &score, labels, &weights, &events)
    });
    Some(areas.sum::<f64>() / WIDTHS as f64)
}

/// The weight of each row, 1 within an event and √(1 − distance / width) beside it; and the event that each row within or
/// near one belongs to, by number from 0.
fn faded(series: &[Vec<usize>], labels: &[bool], rows: usize, width: usize) -> (Vec<f32>, Vec<Option<u32>>) {
    let (mut weights, mut events) = (vec![0.0f32; rows], vec![None; rows]);
    let mut count = 0u32;
    let half = width / 2;
    for rows in series {
        let mut at = 0;
        while at < rows.len() {
            if !labels[rows[at]] {
                at += 1;
                continue;
            }
            let end = at + rows[at..].iter().take_while(|row| labels[**row]).count();
            let (first, last) = (at.saturating_sub(half), (end + half).min(rows.len()));
            for (near, &row) in rows.iter().enumerate().take(last).skip(first) {
                let distance = if near < at { at - near } else { (near + 1).saturating_sub(end) };
                let weight =
                    if distance == 0 { 1.0 } else { (1.0 - distance as f32 / width as f32).max(0.0).sqrt() };
                weights[row] = weights[row].max(weight);
                events[row].get_or_insert(count);
            }
            count += 1;
            at = end;
        }
    }
    (weights, events)
}

/// The area under precision and recall of all thresholds: recall counts weights, times the share of events that a score
/// above the threshold has reached.
fn area(
    order: &[usize],
    score: &impl Fn(usize) -> f32,
    labels: &[bool],
    weights: &[f32],
    events: &[Option<u32>],
) -> f64 {
    let anomalous = order.iter().filter(|row| labels[**row]).count() as f64;
    let faded: f64 = order.iter().map(|row| f64::from(weights[*row])).sum();
    // The mean of the labels and the faded ones, as the authors take it: a buffer must not make recall unreachable.
    let all = (anomalous + faded) / 2.0;
    let mut is_reached = vec![false; events.iter().flatten().max().map_or(0, |last| *last as usize + 1)];
    let (mut reached, mut hits, mut flagged) = (0usize, 0.0, 0.0);
    let (mut area, mut recall_before) = (0.0f64, 0.0f64);
    for group in order.chunk_by(|a, b| score(*a) == score(*b)) {
        for row in group {
            hits += f64::from(weights[*row]);
            if let Some(event) = events[*row]
                && !std::mem::replace(&mut is_reached[event as usize], true)
            {
                reached += 1;
            }
        }
        flagged += group.len() as f64;
        let existing = reached as f64 / is_reached.len() as f64;
        let recall = (hits / all).min(1.0) * existing;
        area += (recall - recall_before).max(0.0) * hits / flagged;
        recall_before = recall_before.max(recall);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::one_metric;

    fn vus(scores: impl Fn(usize) -> f32) -> f64 {
        let kind = |row: usize| (400..440).contains(&row).then_some("odd");
        let rows: Vec<_> = (0..1_000).map(|row| (row as i64, "a", kind(row))).collect();
        let table = one_metric(&rows);
        let scores: Vec<f32> = (0..1_000).map(scores).collect();
        vus_pr(&table, &table.labels(), &scores, 0).expect("anomalies")
    }

    #[test]
    fn a_score_a_little_early_counts_in_part_and_one_elsewhere_does_not() {
        let at = |range: std::ops::Range<usize>| vus(move |row| f32::from(range.contains(&row)));
        let (exact, early, elsewhere) = (at(400..440), at(380..420), at(700..740));
        // Two thresholds: the event alone, then everything. In closed form, by the definition.
        let of_width = |width: usize| {
            let beside: f64 = (1..=width / 2).map(|step| (1.0 - step as f64 / width as f64).sqrt()).sum();
            let faded = 40.0 + 2.0 * beside;
            let recall = 40.0 / ((40.0 + faded) / 2.0);
            recall + (1.0 - recall) * faded / 1_000.0
        };
        let expected = (0..11).map(|step| of_width(step * 10)).sum::<f64>() / 11.0;
        assert!((exact - expected).abs() < 1e-6, "{exact} {expected}");
        assert!(early > 0.3 && early < exact - 0.1, "{early}");
        assert!(elsewhere < 0.1, "{elsewhere}");
        let constant = vus(|_| 0.5);
        assert!(constant < 0.1 && constant > 0.0, "{constant}");
    }

    #[test]
    fn without_anomalies_there_is_none() {
        let table = one_metric(&[(0, "a", None), (1, "a", None)]);
        assert_eq!(vus_pr(&table, &table.labels(), &[0.1, 0.2], 0), None);
    }
}
