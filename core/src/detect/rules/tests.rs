//! Bounds, reasons to the letter, and rows in order.

use super::*;
use crate::batch::example::{Row, batch};

/// temperature < −5 or > 40, humidity, aqi > 300, noise_level > 100, traffic_flow > 500.
fn reasons(values: [f64; 5]) -> Option<String> {
    let mut batch = batch(0, &[Row::new(0, 0, &values)]);
    Rules::new(&Domain::smart_city()).score(&mut batch);
    assert!(batch.anomalies.len() <= 1);
    batch.anomalies.pop().map(|anomaly| {
        assert_eq!((anomaly.row, anomaly.score, anomaly.severity), (0, 1.0, Severity::High));
        anomaly.reasons
    })
}

const NORMAL: [f64; 5] = [21.5, 50.0, 80.0, 60.0, 150.0];

#[test]
fn a_broken_rule_is_told_with_the_value_and_the_bound() {
    let [temperature, humidity, _, noise, traffic] = NORMAL;
    assert_eq!(
        reasons([temperature, humidity, 320.0, noise, traffic]).as_deref(),
        Some(
            r#"[{"metric":"aqi","actual":320,"unit":"AQI","rule":"> 300","text":"aqi 320 AQI, above the bound of 300"}]"#
        )
    );
}

#[test]
fn bounds_do_not_belong_to_the_anomalies() {
    let [_, humidity, _, _, _] = NORMAL;
    assert_eq!(reasons([-5.0, humidity, 300.0, 100.0, 500.0]), None);
    assert_eq!(reasons([40.0, humidity, 300.0, 100.0, 500.0]), None);
    assert!(reasons([40_f64.next_up(), humidity, 300.0, 100.0, 500.0]).is_some());
    assert!(reasons([(-5_f64).next_down(), humidity, 300.0, 100.0, 500.0]).is_some());
}

#[test]
fn a_missing_value_breaks_no_rule_and_neither_does_a_metric_without_one() {
    assert_eq!(reasons([f64::NAN; 5]), None);
    assert_eq!(reasons([21.5, 1e12, f64::NAN, f64::NAN, f64::NAN]), None);
}

#[test]
fn several_reasons_come_in_the_order_of_the_metrics() {
    let expected = [
        r#"[{"metric":"temperature","actual":-5.25,"unit":"°C","rule":"< -5","#,
        r#""text":"temperature -5.25 °C, below the bound of -5"},"#,
        r#"{"metric":"aqi","actual":300.1,"unit":"AQI","rule":"> 300","text":"aqi 300.1 AQI, above the bound of 300"},"#,
        r#"{"metric":"traffic_flow","actual":501,"unit":"vehicles/min","rule":"> 500","#,
        r#""text":"traffic_flow 501 vehicles/min, above the bound of 500"}]"#,
    ];
    assert_eq!(reasons([-5.25, 50.0, 300.1, 60.0, 501.0]), Some(expected.concat()));
}

#[test]
fn a_unit_with_quotes_is_json_that_reads_back() {
    let text = "name = \"p\"\ntopic = \"t\"\n[[metrics]]\nname = \"m\"\nunit = 'a \"b\\'\nanomalous = { above = 1 }\n";
    let domain = Domain::parse("p.toml", text).expect("right");
    let mut batch = batch(0, &[Row::new(0, 0, &[2.0])]);
    Rules::new(&domain).score(&mut batch);
    let json: serde_json::Value = serde_json::from_str(&batch.anomalies[0].reasons).expect("JSON");
    assert_eq!(
        (&json[0]["unit"], &json[0]["text"]),
        (&r#"a "b\"#.into(), &r#"m 2 a "b\, above the bound of 1"#.into())
    );
}

#[test]
fn the_greatest_and_the_closest_values_are_json_that_reads_back_as_the_same_double() {
    for actual in [1e12, 300_f64.next_up(), 301.7, 123_456_789.123_456_7] {
        let text = reasons([21.5, 50.0, actual, 60.0, 150.0]).expect("above 300");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json[0]["actual"].as_f64().map(f64::to_bits), Some(actual.to_bits()), "{text}");
    }
}

#[test]
fn anomalies_are_sorted_by_row_and_those_of_an_earlier_verdict_are_forgotten() {
    let hot = [41.0, 50.0, 80.0, 60.0, 150.0];
    let loud = [21.5, 50.0, 80.0, 101.0, 150.0];
    let rows: Vec<Row> =
        [loud, NORMAL, hot, NORMAL, loud].iter().map(|values| Row::new(0, 0, values)).collect();
    let mut batch = batch(0, &rows);
    let mut rules = Rules::new(&Domain::smart_city());
    rules.score(&mut batch);
    rules.score(&mut batch);
    let judged: Vec<u32> = batch.anomalies.iter().map(|anomaly| anomaly.row).collect();
    assert_eq!(judged, [0, 2, 4]);
    assert!(batch.anomalies[1].reasons.contains("temperature"));
}
