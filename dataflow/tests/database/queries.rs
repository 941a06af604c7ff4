//! The scripts for people run.

use super::scratch::{execute, texts, with_database};

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
