//! The words to the letter.

use citytide_domain::Domain;
use citytide_store::follow::DeadLetter;
use serde_json::json;

use super::*;
use crate::cli::why::reading::{self, Fate, InWindow, Model, Progress, Reading};
use crate::cli::why::window::{self, Pane, Raw, WindowRow};

const MINUTE: i64 = 60_000_000;
/// 2026-11-21 12:00:00 UTC.
const NOON: i64 = 1_795_262_400_000_000;
const AS_OF: AsOf = AsOf { epoch: 1_795_262_551_000, watermark_us: Some(NOON + 90_000_000), horizon: 0 };

fn commit() -> Commit {
    Commit {
        epoch: 1_795_262_449_250,
        committed_us: NOON + 49_260_000,
        watermark_us: Some(NOON + 40_000_000),
        run_id: 3,
        host: Some("vm".to_owned()),
        is_replay: false,
        offset_ms: 0,
    }
}

fn progress(gaps: i64, lost: i64) -> Progress {
    Progress { source: "kafka:sensor-data/0".to_owned(), first_offset: 100, next_offset: 5_000, lost, gaps }
}

fn record(fate: Fate) -> reading::Answer {
    reading::Answer {
        partition: 0,
        offset: 4711,
        progress: Some(progress(0, 0)),
        fate,
        commit: Some(commit()),
    }
}

fn accepted() -> Reading {
    let window = |name: &str, start_us: i64, minutes: i64, is_final, revision| InWindow {
        name: name.to_owned(),
        start_us,
        end_us: start_us + minutes * MINUTE,
        readings: 1_480,
        is_final,
        revision,
        epoch: 1_795_262_460_000,
    };
    Reading {
        epoch: 1_795_262_449_200,
        sensor: "8".to_owned(),
        zone: "Old Town".to_owned(),
        recorded_us: NOON + 46_123_456,
        values: vec![Some(21.04), Some(55.5), None, Some(96.2), Some(110.0)],
        is_late: false,
        is_anomaly: false,
        score: 0.12,
        severity: None,
        reasons: serde_json::Value::Null,
        model_version: 3,
        confidence: Some(0.984),
        detector: None,
        highest_before_us: Some(NOON + 48_000_000),
        windows: vec![window("1min", NOON, 1, true, 2), window("5min", NOON - 4 * MINUTE, 5, false, 0)],
        model: Some(Model {
            fitted_from_us: NOON - 60 * MINUTE,
            fitted_until_us: NOON - 10 * MINUTE,
            rows: 10_000,
            status: "in_force".to_owned(),
        }),
    }
}

fn told(fate: Fate) -> String {
    of_reading(&record(fate), &Domain::smart_city(), &AS_OF)
}

fn assert_narrow(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn a_normal_reading_says_where_it_came_from_why_it_was_accepted_and_where_it_counts() {
    let text = told(Fate::Reading(Box::new(accepted())));
    assert_narrow(&text);
    assert_eq!(
        text,
        "\
reading     0:4711 of kafka:sensor-data/0: sensor 8 in Old Town, recorded
            2026-11-21 12:00:46.123456 UTC
values      temperature 21.0 °C · humidity 55.5 % · aqi – · noise_level 96.2 dB
            · traffic_flow 110 vehicles/min
read        2026-11-21 12:00:49.200 UTC (epoch 1795262449200), 3 s after it was
            recorded
committed   2026-11-21 12:00:49 UTC at the latest, in commit 1795262449250 of
            run 3 on vm
accepted    its pane 12:00:00 – 12:01:00 had not ended 24 h (allowed_lateness)
            before the watermark of partition 0
windows     1min 12:00:00 – 12:01:00: final, corrected 2 times, 1,480 readings,
            last written in epoch 1795262460000
            5min 11:56:00 – 12:01:00: early, 1,480 readings, last written in
            epoch 1795262460000
normal      score 0.12, confidence 0.98; what was typical is stored with
            anomalies alone
judged by   model 3, fitted on 10,000 readings of 2026-11-21 11:00:00 …
            2026-11-21 11:50:00 UTC
as of       commit 1795262551000, W 2026-11-21 12:01:30 UTC
"
    );
}

#[test]
fn an_anomaly_gives_its_reasons_and_a_late_reading_the_rule_that_made_it_late() {
    let late = Reading {
        is_late: true,
        is_anomaly: true,
        severity: Some("high".to_owned()),
        detector: Some("both".to_owned()),
        reasons: json!([{"text": "noise_level 96.2 dB, typical here at this hour 58 ± 6"}, {"text": "second"}]),
        windows: Vec::new(),
        model: None,
        highest_before_us: Some(NOON + 86_400_000_000 + 66_000_000),
        ..accepted()
    };
    let unexplained = Reading { highest_before_us: Some(NOON), ..late.clone() };
    assert!(!told(Fate::Reading(Box::new(unexplained))).contains("Shortly before"));
    let text = told(Fate::Reading(Box::new(late)));
    assert_narrow(&text);
    assert!(
        text.contains("anomaly     severity high, flagged by a rule and the model, score 0.12"),
        "{text}"
    );
    let because = "because     noise_level 96.2 dB, typical here at this hour 58 ± 6\n            second\n";
    assert!(text.contains(because), "{text}");
    let late = "late        it is in no window: its pane 12:00:00 – 12:01:00 had ended 24 h\n";
    let before = "up to 2026-11-22 12:01:06 UTC, and its watermark follows 5 s behind";
    assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(before), "{text}");
    assert!(text.contains(late) && !text.contains("windows "), "{text}");
    assert!(text.contains("model 3, which is not stored any more"), "{text}");
}

