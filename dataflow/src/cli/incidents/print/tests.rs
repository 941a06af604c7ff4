use citytide_store::incidents::shown::Json;
use serde_json::json;

use super::*;

/// 2026-11-21 12:00:49 UTC.
const AT: At = At(1_795_262_449_000_000);
const AS_OF: AsOf =
    AsOf { epoch: Some(1_795_269_649_200), watermark_us: Some(AT.0 + 7_200_000_000), horizon: 0 };

fn incident() -> ShownIncident {
    ShownIncident {
        incident_id: "1a2b3c4d5e6f7a8b".to_owned(),
        kind: "rule".to_owned(),
        zone: "Old Town".to_owned(),
        metric: "aqi".to_owned(),
        sensor_id: None,
        pattern: None,
        condition: "open".to_owned(),
        superseded_by: None,
        severity: "high".to_owned(),
        severity_peak: "high".to_owned(),
        opened_at: AT,
        last_seen_at: At(AT.0 + 5_000_000),
        cleared_at: None,
        first_epoch: Some(1_795_262_449_200),
        epoch: 1_795_262_449_250,
        revision: 2,
        readings: 12,
        sensors: 5,
        occurrences: 1,
        flaps: 0,
        peak_value: Some(318.0),
        typical: Some(96.004),
        spread: Some(13.0),
        unit: "AQI".to_owned(),
        model_version: 3,
        text: "Old Town since 12:00 UTC: aqi 318 AQI, above 300; 5 sensors".to_owned(),
        acknowledged_at: None,
        acknowledged_by: None,
        acknowledged_comment: None,
        assignee: None,
        shelved_until: None,
        shelved_by: None,
        shelved_reason: None,
        is_out_of_service: false,
        suppressed_by: None,
        needs_attention: true,
    }
}

fn listed(incidents: &[ShownIncident], counts: Counts) -> String {
    Listed { incidents, all: incidents.len() as i64, counts, as_of: AS_OF }.text()
}

#[test]
fn a_line_holds_an_incident_and_who_has_it_and_no_control_characters() {
    let seen = ShownIncident {
        acknowledged_by: Some("anna\n".to_owned()),
        assignee: Some("the night shift of the eastern districts".to_owned()),
        ..incident()
    };
    let counts = Counts { open: 2, pending: 0, need_attention: 1, ..Counts::default() };
    let text = listed(&[incident(), seen], counts);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(
        text,
        "id       severity since (UTC) lasts    what\n\
         1a2b3c4d high     11-21 12:00 2 h      Old Town: aqi 318 AQI, above 300; 5 sens…\n\
         1a2b3c4d high     11-21 12:00 2 h      Old Town: aqi 318 A… · seen by anna\\n, f…\n\
         2 open, 0 pending, 1 needs attention\n\
         as of commit 1795269649200, W 2026-11-21 14:00:49 UTC\n"
    );
}

#[test]
fn nothing_is_wrong_only_where_nothing_is() {
    assert!(listed(&[], Counts::default()).starts_with("nothing is wrong\nas of commit 1795269649200"));
    let counts = Counts { open: 3, pending: 1, need_attention: 2, ..Counts::default() };
    let none = "no such incident; of all 3 open, 1 pending, 2 need attention\n";
    assert!(listed(&[], counts).starts_with(none));
}

#[test]
fn an_incident_is_described_with_what_happened_to_it() {
    let change = |cause: &str, evidence: Value| ShownChange {
        revision: 1,
        epoch: 1_795_262_449_200,
        event_at: Some(AT),
        changed_at: Some(AT),
        from_condition: Some("pending".to_owned()),
        to_condition: Some("open".to_owned()),
        cause: cause.to_owned(),
        actor: Some("anna".to_owned()),
        comment: None,
        evidence: Json(evidence),
    };
    let occurrence = ShownOccurrence {
        first_at: AT,
        last_at: At(AT.0 + 5_000_000),
        readings: 12,
        sensors: 5,
        reason: "aqi 318 AQI, above 300".to_owned(),
    };
    let described = Described {
        incident: incident(),
        occurrences: vec![occurrence],
        changes: vec![
            change("late_data", json!({"severity": "high", "reason": "aqi 318 AQI"})),
            change("operator", json!({"action": "assign", "assignee": "bob"})),
        ],
        as_of: AS_OF,
    };
    let text = described.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in [
        "incident    1a2b3c4d5e6f7a8b, open\n",
        "peak        aqi 318 AQI, typical 96 ± 13; model 3\n",
        "occurrences 2026-11-21 12:00:49 … 2026-11-21 12:00:54 · readings 12",
        "changes     2026-11-21 12:00:49 pending → open (late data) · high · aqi 318 AQI\n",
        "            2026-11-21 12:00:49 assign bob by anna\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let object = described.json();
    assert_eq!(object["opened_at"], "2026-11-21T12:00:49+00:00");
    assert_eq!(object["changes"][1]["evidence"]["assignee"], "bob");
}

#[test]
fn the_load_is_a_table_of_eighty_columns() {
    use citytide_store::incidents::shown::ShownLoad;
    let quiet = ShownLoad {
        ten_minutes: At(1_795_262_400_000_000),
        opened: 0,
        is_flood: false,
        top_ten_share: None,
        chattering: 0,
        stale: 2,
        low_share: None,
        medium_share: None,
        high_share: None,
        minutes_to_acknowledge: None,
    };
    let flood = ShownLoad {
        ten_minutes: At(1_795_263_000_000_000),
        opened: 1_204,
        is_flood: true,
        top_ten_share: Some(1.0),
        chattering: 12,
        stale: 1_000,
        low_share: Some(0.25),
        medium_share: Some(0.25),
        high_share: Some(0.5),
        minutes_to_acknowledge: Some(12.4),
    };
    let as_of =
        AsOf { epoch: Some(1_795_263_600_000), watermark_us: Some(1_795_263_600_000_000), horizon: 0 };
    let told = load(&[quiet, flood], &as_of);
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    assert_eq!(
        told,
        "from (UTC)        opened flood high medium   low top ten chatter stale to ack\n\
         2026-11-21 12:00       0          –      –     –       –       0     2      –\n\
         2026-11-21 12:10   1,204 flood 50 %   25 %  25 %   100 %      12 1,000 12 min\n\
         1,204 opened in 2 times ten minutes, of which 1 in a flood\n\
         as of commit 1795263600000, W 2026-11-21 12:20:00 UTC\n"
    );
    assert!(load(&[], &as_of).starts_with("no incident has opened yet\n"));
}
