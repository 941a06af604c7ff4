//! The lines to the letter.

use std::sync::Arc;

use citytide_core::batch::example::{Row, batch};
use citytide_core::batch::{Anomaly, FlaggedBy, Member, Severity};
use citytide_core::detect::Rules;
use citytide_core::window::WindowRow;
use citytide_store::clock;

use super::*;
use crate::commit::plan::Plan;

const MINUTE: i64 = 60_000_000;

fn row(sensor: &str, zone: &str, values: [f64; 5]) -> Row {
    Row { sensor: sensor.to_owned(), zone: zone.to_owned(), ..Row::new(0, 0, &values) }
}

fn anomaly(row: u32) -> Anomaly {
    Anomaly {
        row,
        score: 1.0,
        severity: Severity::High,
        flagged_by: FlaggedBy::Rules,
        found_by: Member::Rule,
        reasons: "[]".to_owned(),
    }
}

#[test]
fn a_normal_and_an_anomalous_reading_are_shown_as_the_domain_says() {
    let rows = [
        row("77", "Downtown", [44.04, 50.0, 91.4, 60.0, 240.0]),
        row("123", "Tech Hub", [21.46, 50.0, 52.0, 60.0, 115.0]),
    ];
    let mut batch = batch(0, &rows);
    Rules::new(&Domain::smart_city()).score(&mut batch);
    assert_eq!(
        Sample::default().lines(&Domain::smart_city(), &batch, clock::instant()),
        [
            "✓ #123 Tech Hub · 21.5 °C · AQI 52 · traffic 115",
            "✗ #77 Downtown · temperature > 40 · 44.0 °C · AQI 91 · traffic 240",
        ]
    );
}

#[test]
fn a_missing_value_is_left_out_and_every_broken_rule_is_told() {
    let mut batch = batch(0, &[row("9", "Downtown", [-6.0, f64::NAN, f64::NAN, 100.5, 501.0])]);
    Rules::new(&Domain::smart_city()).score(&mut batch);
    assert_eq!(
        Sample::default().lines(&Domain::smart_city(), &batch, clock::instant()),
        ["✗ #9 Downtown · temperature < -5 · noise_level > 100 · traffic_flow > 500 · -6.0 °C · traffic 501"]
    );
}

#[test]
fn what_the_model_found_is_told_in_its_sentence_and_no_line_grows_too_wide() {
    let told = |text: &str| {
        let mut batch = batch(0, &[row("8", "Old Town", [21.0, 50.0, 50.0, 96.2, 110.0])]);
        let sentence =
            format!(r#"{{"metric":"noise_level","actual":96.2,"member":"residual","text":"{text}"}}"#);
        let rule = r#"{"metric":"noise_level","actual":96.2,"rule":"> 90"}"#;
        batch.anomalies = vec![Anomaly { reasons: format!("[{rule},{sentence},{sentence}]"), ..anomaly(0) }];
        Sample::default().lines(&Domain::smart_city(), &batch, clock::instant()).remove(0)
    };
    let text = "noise_level 96.2 dB, typical here at this hour 58 ± 6";
    assert_eq!(told("x"), "✗ #8 Old Town · noise_level > 90 · x · x · 21.0 °C · AQI 50 · traffic 110");
    assert_eq!(told(text), format!("✗ #8 Old Town · noise_level > 90 · {text}"), "a second one is too much");
}

#[test]
fn one_of_each_kind_is_shown_in_a_quarter_of_a_second() {
    let values = [21.0, 50.0, 52.0, 60.0, 115.0];
    let normal = batch(0, &[row("1", "Downtown", values)]);
    let mut anomalous = batch(0, &[row("2", "Downtown", values)]);
    anomalous.anomalies = vec![anomaly(0)];
    let (domain, start) = (Domain::smart_city(), clock::instant());
    let mut sample = Sample::default();
    let mut lines =
        |batch: &Batch, after_ms| sample.lines(&domain, batch, start + Duration::from_millis(after_ms)).len();
    assert_eq!(lines(&normal, 0), 1);
    assert_eq!(lines(&normal, 249), 0);
    assert_eq!(lines(&anomalous, 249), 1, "anomalies are counted apart");
    assert_eq!(lines(&normal, 250), 1);
    assert_eq!(lines(&batch(0, &[]), 1000), 0);
}

#[test]
fn windows_are_shown_when_they_close_by_their_end() {
    let closed = |window: usize, zone: &str, start_us: i64, is_final: bool| {
        let domain = Domain::smart_city();
        let figure = |average: f64| Some((average, average - 1.0, average + 1.0));
        WindowRow {
            window,
            zone: Arc::from(zone),
            start_us,
            end_us: start_us + domain.windows[window].size_us,
            readings: 1_480,
            anomalies: 3,
            figures: vec![figure(23.14), figure(50.0), None, figure(60.0), figure(181.6)],
            is_final,
        }
    };
    let rows = [
        closed(1, "Downtown", -4 * MINUTE, true),
        closed(0, "Tech Hub", 0, true),
        closed(0, "Downtown", 0, true),
        closed(0, "Downtown", -MINUTE, true),
        closed(0, "Downtown", MINUTE, false),
    ];
    let mut plan = Plan::default();
    for row in rows {
        plan.windows.insert((row.window, row.zone.clone(), row.start_us), row);
    }
    let rest = "1,480 readings · avg 23.1 °C · avg traffic 182 · 3 anomalies";
    assert_eq!(
        windows(&Domain::smart_city(), &Committed { epoch: 50, plan, took: Duration::ZERO }),
        [
            format!("1 min · Downtown · {rest}"),
            format!("1 min · Downtown · {rest}"),
            format!("1 min · Tech Hub · {rest}"),
            format!("5 min · Downtown · {rest}"),
        ]
    );
}

#[test]
fn lengths_are_told_in_the_greatest_unit_that_divides_them() {
    assert_eq!(length(30_000_000), "30 s");
    assert_eq!(length(90_000_000), "90 s");
    assert_eq!(length(5 * MINUTE), "5 min");
    assert_eq!(length(90 * MINUTE), "90 min");
    assert_eq!(length(120 * MINUTE), "2 h");
}
