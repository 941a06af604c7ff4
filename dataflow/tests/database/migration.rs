//! Creating the schema, adding metrics, and what is refused.

use citytide::views::schema;
use citytide_domain::Domain;
use citytide_store::migrate::{self, Difference, MigrateError};
use citytide_store::schema::Pace;
use citytide_store::upkeep::ensure_partitions;
use futures_util::future::{Either, join_all, select};

use super::scratch::{NOON_MS, execute, number, texts, with_database};

fn windy() -> Domain {
    let mut domain = Domain::smart_city();
    let mut wind = domain.metrics[0].clone();
    wind.name = "wind".to_owned();
    domain.metrics.insert(1, wind);
    domain
}

#[test]
fn several_first_starts_at_once_make_one_schema() {
    with_database(async |scratch| {
        let start = async || {
            let mut client = scratch.open().await;
            migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await
        };
        for outcome in join_all([start(), start(), start(), start()]).await {
            outcome.expect("every start finds the schema");
        }
        let client = scratch.open().await;
        assert_eq!(number(&client, "select count(*) from citytide_database").await, 1);
    });
}

#[test]
fn a_further_metric_gets_its_columns_and_the_views_keep_order_and_rights() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        ensure_partitions(&mut client, 0, NOON_MS, Some(Pace::Live)).await.expect("partitions");
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        migrate::apply(&mut client, &schema(&windy()), "sensor-data").await.expect("added");
        migrate::apply(&mut client, &schema(&windy()), "sensor-data").await.expect("nothing to do");
        let columns = texts(
            &client,
            "select attname::text from pg_attribute where attrelid = 'sensor_data'::regclass and attnum between 6 and 9 \
             order by attnum",
        )
        .await;
        assert_eq!(columns, ["recorded_at", "temperature", "wind", "humidity"]);
        let holders = texts(
            &client,
            "select distinct attrelid::regclass::text from pg_attribute where attname like '%wind' order by 1",
        )
        .await;
        assert_eq!(
            holders,
            [
                "data_quality_1min",
                "metrics_1min",
                "metrics_5min",
                "panes",
                "quality_counts",
                "sensor_data",
                "sensor_readings",
                "sensor_readings_20261121_115930",
                "sensor_readings_20261121_120000",
                "sensor_states",
                "sensor_status",
                "zone_latest",
                "zone_status"
            ]
        );
        let may = "select has_table_privilege('citytide_reader', 'sensor_data', 'select')::text";
        assert_eq!(texts(&client, may).await, ["true"]);
        execute(&client, "drop owned by citytide_reader").await;
        let error =
            migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await.unwrap_err();
        assert!(matches!(&error, MigrateError::MetricGone { metric } if metric == "wind"), "{error}");
    });
}

#[test]
fn a_database_that_was_made_before_a_column_or_a_table_came_gets_it() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(
            &client,
            "alter table ingest_progress drop column cursor; alter table commits drop column windows_from; \
             alter table metrics_1min drop column epoch; alter table hot_sensors drop column epoch; drop table changes; \
             insert into hot_sensors values ('a', 1, '7', 1, now())",
        )
        .await;
        migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await.expect("added");
        migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data")
            .await
            .expect("nothing to do");
        assert_eq!(number(&client, "select count(cursor) from ingest_progress").await, 0);
        assert_eq!(
            number(&client, "select epoch from hot_sensors").await,
            0,
            "written before there were epochs"
        );
        assert_eq!(
            number(&client, "select count(windows_from) + (select count(*) from changes) from commits").await,
            0
        );
    });
}

/// The counts by zone and minute had the name that their view has now.
#[test]
fn a_table_that_was_called_otherwise_is_renamed_with_its_rows_and_its_view_has_its_rights() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(&client, include_str!("../../../sql/roles.sql")).await;
        execute(
            &client,
            "insert into quality_counts (zone, window_start, reading_count, late_count, count_aqi, unusual_aqi, after_epoch) \
             values ('a', '2026-11-21 12:00+00', 5, 1, 3, 2, 0); \
             drop view data_quality_1min; \
             alter table quality_counts rename to data_quality_1min; \
             alter index quality_counts_pkey rename to data_quality_1min_pkey; \
             alter index quality_counts_window_start rename to data_quality_1min_window_start",
        )
        .await;
        migrate::prepare(&mut client, &schema(&windy()), "sensor-data").await.expect("nothing that breaks");
        let before = "select count(*) from pg_class where relname = 'quality_counts'";
        assert_eq!(number(&client, before).await, 0, "a run that lives writes the old name");
        for _ in 0..2 {
            migrate::apply(&mut client, &schema(&windy()), "sensor-data").await.expect("renamed");
        }
        let quality = "select concat_ws(' ', zone, readings, late, dead, nulls_aqi, out_of_range_aqi, nulls_wind) \
                       from data_quality_1min";
        assert_eq!(texts(&client, quality).await, ["a 5 1 0 2 2 5"]);
        let named =
            "select relname::text from pg_class where relname ~ '^(data_quality|quality_counts)' order by 1";
        assert_eq!(
            texts(&client, named).await,
            ["data_quality_1min", "quality_counts", "quality_counts_pkey", "quality_counts_window_start"]
        );
        let may = "select has_table_privilege('citytide_reader', 'data_quality_1min', 'select')::text";
        assert_eq!(texts(&client, may).await, ["true"]);
        execute(&client, "drop owned by citytide_reader").await;
    });
}

#[test]
fn a_view_of_somebody_else_on_sensor_data_is_named_and_nothing_changes() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(&client, "create view mine as select zone from sensor_data").await;
        let error = migrate::apply(&mut client, &schema(&windy()), "sensor-data").await.unwrap_err();
        assert!(matches!(&error, MigrateError::Dependents { reason } if reason.contains("mine")), "{error}");
        assert_eq!(number(&client, "select count(*) from pg_attribute where attname = 'wind'").await, 0);
    });
}

