use std::time::Duration;

use citytide_store::incidents::shown::At;

use super::*;
use crate::routes::{Hours, Pace, Receiver, Secret, Wants};

/// A Saturday.
const NOW_MS: u64 = 1_795_262_400_000;

fn route(severity: &str) -> Route {
    Route {
        name: "duty".to_owned(),
        line: 1,
        wants: Wants { severity: severity.to_owned(), ..Wants::default() },
        pace: Pace {
            group_wait: Duration::from_secs(10),
            group_max: 100,
            repeat_every: Some(Duration::from_secs(3600)),
            timeout: Duration::from_secs(10),
            tries_max: 10,
        },
        receiver: Receiver::Chat { url: Secret::Plain("http://localhost".to_owned()), ca_file: None },
    }
}

fn incident(condition: &str, severity: &str, revision: i64) -> ShownIncident {
    ShownIncident {
        incident_id: "abc".to_owned(),
        kind: "rule".to_owned(),
        zone: "Downtown".to_owned(),
        metric: "aqi".to_owned(),
        sensor_id: None,
        pattern: None,
        condition: condition.to_owned(),
        superseded_by: None,
        severity: severity.to_owned(),
        severity_peak: severity.to_owned(),
        opened_at: At(0),
        last_seen_at: At(0),
        cleared_at: None,
        first_epoch: None,
        epoch: 0,
        revision,
        readings: 1,
        sensors: 1,
        occurrences: 1,
        flaps: 0,
        peak_value: None,
        typical: None,
        spread: None,
        unit: String::new(),
        model_version: 0,
        text: "Downtown since 00:00 UTC: aqi 318 AQI".to_owned(),
        acknowledged_at: None,
        acknowledged_by: None,
        acknowledged_comment: None,
        assignee: None,
        shelved_until: None,
        shelved_by: None,
        shelved_reason: None,
        is_out_of_service: false,
        suppressed_by: None,
        needs_attention: condition == "open",
    }
}

fn change(condition: &str, severity: &str, revision: i64) -> Change {
    Change { epoch: 1, revision, condition: condition.to_owned(), severity: severity.to_owned() }
}

fn told(event: &str, severity: &str, revision: i64, done_ago_ms: Option<i64>) -> LastNotification {
    LastNotification {
        event: event.to_owned(),
        severity: severity.to_owned(),
        revision,
        repetition: 0,
        done_ago_ms,
    }
}

fn events(filed: &[NewNotification]) -> Vec<(&str, i64, i32)> {
    filed.iter().map(|one| (one.event.as_str(), one.revision, one.repetition)).collect()
}

fn decided(
    route: &Route,
    incident: &ShownIncident,
    changes: &[Change],
    told: Option<&LastNotification>,
) -> Vec<(String, i64, i32)> {
    let filed = decide(route, incident, changes, told, NOW_MS);
    events(&filed)
        .into_iter()
        .map(|(event, revision, repetition)| (event.to_owned(), revision, repetition))
        .collect()
}

fn one(event: &str, revision: i64, repetition: i32) -> (String, i64, i32) {
    (event.to_owned(), revision, repetition)
}