#[test]
fn a_replayed_letter_is_never_late() {
    let mut answer = record(Fate::Reading(Box::new(accepted())));
    answer.commit = Some(Commit { is_replay: true, ..commit() });
    let text = of_reading(&answer, &Domain::smart_city(), &AS_OF);
    assert!(text.contains("accepted    it was a dead letter and was replayed"), "{text}");
}

#[test]
fn a_dead_letter_says_why_and_shows_its_bytes_harmless() {
    let payload = [b"{\"a\":\n\x1b[2J".to_vec(), vec![b'['; 70_000]].concat();
    let letter = DeadLetter {
        epoch: 1_795_262_449_200,
        partition: 0,
        offset: 4711,
        received_at_us: NOON + 49_123_000,
        reason: "not_json".to_owned(),
        field: None,
        message: "it is no JSON".to_owned(),
        payload: payload[..65_536].to_vec(),
        payload_bytes: payload.len() as i32,
        sensor: None,
    };
    let text = told(Fate::DeadLetter(letter));
    assert_narrow(&text);
    for part in [
        "dead letter 0:4711 of kafka:sensor-data/0: not_json\nbecause     it is no JSON\n",
        "received    2026-11-21 12:00:49.123 UTC, by the record's own timestamp\n",
        "bytes       70,010, of which 65,536 are kept\n            {\"a\":\\n\\u{1b}[2J[[[",
        "citytide dead-letters show 0:4711",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(text.lines().count() < 40, "a long record is cut");
}

#[test]
fn an_offset_with_nothing_stored_says_what_the_counts_of_its_partition_leave() {
    let gone = AsOf { horizon: NOON / 1000, ..AS_OF };
    let nothing = Progress { next_offset: 100, ..progress(0, 0) };
    let cases = [
        (Fate::NotReadYet, nothing, 100, "nothing of partition 0 is committed"),
        (
            Fate::NotReadYet,
            progress(0, 0),
            7_000,
            "committed up to offset 4,999, and this one is 2,001 further on",
        ),
        (Fate::BeforeTheStart, progress(0, 0), 7, "reading of partition 0 began at offset 100"),
        (
            Fate::BehindTheHorizon,
            progress(0, 0),
            200,
            "retention has removed the rows up to 2026-11-21 12:00:00 UTC",
        ),
        (Fate::Nothing, progress(3, 0), 200, "a gap: the log has no record there"),
        (
            Fate::Nothing,
            progress(0, 1_200),
            200,
            "lost: Kafka deleted it before it was read. Partition 0 counts 1,200",
        ),
        (Fate::Nothing, progress(3, 5), 200, "counts 3 gaps (offsets without a record) and 5 lost"),
    ];
    for (fate, progress, offset, words) in cases {
        let answer = reading::Answer { partition: 0, offset, progress: Some(progress), fate, commit: None };
        let text = of_reading(&answer, &Domain::smart_city(), &gone);
        assert_narrow(&text);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.starts_with(&format!("record 0:{offset} of kafka:sensor-data/0 ")), "{flat}");
        assert!(flat.contains(words), "{words} is not in {flat}");
    }
    let answer = reading::Answer {
        partition: 9,
        offset: 1,
        progress: None,
        fate: Fate::UnknownPartition,
        commit: None,
    };
    let text = of_reading(&answer, &Domain::smart_city(), &AS_OF);
    assert!(
        text.starts_with("record      9:1\n            nothing of partition 9 has been read yet\n"),
        "{text}"
    );
}