#[test]
fn what_was_changed_by_hand_is_refused() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(&client, "drop table hot_sensors").await;
        let error =
            migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await.unwrap_err();
        assert!(
            matches!(&error, MigrateError::HalfMade { absent, .. } if absent == "hot_sensors"),
            "{error}"
        );
        execute(&client, "drop table citytide_database cascade").await;
        let error =
            migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await.unwrap_err();
        assert!(error.is_configuration(), "{error}");
    });
}

#[test]
fn a_table_that_was_changed_by_hand_is_named_with_its_column_and_refused_where_a_run_would_break() {
    let domain = Domain::smart_city();
    for (change, said, breaks) in [
        (
            "alter table metrics_1min drop column max_aqi",
            "metrics_1min.max_aqi is missing (double precision)",
            true,
        ),
        (
            "alter table metrics_5min alter reading_count type integer",
            "metrics_5min.reading_count is integer, not bigint",
            true,
        ),
        (
            "alter table panes add column mine integer not null",
            "panes.mine is not a column of citytide and refuses rows",
            true,
        ),
        ("alter table panes add column mine integer", "panes.mine is not a column of citytide", false),
        (
            "alter table sensor_readings alter severity set not null",
            "sensor_readings.severity refuses nulls",
            true,
        ),
        ("alter table runs alter host drop not null", "runs.host accepts nulls", false),
        ("alter table panes drop constraint panes_pkey", "panes has no unique key (zone, pane_start)", true),
        (
            "alter table commits drop constraint commits_previous_epoch_key",
            "commits has no unique key (previous_epoch)",
            true,
        ),
        ("drop function citytide_fence", "citytide_fence(bigint) is missing", true),
        (
            "create or replace view conservation as select kafka_partition, first_offset, next_offset, accepted, late, \
             dead, lost, gaps, true as holds from ingest_progress",
            "the view conservation has another definition",
            false,
        ),
    ] {
        with_database(async |scratch| {
            let mut client = scratch.with_schema().await;
            let found = migrate::examine(&mut client, &schema(&domain), None)
                .await
                .expect("examined")
                .expect("there");
            assert_eq!(found, [], "as it was made");
            execute(&client, change).await;
            let found = migrate::examine(&mut client, &schema(&domain), None)
                .await
                .expect("examined")
                .expect("there");
            let words = migrate::in_words(&found);
            assert!(words.contains(said) && found.len() == 1, "{change}: {words}");
            let prepared = migrate::prepare(&mut client, &schema(&domain), "sensor-data").await;
            match prepared {
                Err(MigrateError::ChangedByHand { what }) => {
                    assert!(breaks && what == words, "{change}: {what}")
                }
                other => assert!(!breaks && other.is_ok(), "{change}: {other:?}"),
            }
        });
    }
}

#[test]
fn a_view_that_was_changed_by_hand_is_made_anew() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let domain = Domain::smart_city();
        execute(
            &client,
            "create or replace view conservation as select kafka_partition, first_offset, next_offset, accepted, late, \
             dead, lost, gaps, true as holds from ingest_progress",
        )
        .await;
        let mended = migrate::apply(&mut client, &schema(&domain), "sensor-data").await.expect("mended");
        assert_eq!(mended, [Difference::OtherView { view: "conservation".to_owned() }]);
        let found = migrate::examine(&mut client, &schema(&domain), None).await.expect("examined");
        assert_eq!(found, Some(Vec::new()));
    });
}

#[test]
fn preparing_adds_nothing_to_a_database_that_may_have_a_run() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let windy = windy();
        migrate::prepare(&mut client, &schema(&windy), "sensor-data").await.expect("it fits");
        assert_eq!(number(&client, "select count(*) from pg_attribute where attname like '%wind'").await, 0);
        let found =
            migrate::examine(&mut client, &schema(&windy), None).await.expect("examined").expect("there");
        assert!(!found.is_empty() && found.iter().all(Difference::is_migrated), "{found:?}");
    });
}

#[test]
fn a_role_without_rights_is_told_so() {
    with_database(async |scratch| {
        let owner = scratch.open().await;
        let role = format!("nobody_{}", std::process::id());
        execute(&owner, &format!("create role {role} login; revoke create on schema public from public"))
            .await;
        let mut client = scratch.database(Some(&role)).connect("test").await.expect("a session");
        let error =
            migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await.unwrap_err();
        execute(&owner, &format!("drop owned by {role}; drop role {role}")).await;
        assert!(error.is_denied() && error.to_string().contains(&role), "{error}");
    });
}

#[test]
fn a_migration_that_finds_the_tables_held_is_tried_again_until_it_succeeds() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let holder = scratch.open().await;
        execute(&holder, "begin; select count(*) from panes").await;
        let domain = windy();
        let schema = schema(&domain);
        let mut migration = std::pin::pin!(migrate::apply(&mut client, &schema, "sensor-data"));
        let release = std::pin::pin!(async {
            let failed = "select count(*) from pg_stat_activity where datname = current_database() \
                          and wait_event_type = 'Lock'";
            while number(&holder, failed).await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            // The waiter gives up after its lock timeout; only a further attempt can succeed.
            while number(&holder, failed).await > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            execute(&holder, "commit").await;
        });
        match select(migration.as_mut(), release).await {
            Either::Left((outcome, _)) => panic!("it ended while the table was held: {outcome:?}"),
            Either::Right(_) => drop(migration.await.expect("migrated")),
        }
    });
}
