//! Incidents as the command line shows them, to somebody who may only read, and acts on them for somebody who may.

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::program::{Told, citytide, citytide_as};
use super::scratch::{Scratch, execute, with_database};

/// An incident of this identity that begins so many minutes before 12:00.
fn state(id: &str, zone: &str, condition: &str, severity: &str, minutes: u32) -> String {
    format!(
        "insert into incident_states (zone, incident_id, kind, metric, sensor_id, condition, severity, severity_peak, \
         opened_at, last_seen_at, revision, readings, sensors, occurrences, peak_magnitude, peak_at, peak_sensor_id, \
         peak_metric, peak_value, unit, reason, model_version) \
         select '{zone}', '{id}', 'rule', 'aqi', '', '{condition}', \
         '{severity}', '{severity}', at, at + interval '10 minutes', 1, 5, 2, 1, 18, at, '7', 'aqi', 318, 'AQI', \
         'aqi 318 AQI', 0 \
         from (select timestamptz '2026-11-21 12:00+00' - interval '{minutes} minutes' as at) as times;"
    )
}

pub(super) async fn fill(client: &Client) {
    let script = [
        state("aa01", "Downtown", "open", "low", 90),
        state("aa02", "Downtown", "open", "high", 30),
        state("bb03", "Old Town", "pending", "high", 60),
        state("cc04", "Old Town", "cleared", "high", 99),
        "insert into commits values (50, 0, 1, now(), '2026-11-21 12:00+00', 5);".to_owned(),
        "insert into incident_transitions (zone, incident_id, revision, event_at, to_condition, cause, evidence) \
         values ('Downtown', 'aa01', 1, '2026-11-21 10:30+00', 'open', 'condition', '{\"severity\": \"low\"}');"
            .to_owned(),
        "insert into incident_occurrences (zone, kind, metric, sensor_id, first_at, last_at, readings, sensor_ids, \
         peak_magnitude, peak_at, peak_sensor_id, peak_metric, unit, reason, model_version) \
         select 'Downtown', 'rule', 'aqi', '', at, at + lasts, readings, '[\"7\", \"8\", \"9\"]', 18, at, '7', 'aqi', \
         'AQI', reason, 0 from (values ('2026-11-21 10:30+00'::timestamptz, '1 minute'::interval, 50, 'a long one'), \
         ('2026-11-21 10:35+00', '0 s', 1, 'a short one'), ('2026-11-21 10:39+00', '1 minute', 9, 'again')) \
         as of (at, lasts, readings, reason);"
            .to_owned(),
        "select citytide_incident_shelve('aa01', '1 hour', 'works', 'anna');".to_owned(),
        "update incident_actions set acted_at = acted_at - interval '2 h', until_at = until_at - interval '2 h';"
            .to_owned(),
        "select citytide_incident_assign('aa01', 'bob', null, 'anna');".to_owned(),
    ];
    execute(client, &script.concat()).await;
}

/// The first words of the lines that are incidents.
fn ids(told: &Told) -> Vec<&str> {
    assert_eq!(told.code, Some(0), "{}", told.err);
    let lines = told.out.lines().filter_map(|line| line.split_whitespace().next());
    lines.filter(|word| word.len() == 4 && word.ends_with(char::is_numeric)).collect()
}

