//! The lines to the letter.

use super::*;

/// 2026-11-21 12:00:49 UTC.
const AT_US: i64 = 1_795_262_449_123_456;

fn reading() -> Reading {
    Reading {
        epoch: 1_795_262_449_200,
        partition: 0,
        offset: 4711,
        sensor: "8".to_owned(),
        zone: "Old Town".to_owned(),
        recorded_us: AT_US,
        values: vec![Some(110.0), Some(21.04), Some(55.5), None, Some(96.2)],
        is_late: false,
        is_anomaly: false,
        score: 0.25,
        severity: None,
        reasons: None,
        model_version: 3,
        confidence: Some(0.5),
        detector: None,
    }
}

fn anomalous(text: &str) -> Reading {
    Reading {
        is_anomaly: true,
        severity: Some("high".to_owned()),
        reasons: Some(
            json!([{"metric": "noise_level", "text": text}, {"metric": "aqi", "text": "x"}]).to_string(),
        ),
        ..reading()
    }
}

/// The columns of a database may have another order than the domain's metrics.
fn printer(only: Option<&str>, json: bool) -> Printer {
    let names = ["traffic_flow", "temperature", "humidity", "aqi", "noise_level"].map(str::to_owned);
    Printer::new(&Domain::smart_city(), &names, only, json)
}

fn letter_of(payload: &[u8]) -> DeadLetter {
    DeadLetter {
        epoch: 1_795_262_449_200,
        partition: 3,
        offset: 1_234_567,
        received_at_us: AT_US,
        reason: "not_json".to_owned(),
        field: None,
        message: "it is no JSON".to_owned(),
        payload: payload.to_vec(),
        payload_bytes: payload.len() as i32,
        sensor: None,
    }
}

#[test]
fn a_reading_is_a_line_and_an_anomaly_says_below_where_it_is_how_severe_and_why() {
    let printer = printer(None, false);
    assert_eq!(printer.readings(&[reading()]).0, "12:00:49 ✓ #8 Old Town · 21.0 °C · traffic 110\n");
    let late = Reading { is_late: true, ..reading() };
    assert_eq!(printer.readings(&[late]).0, "12:00:49 ✓ #8 Old Town · late · 21.0 °C · traffic 110\n");
    let (text, rows) = printer.readings(&[anomalous("noise_level 96 dB, typical here at this hour 58 ± 6")]);
    assert_eq!(
        text,
        "12:00:49 ✗ #8 Old Town · 21.0 °C · traffic 110\n         \
         0:4711 · high · noise_level 96 dB, typical here at this hour 58 ± 6\n"
    );
    assert_eq!(rows, 1);
}

#[test]
fn no_line_is_wider_than_a_terminal_or_holds_what_one_would_obey() {
    let printer = printer(None, false);
    let wide =
        Reading { sensor: "\u{1b}[2J".to_owned(), zone: "ü".repeat(200), ..anomalous(&"x\n".repeat(100)) };
    let (text, _) = printer.readings(&[wide]);
    let (letters, _) = printer.letters(&[letter_of(b"{\"a\":\n\t\x1b\xff"), letter_of(&[b'['; 70_000])]);
    let lines: Vec<String> = (text + &letters).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4);
    for line in &lines {
        assert!(line.chars().count() <= 80 && !line.chars().any(char::is_control), "{line:?}");
    }
    assert!(lines[0].starts_with("12:00:49 ✗ #\\u{1b}[2J ü") && lines[0].ends_with('…'), "{}", lines[0]);
    assert_eq!(lines[2], "12:00:49 ! 3:1234567 · not_json · {\"a\":\\n\\t\\u{1b}\u{fffd}");
    assert!(lines[3].ends_with("[…"));
}

#[test]
fn of_one_metric_only_its_value_is_shown_also_where_the_domain_shows_none() {
    assert_eq!(
        printer(Some("temperature"), false).readings(&[reading()]).0,
        "12:00:49 ✓ #8 Old Town · 21.0 °C\n"
    );
    assert_eq!(
        printer(Some("humidity"), false).readings(&[reading()]).0,
        "12:00:49 ✓ #8 Old Town · humidity 55.5 %\n"
    );
}

#[test]
fn an_object_has_everything_that_is_known() {
    let (text, rows) = printer(None, true).readings(&[anomalous("y"), reading()]);
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((objects.len(), rows), (2, 2));
    assert_eq!(
        objects[1],
        json!({
            "kind": "reading", "epoch": 1_795_262_449_200_i64, "partition": 0, "offset": 4711, "sensor": "8",
            "zone": "Old Town", "recorded_at": "2026-11-21T12:00:49.123456+00:00",
            "values": {"traffic_flow": 110.0, "temperature": 21.04, "humidity": 55.5, "aqi": null, "noise_level": 96.2},
            "is_late": false, "is_anomaly": false, "score": 0.25, "severity": null, "reasons": null, "detector": null,
            "confidence": 0.5, "model_version": 3
        })
    );
    assert_eq!(objects[0]["reasons"][0]["text"], "y");
    let (text, _) = printer(None, true).letters(&[letter_of(b"hello")]);
    let letter: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&letter["kind"], &letter["payload"]), (&json!("dead_letter"), &json!("hello")));
}
