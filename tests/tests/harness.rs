//! The harness against itself: what it finds in tables that are right, and in tables that are wrong.

use citytide_tests::city::{City, Metric};
use citytide_tests::compare::differences;
use citytide_tests::database::{Database, Session};
use citytide_tests::incidents;
use citytide_tests::kafka::{Stamp, Topic};
use citytide_tests::load::Traffic;
use citytide_tests::oracle::{Expected, Reason, Watermark, expect};
use citytide_tests::services::services;
use citytide_tests::snapshot;

fn at(us: i64) -> String {
    format!("to_timestamp({}::numeric / 1000000)", us)
}

fn number(value: Option<f64>) -> String {
    value.map_or("null".to_owned(), |value| format!("'{value}'::float8"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Writes the tables as the oracle has them, without the product.
fn write_tables(session: &Session, city: &City, expected: &Expected) {
    let mut sql = String::new();
    let metrics: Vec<&str> = city.metrics.iter().map(|metric| metric.name.as_str()).collect();
    sql += "create table commits (epoch bigint, previous_epoch bigint, committed_at timestamptz, watermark timestamptz, \
            windows_from timestamptz); create table changes (epoch bigint, table_name text, key jsonb);";
    sql += &format!(
        "insert into commits values (5, 0, '2026-11-21', null, null), (7, 5, '2026-11-22', {}, '2000-01-01');",
        expected.watermark_us.map_or("null".to_owned(), at)
    );
    sql += &format!(
        "create table sensor_data (epoch bigint, kafka_partition int, kafka_offset bigint, sensor_id text, zone text, recorded_at \
         timestamptz, {} float8, is_late bool, is_anomaly bool, anomaly_score real, severity text, reasons jsonb, \
         model_version int, confidence real, detector text);",
        metrics.join(" float8, ")
    );
    for ((partition, offset), row) in &expected.rows {
        let anomalous = !row.reasons.is_empty();
        let reasons: Vec<String> = row
            .reasons
            .iter()
            .map(|Reason { metric, actual, unit, rule, text }| {
                format!(
                    "{{\"metric\":\"{metric}\",\"actual\":{actual},\"unit\":\"{unit}\",\"rule\":\"{rule}\",\"text\":\"{text}\"}}"
                )
            })
            .collect();
        let values: Vec<String> =
            row.reading.values.iter().map(|value| number(value.map(|value| value + 0.0))).collect();
        sql += &format!(
            "insert into sensor_data values (7, {partition}, {offset}, {}, {}, {}, {}, {}, {anomalous}, {}, {}, {}, 0, null, \
             null);",
            quoted(&row.reading.sensor),
            quoted(&row.reading.zone),
            at(row.reading.event_us),
            values.join(", "),
            row.is_late,
            u8::from(anomalous),
            if anomalous { "'high'" } else { "null" },
            if anomalous { quoted(&format!("[{}]", reasons.join(","))) } else { "null".to_owned() },
        );
    }
    sql += "create table dead_letters (kafka_partition int, kafka_offset bigint, received_at timestamptz, reason text, \
            field text, message text, payload bytea, payload_bytes int, epoch bigint default 7);";
    for ((partition, offset), dead) in &expected.dead {
        let hex: String = dead.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        sql += &format!(
            "insert into dead_letters values ({partition}, {offset}, {}, '{}', {}, 'wrong', '\\x{hex}', {});",
            at(dead.received_at_ms * 1000),
            dead.reason,
            dead.field.as_deref().map_or("null".to_owned(), quoted),
            dead.payload_bytes
        );
    }
    sql += "create table ingest_progress (kafka_partition int, first_offset bigint, next_offset bigint, accepted bigint, \
            late bigint, dead bigint, lost bigint, gaps bigint, watermark timestamptz);
            create view conservation as select *, next_offset - first_offset = accepted + late + dead + lost + gaps as \
            holds from ingest_progress;";
    for (partition, p) in &expected.progress {
        sql += &format!(
            "insert into ingest_progress values ({partition}, 0, {}, {}, {}, {}, {}, {}, {});",
            p.next_offset,
            p.accepted,
            p.late,
            p.dead,
            p.lost,
            p.gaps,
            p.watermark_us.map_or("null".to_owned(), at)
        );
    }
    for (window, rows) in city.windows.iter().zip(&expected.windows) {
        let columns: Vec<String> =
            metrics.iter().map(|m| format!("avg_{m} float8, min_{m} float8, max_{m} float8")).collect();
        sql += &format!(
            "create table metrics_{} (zone text, window_start timestamptz, window_end timestamptz, reading_count bigint, \
             anomaly_count bigint, {}, is_final bool, revision int, updated_at timestamptz, epoch bigint);",
            window.name,
            columns.join(", ")
        );
        for ((zone, start), row) in rows {
            let figures: Vec<String> = row
                .metrics
                .iter()
                .flat_map(|span| {
                    let some = |value| number((span.count > 0).then_some(value));
                    [number(span.average()), some(span.min), some(span.max)]
                })
                .collect();
            sql += &format!(
                "insert into metrics_{} values ({}, {}, {}, {}, {}, {}, {}, 0, '2026-11-22', 7);",
                window.name,
                quoted(zone),
                at(*start),
                at(start + window.size_us),
                row.readings,
                row.anomalies,
                figures.join(", "),
                row.is_final
            );
        }
    }
    sql += "create table hot_sensors (zone text, rank int, sensor_id text, anomaly_count bigint, last_anomaly_at \
            timestamptz, epoch bigint);";
    for (zone, rank, sensor, count, last) in &expected.hot {
        sql += &format!(
            "insert into hot_sensors values ({}, {rank}, {}, {count}, {}, 7);",
            quoted(zone),
            quoted(sensor),
            at(*last)
        );
    }
    sql += &format!(
        "create table zone_status (zone text, window_start timestamptz, reading_count bigint, anomaly_count bigint, \
         avg_{} float8, anomalies_5min bigint, last_recorded_at timestamptz, epoch bigint);",
        metrics.join(" float8, avg_")
    );
    for (zone, status) in &expected.status {
        let last = status.last_final.as_ref();
        let averages: Vec<String> = (0..metrics.len())
            .map(|metric| number(last.and_then(|(_, row)| row.metrics[metric].average())))
            .collect();
        let figure = |value: Option<i64>| value.map_or("null".to_owned(), |value| value.to_string());
        sql += &format!(
            "insert into zone_status values ({}, {}, {}, {}, {}, {}, {}, 7);",
            quoted(zone),
            last.map_or("null".to_owned(), |(start, _)| at(*start)),
            figure(last.map(|(_, row)| row.readings)),
            figure(last.map(|(_, row)| row.anomalies)),
            averages.join(", "),
            status.anomalies,
            at(status.last_recorded_us)
        );
    }
    sql += &format!(
        "create table zone_latest (zone text, {}, epoch bigint);",
        metrics.iter().map(|m| format!("{m} float8, {m}_at timestamptz")).collect::<Vec<_>>().join(", ")
    );
    for (zone, status) in &expected.status {
        let latest = status.latest.iter().map(|latest| {
            let recorded_at = latest.map_or("null".to_owned(), |(recorded_us, _)| at(recorded_us));
            format!("{}, {recorded_at}", number(latest.map(|(_, value)| value + 0.0)))
        });
        let latest: Vec<String> = latest.collect();
        sql += &format!("insert into zone_latest values ({}, {}, 7);", quoted(zone), latest.join(", "));
    }
    sql += &format!(
        "create table quality_counts (zone text, window_start timestamptz, reading_count bigint, late_count bigint, \
         dead_letter_count bigint, {}, after_epoch bigint, epoch bigint);",
        metrics
            .iter()
            .map(|m| format!("count_{m} bigint, unusual_{m} bigint"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let of_metric = |metric: &Metric| {
        let (m, (least, greatest)) = (&metric.name, metric.usual);
        format!(
            "count({m}) filter (where not is_late), count(*) filter (where not is_late and not ({m} >= {least} and {m} <= \
             {greatest}))"
        )
    };
    let of_readings: Vec<String> = city.metrics.iter().map(of_metric).collect();
    sql += &format!(
        "insert into quality_counts select zone, date_trunc('minute', recorded_at), count(*) filter (where not is_late), \
         count(*) filter (where is_late), 0, {}, 0, 7 from sensor_data group by 1, 2; \
         insert into quality_counts select '', date_trunc('minute', received_at), 0, 0, count(*), {}, 0, 7 \
         from dead_letters group by 2;",
        of_readings.join(", "),
        metrics.iter().map(|_| "0, 0").collect::<Vec<_>>().join(", ")
    );
    let newest = metrics.iter().map(|m| {
        format!(
            ", (max(array[extract(epoch from recorded_at)::float8, {m}]) filter (where {m} is not null))[2] {m}, max(recorded_at) \
             filter (where {m} is not null) {m}_at"
        )
    });
    sql += &format!(
        "create table sensor_states as select sensor_id, (array_agg(zone order by recorded_at desc, zone collate \"C\" desc))[1] \
         zone, max(recorded_at) last_recorded_at{}, max(hour) hour_start, bit_or(1::bigint << minute) filter (where hour = newest) \
         minutes, count(*) filter (where hour = newest) readings, coalesce(bit_or(1::bigint << minute) filter (where hour = newest \
         - interval '1 hour'), 0) minutes_before, count(*) filter (where hour = newest - interval '1 hour') readings_before, \
         7::bigint as_of, 7::bigint epoch from (select *, date_trunc('hour', recorded_at) as hour, date_trunc('hour', \
         max(recorded_at) over (partition by sensor_id)) as newest, extract(minute from recorded_at)::int as minute from \
         sensor_data where not is_late) as s group by 1;",
        newest.collect::<String>(),
    );
    session.batch(&sql);
}

#[test]
fn the_oracle_the_comparison_and_the_snapshots_agree_with_each_other_and_notice_every_table_that_is_wrong() {
    let services = services();
    let city = City::smart();
    let topic = Topic::create(&services, "harness", 2, Stamp::CreateTime);
    let mut traffic = Traffic::new(1, 100_000);
    traffic.garbage_per_mille = 40;
    traffic.send(&topic, &city, 2, 6000);
    topic.flush();
    let expected = expect(&city, &topic.sent(), Watermark::OfAllPartitions);
    // The traffic has everything that is to be told apart.
    assert!(expected.rows.values().any(|row| row.is_late));
    assert!(expected.dead.values().any(|dead| dead.reason == "in_the_future"));
    assert!(expected.dead.values().any(|dead| dead.reason == "too_old"));
    assert!(!expected.hot.is_empty());
    assert!(expected.windows.iter().all(|rows| rows.values().any(|row| row.is_final)));
    assert!(expected.windows.iter().all(|rows| rows.values().any(|row| !row.is_final)));

    let database = Database::create(&services, "harness");
    let session = &database.session;
    write_tables(session, &city, &expected);
    differences(session, &city, &expected).assert_none();
    incidents::write_tables(session, &city);
    snapshot::check_once(session, &city);
    assert!(incidents::look(session, &city).expect("a snapshot").1 > 0);

    let some = |table: &str| format!("ctid = (select min(ctid) from {table})");
    for (table, set, snapshots_see_it) in [
        ("metrics_1min", "reading_count = reading_count + 1", true),
        ("metrics_5min", "anomaly_count = anomaly_count + 1", true),
        ("metrics_5min", "min_aqi = -1e-9", true),
        ("metrics_1min", "avg_humidity = avg_humidity * (1 + 1e-8)", true),
        ("metrics_1min", "avg_humidity = null", true),
        ("metrics_1min", "is_final = not is_final", true),
        ("metrics_1min", "window_start = window_start + interval '1 year'", true),
        ("sensor_data", "is_late = not is_late", true),
        ("sensor_data", "temperature = coalesce(temperature, 0) + 1e6", true),
        ("sensor_data", "sensor_id = 'x'", true),
        ("sensor_data", "is_anomaly = not is_anomaly", true),
        ("dead_letters", "reason = 'nothing'", false),
        ("dead_letters", "payload = '\\x00'", false),
        ("dead_letters", "kafka_offset = 1000000", true),
        ("ingest_progress", "accepted = accepted + 1", true),
        ("ingest_progress", "watermark = watermark + interval '1 second'", true),
        ("hot_sensors", "anomaly_count = anomaly_count + 1", true),
        ("zone_status", "anomalies_5min = anomalies_5min + 1", true),
        ("zone_status", "avg_aqi = avg_aqi + 1", false),
        ("zone_latest", "aqi = aqi + 1", true),
        ("zone_latest", "humidity_at = humidity_at + interval '1 microsecond'", true),
        ("quality_counts", "reading_count = reading_count + 1", true),
        ("quality_counts", "unusual_aqi = unusual_aqi + 1", true),
        ("quality_counts", "dead_letter_count = dead_letter_count + 1", true),
        ("quality_counts", "window_start = window_start + interval '1 minute'", true),
        ("sensor_states", "aqi = coalesce(aqi, 0) + 1", true),
        ("sensor_states", "zone = 'x'", true),
        ("sensor_states", "last_recorded_at = last_recorded_at - interval '1 microsecond'", true),
        ("sensor_states", "readings = readings + 1", true),
        ("sensor_states", "readings_before = readings_before + 1", true),
    ] {
        session.batch(&format!("begin; update {table} set {set} where {}", some(table)));
        assert!(!differences(session, &city, &expected).is_empty(), "{table} set {set} goes unnoticed");
        assert_eq!(!snapshot::look(session, &city).is_empty(), snapshots_see_it, "{table} set {set}");
        session.batch("rollback");
    }
    for (table, set) in [
        ("incident_occurrences", "readings = readings + 1"),
        ("incident_occurrences", "sensor_ids = sensor_ids || '[\"x\"]'"),
        ("incident_occurrences", "first_at = first_at - interval '1 microsecond'"),
        ("incident_states", "condition = 'withdrawn'"),
        ("incident_states", "severity = 'low'"),
        ("incident_states", "occurrences = occurrences + 1"),
        ("incident_states", "sensors = sensors - 1"),
    ] {
        session.batch(&format!("begin; update {table} set {set} where {}", some(table)));
        let (wrong, _) = incidents::look(session, &city).expect("a snapshot");
        assert!(!wrong.is_empty(), "{table} set {set} goes unnoticed by a snapshot");
        session.batch("rollback");
    }
    // What only the history of commits tells.
    for (table, set, rows) in [
        ("metrics_5min", "revision = 1", some("metrics_5min")),
        ("metrics_1min", "updated_at = '2026-11-21'", some("metrics_1min")),
        ("metrics_1min", "epoch = 5", some("metrics_1min")),
        ("hot_sensors", "epoch = 6", some("hot_sensors")),
        ("zone_status", "epoch = 8", some("zone_status")),
        ("quality_counts", "after_epoch = 9", some("quality_counts")),
        ("sensor_states", "minutes = minutes # 8", some("sensor_states")),
        ("sensor_states", "minutes_before = minutes_before # 8", some("sensor_states")),
        ("sensor_states", "hour_start = hour_start - interval '1 hour'", some("sensor_states")),
        ("sensor_states", "as_of = 8", some("sensor_states")),
        ("commits", "windows_from = 'infinity'", "epoch = 7".to_owned()),
        ("commits", "previous_epoch = 6", "epoch = 7".to_owned()),
    ] {
        session.batch(&format!("begin; update {table} set {set} where {rows}"));
        assert!(!snapshot::look(session, &city).is_empty(), "{table} set {set} goes unnoticed by a snapshot");
        session.batch("rollback");
    }
}