#[test]
fn incidents_are_listed_the_worst_first_and_shown_with_what_happened_to_a_reader() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.with_schema().await;
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        let reader = format!("reads_{}", std::process::id());
        execute(&client, &format!("create role {reader} login in role citytide_reader")).await;
        let reads = |arguments: &str| citytide_as(scratch, &reader, arguments);
        let told = reads("incidents list");
        assert_eq!(told.out, "nothing is wrong\nas of no commit yet\n", "{}", told.err);

        fill(&client).await;
        let told = reads("incidents list");
        assert_eq!(ids(&told), ["bb03", "aa02", "aa01"], "{}", told.out);
        let end = "\n2 open, 1 pending, 2 need attention\nas of commit 50, W 2026-11-21 12:00:00 UTC\n";
        assert!(told.out.ends_with(end) && told.out.contains("Downtown: aqi 318 AQI"), "{}", told.out);
        for (arguments, expected) in [
            ("--all", &["cc04", "bb03", "aa02", "aa01"][..]),
            ("--condition cleared", &["cc04"]),
            ("--severity medium", &["bb03", "aa02"]),
            ("--zone Downtown --kind rule", &["aa02", "aa01"]),
            ("--kind stuck", &[]),
            ("--limit 1", &["bb03"]),
        ] {
            assert_eq!(ids(&reads(&format!("incidents list {arguments}"))), expected, "{arguments}");
        }
        let line = reads("incidents list --limit 1 --json").out;
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&object["incident_id"], &object["peak_value"]), (&"bb03".into(), &318.0.into()));

        let shown: Value = serde_json::from_str(&reads("incidents show aa01 --json").out).expect("JSON");
        assert_eq!(shown["assignee"], "bob");
        let occurrences = shown["occurrences"].as_array().expect("a list");
        let reasons: Vec<&str> = occurrences.iter().filter_map(|one| one["reason"].as_str()).collect();
        assert_eq!(reasons, ["a long one", "again"], "the short one is no part of it");
        let changes = shown["changes"].as_array().expect("a list");
        let causes: Vec<&str> = changes.iter().filter_map(|change| change["cause"].as_str()).collect();
        assert_eq!(causes, ["condition", "operator", "shelf_expired", "operator"]);
        let text = reads("incidents show c").out;
        assert!(text.starts_with("incident    cc04, cleared\n"), "{text}");
        for (id, why) in [
            ("aa", "several incidents begin with aa: aa01, aa02; type more"),
            ("zz", "there is no incident zz; citytide incidents list --all"),
        ] {
            let told = reads(&format!("incidents show {id}"));
            assert_eq!((told.code, told.err.contains(why)), (Some(78), true), "{}", told.err);
        }
        let load = reads("incidents load").out;
        let lines: Vec<&str> = load.lines().collect();
        assert!(lines[1].starts_with("2026-11-21 10:30       1 "), "{load}");
        assert_eq!(
            lines.len(),
            13,
            "an hour and a half in tens of minutes, one more, and three lines about them: {load}"
        );
        let line = reads("incidents load --limit 1 --json").out;
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&object["opened"], &object["is_flood"]), (&0.into(), &false.into()), "{line}");
        let drop = format!("drop owned by citytide_reader, citytide_operator; drop role {reader}");
        execute(&client, &drop).await;
    });
}

