//! The Numenta Anomaly Benchmark's own scoring, with its three profiles: windows, not points.
//!
//! The earliest alarm in a window earns the more the earlier it is; alarms outside cost, less just behind a window; a
//! window without an alarm costs one. 100 is perfect, 0 is no alarm at all (Lavin, Ahmad: Evaluating Real-Time Anomaly
//! Detection Algorithms, 2015; constants and details as in its `sweeper.py`).

/// What an alarm outside and a missed window cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Standard,
    /// A false alarm costs twice as much.
    RewardLowFp,
    /// A missed window costs twice as much.
    RewardLowFn,
}

impl Profile {
    /// Cost of a false alarm far from any window.
    fn false_alarm(self) -> f64 {
        if self == Profile::RewardLowFp { 0.22 } else { 0.11 }
    }

    /// Cost of a window without an alarm.
    fn missed(self) -> f64 {
        if self == Profile::RewardLowFn { 2.0 } else { 1.0 }
    }
}

/// A labelled series: for each row the window that it lies in.
#[derive(Debug, Clone)]
pub struct LabelledSeries {
    /// Rows at the beginning that are not scored.
    pub probation: usize,
    /// Windows as rows, first and last, ascending and apart.
    pub windows: Vec<(usize, usize)>,
    /// Number of rows.
    pub rows: usize,
}

impl LabelledSeries {
    /// A series with NAB's probation: its first 15 %, 750 rows at most.
    pub fn new(rows: usize, windows: Vec<(usize, usize)>) -> LabelledSeries {
        LabelledSeries { probation: (rows * 15 / 100).min(750), windows, rows }
    }

    /// What alarms at these rows earn: the raw score, windows hit, false alarms.
    pub fn score(&self, alarms: &[usize], profile: Profile) -> (f64, usize, usize) {
        let (mut score, mut hits, mut false_alarms) = (0.0, 0, 0);
        let counted = || alarms.iter().copied().filter(|row| *row >= self.probation);
        for &(first, last) in &self.windows {
            match counted().find(|row| (first..=last).contains(row)) {
                Some(row) => {
                    let length = (last - first + 1) as f64;
                    let place = -((last - row + 1) as f64) / length;
                    score += sigmoid(place) / sigmoid(-1.0);
                    hits += 1;
                }
                None => score -= profile.missed(),
            }
        }
        for row in counted() {
            if self.windows.iter().any(|(first, last)| (*first..=*last).contains(&row)) {
                continue;
            }
            false_alarms += 1;
            let before = self.windows.iter().rev().find(|(_, last)| *last < row);
            let cost = match before {
                None => -1.0,
                Some(&(first, last)) => sigmoid((row - last) as f64 / ((last - first) as f64).max(1.0)),
            };
            score += profile.false_alarm() * cost;
        }
        (score, hits, false_alarms)
    }
}

/// NAB's scaled sigmoid, −1 beyond three windows' lengths.
fn sigmoid(place: f64) -> f64 {
    if place > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * place).exp()) - 1.0 }
}

/// The score of a set of series, 0 … 100: where the alarms stand between none at all and perfection.
pub fn nab_score<'a>(
    series: impl Iterator<Item = (&'a LabelledSeries, &'a [usize])>,
    profile: Profile,
) -> f64 {
    let (mut score, mut windows) = (0.0, 0.0);
    for (labelled, alarms) in series {
        score += labelled.score(alarms, profile).0;
        windows += labelled.windows.len() as f64;
    }
    let none = windows * profile.missed();
    if windows == 0.0 { 0.0 } else { 100.0 * (score + none) / (windows + none) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_alarm_in_a_window_is_worth_most() {
        let series = LabelledSeries::new(1000, vec![(400, 499)]);
        let at = |row: usize| series.score(&[row], Profile::Standard);
        assert!((at(400).0 - 1.0).abs() < 1e-12);
        assert!(at(450).0 < at(401).0 && at(499).0 < at(450).0 && at(499).0 > 0.0);
        assert_eq!((series.score(&[400, 450, 460], Profile::Standard), at(400).1), ((1.0, 1, 0), 1));
    }

    #[test]
    fn false_alarms_cost_less_just_behind_a_window_and_probation_is_free() {
        let series = LabelledSeries::new(1000, vec![(400, 499)]);
        let missed = -1.0;
        assert_eq!(series.score(&[], Profile::Standard), (missed, 0, 0));
        assert_eq!(series.score(&[10, 149], Profile::Standard).0, missed);
        assert!((series.score(&[300], Profile::Standard).0 - (missed - 0.11)).abs() < 1e-12);
        assert!(series.score(&[501], Profile::Standard).0 > series.score(&[560], Profile::Standard).0);
        assert!((series.score(&[900], Profile::Standard).0 - (missed - 0.11)).abs() < 1e-12);
    }

    #[test]
    fn all_windows_at_once_are_a_hundred_and_none_is_nothing() {
        let series = LabelledSeries::new(1000, vec![(400, 499), (700, 749)]);
        let of = |alarms: &[usize]| nab_score([(&series, alarms)].into_iter(), Profile::Standard);
        assert!((of(&[400, 700]) - 100.0).abs() < 1e-9);
        assert!(of(&[]).abs() < 1e-9);
        assert!(of(&[300]) < 0.0);
    }

    #[test]
    fn a_profile_charges_more_for_false_alarms_or_for_missed_windows() {
        let series = LabelledSeries::new(1000, vec![(400, 499), (700, 749)]);
        let of = |profile| nab_score([(&series, &[400, 900][..])].into_iter(), profile);
        // One of two windows at once, one false alarm: 1 − 1 − .11, of 2; null −2, or −4 where a miss costs 2.
        assert!((of(Profile::Standard) - 100.0 * 1.89 / 4.0).abs() < 1e-9);
        assert!((of(Profile::RewardLowFp) - 100.0 * 1.78 / 4.0).abs() < 1e-9);
        assert!((of(Profile::RewardLowFn) - 100.0 * (1.0 - 2.0 - 0.11 + 4.0) / 6.0).abs() < 1e-9);
    }
}