fn window(is_final: bool, revision: i32) -> window::Answer {
    window::Answer {
        window: Domain::smart_city().windows[0].clone(),
        zone: "Downtown".to_owned(),
        start_us: NOON,
        row: Some(WindowRow {
            readings: 1_480,
            anomalies: 12,
            is_final,
            revision,
            epoch: 1_795_262_449_250,
            figures: vec![
                [Some(21.04), Some(18.0), Some(44.0)],
                [None; 3],
                [Some(52.4), Some(10.0), Some(318.0)],
                [None; 3],
                [None; 3],
            ],
        }),
        panes: vec![Pane {
            start_us: NOON,
            readings: 1_480,
            anomalies: 12,
            first_epoch: 1_795_262_400_050,
            last_epoch: 1_795_262_449_250,
        }],
        raw: Raw { accepted: 1_480, late: 3, anomalies: 12 },
        reasons: vec![
            ("aqi".to_owned(), "> 300".to_owned(), 8),
            ("noise_level".to_owned(), "residual".to_owned(), 5),
        ],
        sensors: vec![("s7".to_owned(), 9), ("s9".to_owned(), 3)],
        zones: Vec::new(),
        final_by: is_final.then(commit),
        written_by: Some(commit()),
    }
}

#[test]
fn a_corrected_window_says_when_it_became_final_what_it_is_made_of_and_what_is_wrong_in_it() {
    let text = of_window(&window(true, 2), &Domain::smart_city(), &AS_OF);
    assert_narrow(&text);
    assert_eq!(
        text,
        "\
window      1min of Downtown, 2026-11-21 12:00:00 – 12:01:00 UTC
corrected   W passed its end with commit 1795262449250 (2026-11-21 12:00:49
            UTC); readings that were accepted after that corrected it 2 times
            (revision 2)
written     last by 2026-11-21 12:00:49 UTC at the latest, in commit
            1795262449250 of run 3 on vm
readings    1,480 accepted, 12 anomalous
values      temperature: on average 21.0 °C, 18.0 … 44.0
            aqi: on average 52 AQI, 10 … 318
late        3 readings of this time came too late and are in no window
stored      all of its readings: citytide verify can recompute it
panes       12:00:00: 1,480 readings, 12 anomalous, epochs 1795262400050 …
            1795262449250
anomalies   aqi, rule > 300: 8
            noise_level, residual: 5
sensors     s7: 9
            s9: 3
as of       commit 1795262551000, W 2026-11-21 12:01:30 UTC
"
    );
}

#[test]
fn a_window_says_why_it_is_early_or_final() {
    let flat = |answer: &window::Answer, as_of: &AsOf| {
        let text = of_window(answer, &Domain::smart_city(), as_of);
        assert_narrow(&text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let early = AsOf { watermark_us: Some(NOON + 20_000_000), ..AS_OF };
    let text = flat(&window(false, 0), &early);
    assert!(
        text.contains("early W is 2026-11-21 12:00:20, 40 s before its end; more readings change"),
        "{text}"
    );
    let text = flat(&window(false, 0), &AsOf { watermark_us: None, ..AS_OF });
    assert!(text.contains("early W is not there yet"), "{text}");
    let text = flat(&window(true, 0), &AS_OF);
    assert!(text.contains("nothing was accepted for it since"), "{text}");
    let mut at_once = window(true, 0);
    at_once.panes[0].first_epoch = 1_795_262_449_300;
    assert!(flat(&at_once, &AS_OF).contains("it was final at once"));
    let mut dropped = window(true, 1);
    dropped.raw.accepted = 80;
    let text = flat(&dropped, &AsOf { horizon: NOON / 1000, ..AS_OF });
    assert!(text.contains("stored 80 of its readings; retention has removed the others"), "{text}");
    assert!(text.contains("corrected it once (revision 1)"), "{text}");
    assert!(flat(&dropped, &AS_OF).contains("citytide verify lists the difference"));
}

#[test]
fn a_window_without_a_row_says_whether_the_zone_is_known() {
    let mut answer = window::Answer {
        row: None,
        panes: Vec::new(),
        raw: Raw { late: 2, ..Raw::default() },
        reasons: Vec::new(),
        sensors: Vec::new(),
        written_by: None,
        zones: vec!["Downtown".to_owned(), "Old Town".to_owned()],
        ..window(true, 0)
    };
    let text = of_window(&answer, &Domain::smart_city(), &AS_OF);
    assert!(
        text.contains("no row      no reading of this zone and time was accepted\nlate        2 readings"),
        "{text}"
    );
    let early = AsOf { watermark_us: Some(NOON - 1), ..AS_OF };
    let text = of_window(&answer, &Domain::smart_city(), &early);
    assert!(text.contains("was accepted so far\n"), "{text}");
    answer.zone = "Downtwon".to_owned();
    let text = of_window(&answer, &Domain::smart_city(), &AS_OF);
    assert!(text.contains("from this zone; zones are: Downtown,"), "{text}");
}