#[test]
fn an_operator_acts_from_the_command_line_and_a_reader_is_told_what_it_lacks() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.with_schema().await;
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        let (operator, reader) =
            (format!("operates_{}", std::process::id()), format!("only_reads_{}", std::process::id()));
        let roles = format!(
            "create role {operator} login in role citytide_reader, citytide_operator; \
             create role {reader} login in role citytide_reader"
        );
        execute(&client, &roles).await;
        fill(&client).await;
        let acts = |arguments: &str| citytide_as(scratch, &operator, &format!("incidents {arguments}"));
        let shown = |key: &str| {
            let told = acts("show aa02 --json");
            serde_json::from_str::<Value>(&told.out).expect("JSON")[key].clone()
        };
        let told = acts("ack aa02 --comment seen");
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert!(told.out.starts_with("aa02 ") && told.out.lines().count() == 1, "{}", told.out);
        assert_eq!(
            (shown("acknowledged_by"), shown("acknowledged_comment")),
            (operator.as_str().into(), "seen".into())
        );
        assert_eq!(acts("assign aa02 night-shift --as duty").code, Some(0));
        assert_eq!(shown("assignee"), "night-shift");
        assert_eq!(acts("assign aa02").code, Some(0));
        assert_eq!(shown("assignee"), Value::Null);
        assert_eq!(acts("shelve aa02 --for 2h --comment works --as duty").code, Some(0));
        assert_eq!((shown("shelved_by"), shown("shelved_reason")), ("duty".into(), "works".into()));
        assert_eq!(acts("unshelve aa02").code, Some(0));
        assert_eq!(shown("shelved_until"), Value::Null);
        assert_eq!(acts("service aa02 out").code, Some(0));
        assert_eq!(shown("is_out_of_service"), true);
        assert_eq!(acts("service aa02 in --comment mended").code, Some(0));
        assert_eq!(acts("comment aa02 --comment called").code, Some(0));
        for (arguments, code, why) in [
            ("ack zz", 78, "there is no incident zz"),
            ("ack aa", 78, "several incidents begin with aa"),
            ("ack bb03", 78, "there is no incident bb03 that has opened"),
            ("comment aa02", 78, "to comment an incident needs a comment"),
            ("shelve aa02 --for 25h --comment x", 78, "at most 24:00:00 (shelve_max of the domain)"),
            ("shelve aa02 --for soon --comment x", 2, "soon"),
            ("service aa02 broken", 2, "broken"),
        ] {
            let told = acts(arguments);
            assert_eq!((told.code, told.err.contains(why)), (Some(code), true), "{arguments}: {}", told.err);
        }
        let told = citytide_as(scratch, &reader, "incidents ack aa02");
        assert_eq!((told.code, told.err.contains("citytide_operator")), (Some(77), true), "{}", told.err);
        let drop =
            format!("drop owned by citytide_reader, citytide_operator; drop role {operator}, {reader}");
        execute(&client, &drop).await;
    });
}

#[test]
fn a_database_from_before_incidents_says_how_it_gets_them() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.with_schema().await;
        execute(&client, "drop view incidents cascade").await;
        let told = citytide(scratch, "incidents list");
        assert_eq!((told.code, told.err.contains("schema apply")), (Some(78), true), "{}", told.err);
    });
}

/// Rows that a plan looked at, those that it sorted out included.
fn looked_at(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    let kept =
        number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Join Filter");
    let below = node["Plans"].as_array().into_iter().flatten().map(looked_at);
    kept * number("Actual Loops") + below.sum::<f64>()
}

/// Each sensor's incident looked through all open ones of its zone, and through everything that anybody ever did: ten thousand
/// took 11 s, in the upkeep of a run.
#[test]
fn what_is_shown_of_an_incident_does_not_grow_with_the_others_that_are_open() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.with_schema().await;
        let script = "insert into incident_states (zone, incident_id, kind, metric, sensor_id, condition, severity, \
             severity_peak, opened_at, last_seen_at, revision, readings, sensors, occurrences, peak_magnitude, peak_at, \
             peak_sensor_id, peak_metric, unit, reason, model_version) \
             select 'Downtown', md5(number::text), 'stuck', '', number, 'open', 'low', 'low', now(), now(), 1, 5, 1, 1, 3, \
             now(), number, 'aqi', 'AQI', 'stuck', 0 from generate_series(1, 3000) as number; \
             insert into incident_actions (incident_id, action, actor, severity_peak, condition, revision, as_of_epoch) \
             select incident_id, 'acknowledge', 'anna', 'low', 'open', 1, 50 from incident_states; \
             analyze incident_states, incident_actions";
        execute(&client, script).await;
        let counts = citytide_store::incidents::shown::counts(&client).await.expect("counted");
        assert_eq!((counts.open, counts.by_severity, counts.need_attention), (3_000, [0, 0, 3_000], 0));
        let explained = "explain (analyze, format json) select count(*) filter (where needs_attention) from incidents \
                         where condition in ('open', 'pending')";
        let answers = client.simple_query(explained).await.expect("explained");
        let text = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: Value = serde_json::from_str(text.expect("a plan")).expect("JSON");
        let looked_at = looked_at(&plan[0]["Plan"]);
        assert!(looked_at < 3_000.0 * 30.0, "{looked_at} rows");
    });
}
