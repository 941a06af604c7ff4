//! The univariate member on eight series of the Numenta Anomaly Benchmark, one setting for all, its own scoring.
//!
//! The data is not part of the project: `CITYTIDE_NAB` names its directory, with `combined_windows.json` in it.
//! Without it the test says so and checks nothing.

use std::collections::BTreeMap;
use std::path::Path;

use citytide_evaluate::nab::{LabelledSeries, Profile, nab_score};
use citytide_evaluate::{Series, time_us};

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
                Some((time_us(time)?, value.trim().parse().ok()?))
            })
            .collect();
        let row_of = |time: &str| {
            let at_us = time_us(time);
            rows.iter().position(|row| Some(row.0) == at_us).expect("a window begins and ends with a row")
        };
        let windows = windows.iter().map(|[first, last]| (row_of(first), row_of(last))).collect();
        let labelled = LabelledSeries::new(rows.len(), windows);
        let mut series = Series::default();
        let mut alarms = Vec::new();
        for (row, (at_us, value)) in rows.iter().enumerate() {
            let verdict = series.push(*at_us, *value, row < labelled.probation);
            if verdict.is_some_and(|verdict| verdict.is_alarm) {
                alarms.push(row);
            }
        }
        let (score, hits, false_alarms) = labelled.score(&alarms, Profile::Standard);
        println!("{file}: {score:.2}, {hits} of {} windows, {false_alarms} false", labelled.windows.len());
        scored.push((labelled, alarms));
    }
    let score = nab_score(scored.iter().map(|(labelled, alarms)| (labelled, &alarms[..])), Profile::Standard);
    println!("all: {score:.1}");
    assert!(score >= LEAST, "{score}");
}