#[test]
fn what_opened_and_ended_between_two_looks_is_told_with_both() {
    let changes = [change("open", "low", 2), change("open", "high", 3), change("cleared", "high", 4)];
    let found = decide(&route("low"), &incident("cleared", "high", 4), &changes, None, NOW_MS);
    assert_eq!(events(&found), [("opened", 2, 0), ("escalated", 3, 0), ("cleared", 4, 0)]);
    assert_eq!(found[0].severity, "low");
    assert!(found[0].incident.contains(r#""condition":"open""#), "as it was then: {}", found[0].incident);
    assert!(found[2].incident.contains(r#""condition":"cleared""#));
    // The same look again, with what was told: nothing is told twice.
    let before = told("cleared", "high", 4, None);
    assert_eq!(decided(&route("low"), &incident("cleared", "high", 4), &changes, Some(&before)), []);
}

#[test]
fn an_end_is_told_to_those_alone_who_were_told_of_the_beginning() {
    for end in ["cleared", "withdrawn", "superseded"] {
        let over = incident(end, "high", 5);
        assert_eq!(decided(&route("low"), &over, &[change(end, "high", 5)], None), [], "{end}");
        let opened = told("opened", "high", 4, Some(1));
        assert_eq!(decided(&route("low"), &over, &[change(end, "high", 5)], Some(&opened)), [one(end, 5, 0)]);
    }
    // Too mild for the route: not begun, not ended; begun once it gets worse, ended however mild it is by then.
    let changes = [change("open", "low", 2), change("cleared", "low", 3)];
    assert_eq!(decided(&route("high"), &incident("cleared", "low", 3), &changes, None), []);
    let changes = [change("open", "low", 2), change("open", "high", 3)];
    assert_eq!(decided(&route("high"), &incident("open", "high", 3), &changes, None), [one("opened", 3, 0)]);
    let opened = told("opened", "high", 3, Some(1));
    let over = incident("cleared", "low", 5);
    assert_eq!(decided(&route("high"), &over, &[], Some(&opened)), [one("cleared", 5, 0)]);
}

#[test]
fn nothing_is_told_of_what_calls_for_no_attention_until_that_ends() {
    let open = incident("open", "high", 2);
    let quiet = [
        ShownIncident { shelved_until: Some(At(1)), ..open.clone() },
        ShownIncident { is_out_of_service: true, ..open.clone() },
        ShownIncident { suppressed_by: Some("other".to_owned()), ..open.clone() },
        ShownIncident { acknowledged_at: Some(At(1)), ..open.clone() },
    ];
    for quiet in &quiet {
        assert_eq!(decided(&route("low"), quiet, &[change("open", "high", 2)], None), []);
    }
    assert_eq!(decided(&route("low"), &open, &[], None), [one("opened", 2, 0)], "without a change, later");
}

#[test]
fn what_opens_again_is_told_again() {
    let cleared = told("cleared", "low", 3, Some(1));
    let open = incident("open", "low", 4);
    assert_eq!(
        decided(&route("low"), &open, &[change("open", "low", 4)], Some(&cleared)),
        [one("reopened", 4, 0)]
    );
}

#[test]
fn it_is_repeated_until_somebody_has_seen_it() {
    let open = incident("open", "low", 2);
    let hour_ago = told("opened", "low", 2, Some(3_600_000));
    assert_eq!(decided(&route("low"), &open, &[], Some(&hour_ago)), [one("repeated", 2, 1)]);
    let repeated = LastNotification { repetition: 1, ..hour_ago.clone() };
    assert_eq!(decided(&route("low"), &open, &[], Some(&repeated)), [one("repeated", 2, 2)]);
    for too_early in [Some(3_599_999), None] {
        let told = LastNotification { done_ago_ms: too_early, ..hour_ago.clone() };
        assert_eq!(decided(&route("low"), &open, &[], Some(&told)), [], "{too_early:?}");
    }
    let seen = ShownIncident { acknowledged_at: Some(At(1)), ..open.clone() };
    assert_eq!(decided(&route("low"), &seen, &[], Some(&hour_ago)), []);
    let mut never = route("low");
    never.pace.repeat_every = None;
    assert_eq!(decided(&never, &open, &[], Some(&hour_ago)), []);
    // A severity that is worse than what was told is news, repeated or not.
    assert_eq!(
        decided(&route("low"), &incident("open", "high", 6), &[], Some(&repeated)),
        [one("escalated", 6, 0)]
    );
}

#[test]
fn outside_the_hours_nothing_begins_and_ends_wait() {
    let mut office = route("low");
    office.wants.hours = Hours::parse(["mon-fri 08:00-18:00"].into_iter(), chrono_tz::UTC).ok();
    assert_eq!(decided(&office, &incident("open", "low", 2), &[change("open", "low", 2)], None), []);
    let opened = told("opened", "low", 2, Some(1));
    let found = decide(&office, &incident("cleared", "low", 3), &[], Some(&opened), NOW_MS);
    assert_eq!(events(&found), [("cleared", 3, 0)]);
    // Noon of Saturday to Monday at eight, and the wait for others.
    assert_eq!(found[0].due_in_ms, 44 * 3_600_000 + 10_000);
}

#[test]
fn a_route_hears_of_its_zones_and_kinds_alone() {
    let open = incident("open", "low", 2);
    let mut wanted = route("low");
    wanted.wants.zones = vec!["Old Town".to_owned()];
    assert_eq!(decided(&wanted, &open, &[], None), []);
    wanted.wants.zones.push("Downtown".to_owned());
    assert_eq!(decided(&wanted, &open, &[], None), [one("opened", 2, 0)]);
    wanted.wants.kinds = vec!["stuck".to_owned()];
    assert_eq!(decided(&wanted, &open, &[], None), []);
    wanted.wants.kinds = Vec::new();
    wanted.wants.patterns = vec!["fire".to_owned()];
    assert_eq!(decided(&wanted, &open, &[], None), []);
}
