//! The univariate member on eight series of the Numenta Anomaly Benchmark, one setting for all, its own scoring.
//!
//! The data is not part of the project: `CITYTIDE_NAB` names its directory, with `combined_windows.json` in it.
//! Without it the test says so and checks nothing.

use std::collections::BTreeMap;
use std::path::Path;

use citytide_detector::Series;
use citytide_detector::evaluate::nab::{LabelledSeries, nab_score};

/// What one setting must reach on all of them; 76 was measured, random alarms earn 11.
const LEAST: f64 = 70.0;

#[test]
fn the_univariate_member_reaches_its_score_on_the_benchmarks_traffic_and_temperature() {
    let Some(root) = std::env::var_os("CITYTIDE_NAB") else {
        eprintln!("skipped: CITYTIDE_NAB does not name the benchmark's data");
        return;
    };
    let root = Path::new(&root);
    let text = std::fs::read_to_string(root.join("combined_windows.json")).expect("windows");
    let windows: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(&text).expect("windows");
    let mut scored = Vec::new();
    for (file, windows) in &windows {
        let text = std::fs::read_to_string(root.join(file)).expect("a series");
        let rows: Vec<(i64, f64)> = text
            .lines()
            .skip(1)
            .filter_map(|line| {
                let (time, value) = line.split_once(',')?;
                Some((seconds(time), value.trim().parse().ok()?))
            })
            .collect();
        let row_of = |time: &str| {
            let at = seconds(time.split('.').next().expect("seconds"));
            rows.iter().position(|row| row.0 == at).expect("a window begins and ends with a row")
        };
        let windows = windows.iter().map(|[first, last]| (row_of(first), row_of(last))).collect();
        let labelled = LabelledSeries::new(rows.len(), windows);
        let mut series = Series::default();
        let mut alarms = Vec::new();
        for (row, (at_s, value)) in rows.iter().enumerate() {
            let verdict = series.push(at_s * 1_000_000, *value, row < labelled.probation);
            if verdict.is_some_and(|verdict| verdict.is_alarm) {
                alarms.push(row);
            }
        }
        let (score, hits, false_alarms) = labelled.score(&alarms);
        println!("{file}: {score:.2}, {hits} of {} windows, {false_alarms} false", labelled.windows.len());
        scored.push((labelled, alarms));
    }
    let score = nab_score(scored.iter().map(|(labelled, alarms)| (labelled, &alarms[..])));
    println!("all: {score:.1}");
    assert!(score >= LEAST, "{score}");
}

/// `2015-09-01 13:45:00` in seconds of the Unix epoch, taken as UTC.
fn seconds(time: &str) -> i64 {
    let part = |from: usize, to: usize| time[from..to].parse::<i64>().expect("a time");
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    // Days since the epoch: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * 86_400 + part(11, 13) * 3_600 + part(14, 16) * 60 + part(17, 19)
}
