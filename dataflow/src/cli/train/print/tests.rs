use std::sync::Arc;

use citytide_core::detect::{Agreement, Difference};

use super::*;

fn stored() -> StoredModel {
    StoredModel {
        version: 4,
        status: "shadow".to_owned(),
        fitted_from_us: 1_794_700_000_000_000,
        fitted_until_us: 1_795_262_400_000_000,
        rows: 9_872,
        parameters: json!({}),
        figures: json!({"sampled": 10_001, "left_out": 129, "score_median": 0.41234, "score_p95": 0.5, "score_p99": null}),
        bytes: 1_234_567,
        in_force_from_epoch: None,
        created_at_us: 1_795_262_401_000_000,
        requested_at_us: None,
    }
}

fn comparison(in_force: i32) -> Comparison {
    let zone: Arc<str> = Arc::from("a zone whose name goes on beyond all columns");
    let agreement = Agreement { readings: 100_000, both: 4_000, only_in_force: 12, only_beside: 7 };
    let zones = [(zone.clone(), agreement), (Arc::from("Tech Hub"), agreement)];
    let difference = Difference {
        zone,
        sensor: "4711".to_owned(),
        event_time_us: 1_795_262_399_000_000,
        partition: 0,
        offset: 12,
        in_force: 0.75,
        other: 0.25,
    };
    Comparison {
        in_force,
        other: 4,
        zones: zones.into(),
        rescored: 4_321,
        furthest: 0.5,
        differences: vec![difference],
    }
}

#[test]
fn a_training_is_told_in_80_columns_with_what_would_change() {
    let (stored, comparison) = (stored(), comparison(3));
    let report = Report { stored: &stored, comparison: &comparison, is_cut: true, refused: None };
    let text = report.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(
        text,
        "model       4, stored as shadow: 1,234,567 bytes\n\
         fitted on   9,872 readings, 2026-11-14 23:46:40 … 2026-11-21 12:00:00 UTC\n\
         left out    129 of 10,001 sampled: of high severity, or too old\n\
         scores      half below 0.412 · 95 % below 0.500 · 99 % below –\n\
         \n\
         the last hour beside model 3, which is in force:\n\
         its 200,000 newest readings; there are more\n\
         zone                          readings   both flag         only 3       only 4\n\
         Tech Hub                       100,000       4,000             12            7\n\
         a zone whose name goes on      100,000       4,000             12            7\n\
         all                            200,000       8,000             24           14\n\
         scores differ on 4,321 readings, by at most 0.500\n\
         \n\
         furthest apart                                               before       now\n\
         2026-11-21 11:59:59  4711, a zone whose name goes on beyo     0.750     0.250\n"
    );
}

#[test]
fn without_a_model_in_force_it_is_held_against_the_rules() {
    let (stored, comparison) = (stored(), comparison(0));
    let refused = Some("reading model 3: its checksum is 1".to_owned());
    let report = Report { stored: &stored, comparison: &comparison, is_cut: false, refused };
    let text = report.text();
    for part in
        ["beside the rules, because no model is in force", "only rules", "cannot be used: reading model 3"]
    {
        assert!(text.contains(part), "{text}");
    }
    let object = report.json();
    assert_eq!((&object["in_force"], &object["all"]["only_new"]), (&Value::Null, &json!(14)));
    assert_eq!(object["differences"][0]["offset"], 12);
}
