//! The scripts for people run.

use citytide::views::schema;
use citytide_domain::Domain;
use citytide_store::migrate;
use citytide_store::schema::Pace;
use citytide_store::upkeep::ensure_partitions;

use super::scratch::{NOON_MS, execute, number, texts, with_database};

#[test]
fn the_queries_for_people_run() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        execute(&client, include_str!("../../../sql/queries.sql")).await;
    });
}

#[test]
fn a_reader_sees_the_views_and_windows_and_not_the_raw_tables() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        let query = "select relname::text from pg_class where relnamespace = 'public'::regnamespace \
                     and relkind in ('r', 'p', 'v') and not has_table_privilege('citytide_reader', oid, 'select') \
                     order by relname";
        let hidden = texts(&client, query).await;
        assert_eq!(
            hidden,
            [
                "dead_letter_records",
                "detector_state",
                "fence",
                "model_requests",
                "partition_zones",
                "sensor_readings"
            ]
        );
        let query = "select relname::text from pg_class where relnamespace = 'public'::regnamespace \
                     and has_table_privilege('citytide_reader', oid, 'insert, update, delete, truncate')";
        assert!(texts(&client, query).await.is_empty());
        execute(&client, "drop owned by citytide_reader").await;
    });
}

#[test]
fn an_operator_acts_on_incidents_and_can_do_nothing_else() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        let state = |id: &str, condition: &str, severity: &str| {
            format!(
                "insert into incident_states (zone, incident_id, kind, metric, sensor_id, condition, severity, severity_peak, \
                 opened_at, last_seen_at, revision, readings, sensors, occurrences, peak_magnitude, peak_at, peak_sensor_id, \
                 peak_metric, unit, reason, model_version) values ('Downtown', '{id}', 'rule', 'aqi', '', '{condition}', \
                 '{severity}', '{severity}', now(), now(), 1, 5, 2, 1, 18, now(), '7', 'aqi', 'AQI', 'aqi 318 AQI', 0);"
            )
        };
        execute(&client, &state("one", "open", "low")).await;
        execute(&client, &state("early", "pending", "low")).await;
        execute(&client, "insert into commits values (50, 0, 1, now(), '2026-11-21 12:00+00', 5)").await;
        let acts = async |sql: &str| {
            execute(&client, "set role citytide_operator").await;
            let outcome = client.batch_execute(&format!("select citytide_incident_{sql}")).await;
            execute(&client, "reset role").await;
            outcome.map_err(|error| error.as_db_error().expect("the server's").message().to_owned())
        };
        let shown = async |column: &str| {
            let sql = format!("select {column}::text from incidents where incident_id = 'one'");
            client.query_one(&sql, &[]).await.expect("it runs").get::<_, Option<String>>(0)
        };
        assert_eq!(shown("needs_attention").await.as_deref(), Some("true"));
        assert_eq!(acts("acknowledge('one', 'seen', 'the duty')").await, Ok(()));
        assert_eq!(shown("acknowledged_by").await.as_deref(), Some("the duty"));
        assert_eq!(shown("needs_attention").await.as_deref(), Some("false"));
        execute(&client, "update incident_states set severity = 'high', severity_peak = 'high'").await;
        assert_eq!(shown("acknowledged_by").await, None, "it is worse than what was seen");
        assert_eq!(acts("shelve('one', '1 hour', 'works')").await, Ok(()));
        assert_eq!(shown("shelved_reason").await.as_deref(), Some("works"));
        assert_eq!(shown("needs_attention").await.as_deref(), Some("false"));
        assert_eq!(acts("unshelve('one')").await, Ok(()));
        assert_eq!(shown("shelved_until").await, None);
        assert_eq!(acts("assign('one', 'the night shift')").await, Ok(()));
        assert_eq!(shown("assignee").await.as_deref(), Some("the night shift"));
        assert_eq!(acts("service('one', true)").await, Ok(()));
        assert_eq!(shown("needs_attention").await.as_deref(), Some("false"));
        assert_eq!(acts("service('one', false)").await, Ok(()));
        assert_eq!(acts("comment('one', 'called them')").await, Ok(()));
        for (sql, why) in [
            ("acknowledge('none')", "there is no incident none that has opened"),
            ("acknowledge('early')", "there is no incident early that has opened"),
            ("comment('one', ' ')", "to comment an incident needs a comment"),
            ("acknowledge('one', null, '')", "an action needs an actor"),
            (
                "shelve('one', '25 hours', 'works')",
                "an incident can be shelved for more than 0 and at most 24:00:00 (shelve_max of the domain)",
            ),
            (
                "shelve('one', '0', 'works')",
                "an incident can be shelved for more than 0 and at most 24:00:00 (shelve_max of the domain)",
            ),
            (
                "act('one', 'comment', 'x', 'y', null, null)",
                "permission denied for function citytide_incident_act",
            ),
        ] {
            assert_eq!(acts(sql).await, Err(why.to_owned()), "{sql}");
        }
        // A later incident that this one was joined with inherits what was done.
        execute(&client, &state("two", "open", "high")).await;
        let joined = "update incident_states set condition = 'superseded', superseded_by = 'two' where incident_id = 'one'";
        execute(&client, joined).await;
        let sql = "select assignee from incidents where incident_id = 'two'";
        assert_eq!(texts(&client, sql).await, ["the night shift"]);
        let query = "select relname::text from pg_class where relnamespace = 'public'::regnamespace \
                     and has_table_privilege('citytide_operator', oid, 'select, insert, update, delete, truncate')";
        assert!(texts(&client, query).await.is_empty());
        let causes =
            "select string_agg(evidence ->> 'action', ' ' order by changed_at) from incident_changes";
        assert_eq!(
            texts(&client, causes).await,
            ["acknowledge shelve unshelve assign out_of_service in_service comment"]
        );
        execute(&client, "drop owned by citytide_reader, citytide_operator").await;
    });
}

#[test]
fn the_latest_readings_are_those_of_the_newest_commits_with_all_columns_of_the_domain() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        assert_eq!(number(&client, "select count(*) from latest_readings(3)").await, 0);
        ensure_partitions(&mut client, 0, NOON_MS, Some(Pace::Live)).await.expect("partitions");
        // Commits of one reading each, whose event times rise; then one that is not committed.
        execute(
            &client,
            &format!(
                "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, \
                 is_late, is_anomaly, anomaly_score, model_version) \
                 select {NOON_MS} + n * 50, 0, n, n, 'Downtown', timestamptz '2026-11-21 12:00:00+00' \
                 + n * interval '1 second', false, false, 0, 0 from generate_series(1, 101) as n; \
                 insert into commits (epoch, previous_epoch, run_id, readings) \
                 select {NOON_MS} + n * 50, {NOON_MS} + n * 50 - 50, 0, 1 from generate_series(1, 100) as n"
            ),
        )
        .await;
        let latest = "select sensor_id from latest_readings(3)";
        assert_eq!(texts(&client, latest).await, ["100", "99", "98"]);
        assert_eq!(number(&client, "select count(*) from latest_readings(1000)").await, 100);
        // A database of before has none; one whose domain file got a metric has another.
        execute(&client, "drop function latest_readings").await;
        for metric in [None, Some("wind")] {
            let mut domain = Domain::smart_city();
            domain.metrics.extend(metric.map(|name| {
                let mut wind = domain.metrics[0].clone();
                wind.name = name.to_owned();
                wind
            }));
            migrate::apply(&mut client, &schema(&domain), "sensor-data").await.expect("made");
            assert_eq!(texts(&client, latest).await.len(), 3);
        }
        execute(&client, "select wind from latest_readings(1)").await;
    });
}
