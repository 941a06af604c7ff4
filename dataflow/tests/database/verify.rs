//! `verify` agrees with a database that is right, whatever its windows, and finds whatever is wrong with one.

use citytide::cli::verify::{Report, VerifyError, verify};
use citytide::views::schema;
use citytide_domain::{Domain, SessionBy, SessionWindow, Window};
use citytide_store::ledger;
use citytide_store::migrate::{self, Difference};
use citytide_store::schema::Pace;
use citytide_store::upkeep::ensure_partitions;
use tokio_postgres::Client;

use super::scratch::{NOON_MS, Scratch, execute, number, texts, with_database};

/// W of the database that [`fill`] makes, and the epochs of its readings.
const WATERMARK: &str = "timestamptz '2026-11-21 12:08:20+00'";
const FIRST_EPOCH: u64 = NOON_MS;
const LAST_EPOCH: u64 = NOON_MS + 50 * 39;

/// Three zones, ten minutes of readings, committed in 40 epochs; the tables computed naively.
async fn fill(client: &mut Client, domain: &Domain) {
    migrate::apply(client, &schema(domain), "t").await.expect("the schema");
    ensure_partitions(client, 0, NOON_MS, Some(Pace::Live)).await.expect("partitions");
    let names: Vec<&str> = domain.metrics.iter().map(|metric| metric.name.as_str()).collect();
    // Values of several magnitudes and signs, some of them null; averages near zero occur.
    let values: Vec<String> = (1..=names.len())
        .map(|metric| {
            format!("case when (n + {metric}) % 7 > 0 then sin(n * {metric}.7) * power(10, n % 4) end")
        })
        .collect();
    execute(
        client,
        &format!(
            "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, {names}, \
             is_late, is_anomaly, anomaly_score, model_version, severity, reasons) \
             select {FIRST_EPOCH} + n / 50 * 50, n % 2, n / 2, (n % 37)::text, 'zone ' || n % 3, \
             timestamptz '2026-11-21 12:00:00+00' + n * interval '300 milliseconds', {values}, n % 41 = 0, n % 5 = 0, 0, 0, \
             case when n % 5 = 0 then 'high' end, case when n % 5 = 0 then jsonb_build_array(jsonb_build_object( \
             'metric', 'aqi', 'actual', n, 'unit', 'AQI', 'rule', '> 300', 'text', 'aqi ' || n)) end \
             from generate_series(0, 1999) as n; \
             insert into dead_letter_records select {FIRST_EPOCH}, 0, 1000 + n, now(), 'empty', null, '', '', 0 \
             from generate_series(0, 4) as n; \
             insert into commits select e, case e when {FIRST_EPOCH} then 0 else e - 50 end, 0, now(), {WATERMARK}, 50 \
             from generate_series({FIRST_EPOCH}::bigint, {LAST_EPOCH}, 50) as e; \
             insert into ingest_progress select p, 't ' || p, 0, 1000 + 5 * (1 - p), \
             (select count(*) from sensor_readings where kafka_partition = p and not is_late), \
             (select count(*) from sensor_readings where kafka_partition = p and is_late), 5 * (1 - p), 0, 0, \
             {WATERMARK}, false from generate_series(0, 1) as p",
            names = names.join(", "),
            values = values.join(", "),
        ),
    )
    .await;
    let each =
        |form: &dyn Fn(&str) -> String| names.iter().map(|name| form(name)).collect::<Vec<_>>().join(", ");
    for window in &domain.windows {
        let (size, slide) = (window.size_us, window.slide_us);
        // The last multiple of the slide before the morning.
        let first = (NOON_MS - 6 * 3_600_000) as i64 * 1000 / slide;
        execute(
            client,
            &format!(
                "insert into {table} (window_start, window_end, zone, reading_count, anomaly_count, {columns}, is_final, \
                 revision, updated_at) select s, s + interval '{size} us', zone, count(*), \
                 count(*) filter (where is_anomaly), {figures}, s + interval '{size} us' <= {WATERMARK}, 0, now() \
                 from generate_series(timestamptz 'epoch' + {first} * interval '{slide} us', '2026-11-21 13:00:00+00', '{slide} us') \
                 as s \
                 join sensor_readings on recorded_at >= s and recorded_at < s + interval '{size} us' \
                 where not is_late group by s, zone",
                table = window.table(),
                columns = each(&|name| format!("avg_{name}, min_{name}, max_{name}")),
                figures = each(&|name| format!("avg({name}), min({name}), max({name})")),
            ),
        )
        .await;
    }
    execute(
        client,
        &format!(
            "insert into panes (zone, pane_start, reading_count, anomaly_count, first_epoch, last_epoch, {columns}) \
             select zone, s, count(*), count(*) filter (where is_anomaly), min(epoch), max(epoch), {figures} \
             from generate_series(timestamptz '2026-11-21 12:00:00+00', '2026-11-21 13:00:00+00', '{pane} us') as s \
             join sensor_readings on recorded_at >= s and recorded_at < s + interval '{pane} us' \
             where not is_late group by s, zone; \
             insert into hot_sensors select zone, row_number() over (partition by zone order by n desc, sensor_id collate \"C\"), \
             sensor_id, n, at from (select zone, sensor_id, count(*) as n, max(recorded_at) as at, \
             row_number() over (partition by zone order by count(*) desc, sensor_id collate \"C\") as r from sensor_readings \
             where is_anomaly and not is_late and recorded_at >= {WATERMARK} - interval '5 min' \
             and recorded_at < {WATERMARK} group by 1, 2) as counted where r <= 10; \
             insert into zone_status (zone, window_start, reading_count, anomaly_count, {averages}, anomalies_5min, \
             last_recorded_at) select zone, window_start, reading_count, anomaly_count, {averages}, \
             (select count(*) from sensor_readings as r where r.zone = z.zone and is_anomaly and not is_late \
             and recorded_at >= {WATERMARK} - interval '5 min' and recorded_at < {WATERMARK}), \
             (select max(recorded_at) from sensor_readings as r where r.zone = z.zone and not is_late) \
             from {first} as z where is_final and window_start = (select max(window_start) from {first} where is_final); \
             insert into zone_latest (zone, {newest_columns}) select zone, {newest} from zone_status as z; \
             insert into quality_counts (zone, window_start, reading_count, late_count, {counts}, after_epoch) \
             select zone, to_timestamp(floor(extract(epoch from recorded_at) / 60) * 60), \
             sum(case when is_late then 0 else 1 end), sum(case when is_late then 1 else 0 end), {counted}, \
             min(epoch) - 50 from sensor_readings group by 1, 2; \
             insert into quality_counts (zone, window_start, dead_letter_count, after_epoch) \
             select '', date_trunc('minute', received_at), count(*), 0 from dead_letter_records group by 2; \
             insert into sensor_states (sensor_id, zone, last_recorded_at, {newest_columns}, hour_start, minutes, readings, \
             minutes_before, readings_before, as_of) select sensor_id, \
             (array_agg(zone order by recorded_at desc))[1], max(recorded_at), {newest_of_sensor}, \
             timestamptz '2026-11-21 12:00+00', bit_or(1::bigint << extract(minute from recorded_at)::int), count(*), 0, 0, \
             {LAST_EPOCH} from sensor_readings where not is_late group by sensor_id",
            newest_of_sensor = each(&|name| {
                let of = |column: &str| {
                    format!(
                        "(array_agg({column} order by recorded_at desc, {name} desc) filter (where {name} is not null))[1]"
                    )
                };
                format!("{}, {}", of(name), of("recorded_at"))
            }),
            counts = each(&|name| format!("count_{name}, unusual_{name}")),
            counted = each(&|name| {
                let (least, greatest) = domain.metrics.iter().find(|metric| metric.name == name).expect("it is one").usual;
                let unusual = format!("not is_late and {name} not between {least} and {greatest}");
                format!(
                    "sum(case when not is_late and {name} is not null then 1 else 0 end), \
                     sum(case when {unusual} then 1 else 0 end)"
                )
            }),
            columns = each(&|name| format!("count_{name}, min_{name}, max_{name}")),
            figures = each(&|name| format!("count({name}), min({name}), max({name})")),
            averages = each(&|name| format!("avg_{name}")),
            newest = each(&|name| {
                let of = format!(
                    "(select {{}} from sensor_readings as r where r.zone = z.zone and not is_late and {name} is not null \
                     order by recorded_at desc, {name} desc limit 1)"
                );
                format!("{}, {}", of.replace("{}", name), of.replace("{}", "recorded_at"))
            }),
            newest_columns = each(&|name| format!("{name}, {name}_at")),
            pane = domain.pane_us(),
            first = domain.windows[0].table(),
        ),
    )
    .await;
    // Each zone has one occurrence, which is one incident: an anomaly every few seconds, the last one the furthest off.
    let of_zones = format!(
        "select zone, min(recorded_at) as first_at, max(recorded_at) as last_at, count(*) as readings, \
         jsonb_agg(distinct sensor_id) as sensor_ids, count(distinct sensor_id) as sensors, \
         max((reasons -> 0 ->> 'actual')::int) as most from sensor_readings \
         where is_anomaly and not is_late and recorded_at < {WATERMARK} group by zone"
    );
    let peak = "most - 300, last_at, (most % 37)::text, 'aqi', most, null, null, 'AQI', 'aqi ' || most, 0";
    execute(
        client,
        &format!(
            "insert into incident_occurrences select zone, 'rule', 'aqi', '', first_at, last_at, readings, null, null, \
             last_at, sensor_ids, {peak} from ({of_zones}) as of_zones; \
             insert into incident_states select zone, left(encode(sha256(convert_to(array_to_string(array['rule', zone, \
             'aqi', '', (1e6 * extract(epoch from date_bin('10 s', first_at, 'epoch')))::bigint::text], chr(31)), 'UTF8')), \
             'hex'), 16), 'rule', 'aqi', '', 'open', null, 'high', 'high', first_at, last_at, null, 7, readings, sensors, 1, \
             {peak} from ({of_zones}) as of_zones"
        ),
    )
    .await;
}

async fn report(scratch: &Scratch, domain: &Domain) -> Report {
    let (database, domain) = (scratch.database(None), domain.clone());
    // `verify` has a runtime of its own, and the test has one: another thread keeps them apart.
    std::thread::spawn(move || verify(&database, &domain, false).expect("something to verify"))
        .join()
        .expect("no panic")
}

/// Names of the checks that differ.
async fn differing(scratch: &Scratch, domain: &Domain) -> Vec<String> {
    let report = report(scratch, domain).await;
    report.checks.into_iter().filter(|check| check.differing > 0).map(|check| check.name).collect()
}

#[test]
fn a_right_database_agrees() {
    with_database(async |scratch| {
        let domain = Domain::smart_city();
        fill(&mut scratch.open().await, &domain).await;
        let report = report(scratch, &domain).await;
        assert!(report.agrees(), "{report}");
        assert!(report.checks.iter().all(|check| check.compared > 0), "{report}");
    });
}

#[test]
fn a_live_view_that_a_database_lacks_comes_filled() {
    with_database(async |scratch| {
        let domain = Domain::smart_city();
        let mut client = scratch.open().await;
        fill(&mut client, &domain).await;
        for (table, views, rows) in
            [("zone_latest", &[][..], 3), ("quality_counts", &["data_quality_1min", "completeness_1min"], 31)]
        {
            execute(&client, &format!("drop table {table} cascade")).await;
            let mended = migrate::apply(&mut client, &schema(&domain), "t").await.expect("made and filled");
            let missing = [table].into_iter().chain(views.iter().copied());
            let missing = missing.map(|name| Difference::MissingTable { table: name.to_owned() });
            assert_eq!(mended, missing.collect::<Vec<_>>());
            let again = migrate::apply(&mut client, &schema(&domain), "t").await.expect("nothing to do");
            assert_eq!(again, []);
            let report = report(scratch, &domain).await;
            assert!(report.agrees(), "{report}");
            assert!(report.checks.iter().all(|check| check.compared > 0), "{report}");
            let epochs =
                format!("select count(*) from {table} where epoch = (select max(epoch) from commits)");
            assert_eq!(number(&client, &epochs).await, rows);
        }
    });
}

#[test]
fn a_database_of_before_sensors_gets_them_from_its_readings_and_a_restart_has_nothing_to_add() {
    with_database(async |scratch| {
        let domain = Domain::smart_city();
        let mut client = scratch.open().await;
        fill(&mut client, &domain).await;
        execute(&client, "drop table sensor_states cascade").await;
        let mended = migrate::apply(&mut client, &schema(&domain), "t").await.expect("made and filled");
        assert_eq!(mended.len(), 2, "{mended:?}");
        let report = report(scratch, &domain).await;
        assert!(report.agrees(), "{report}");
        assert!(report.checks.iter().all(|check| check.compared > 0), "{report}");
        assert_eq!(number(&client, "select count(*) from sensor_states").await, 37);
        let overdue = async |client: &Client| {
            let ledger = ledger::read(client, &schema(&domain), |low_us| low_us).await.expect("the ledger");
            ledger.rows("sensor_states").len()
        };
        assert_eq!(overdue(&client).await, 0);
        // What came behind the rows' epoch is read back.
        execute(
            &client,
            &format!("update sensor_states set as_of = {LAST_EPOCH} - 50 where sensor_id = '35'"),
        )
        .await;
        execute(&client, "delete from sensor_states where sensor_id = '34'").await;
        let sensors = "select count(distinct sensor_id) from sensor_readings where not is_late and sensor_id in ('34', '35')";
        let since = format!(
            "{sensors} and epoch > case sensor_id when '34' then {LAST_EPOCH} - 1000 else {LAST_EPOCH} - 50 end"
        );
        let states = overdue(&client).await;
        assert_eq!(states as i64, number(&client, &since).await);
        assert!(states > 0);
    });
}

#[test]
fn the_status_of_a_sensor_says_how_often_it_sends_since_when_it_is_silent_and_what_is_wrong() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        // A reading each ten seconds; one each four minutes, the last one long ago; one that came once.
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, readings, watermark) values \
             (1000, 0, 0, 0, '2026-11-21 12:30:20+00'), (2000, 1000, 0, 0, '2026-11-21 12:59:00+00'); \
 insert into sensor_states (sensor_id, zone, last_recorded_at, aqi, aqi_at, clock_offset_ms, hour_start, minutes, \
             readings, minutes_before, readings_before, as_of) values \
             ('fast', 'a', '2026-11-21 12:30:00+00', 50, '2026-11-21 12:30:00+00', -250, '2026-11-21 12:00:00+00', \
             (1::bigint << 30) - 1, 180, (1::bigint << 60) - 1, 360, 2000), \
             ('slow', 'a', '2026-11-21 12:12:00+00', null, null, null, '2026-11-21 12:00:00+00', \
             1 | (1 << 4) | (1 << 8) | (1 << 12), 4, (1::bigint << 52) | (1::bigint << 56), 2, 700), \
             ('once', 'b', '2026-11-21 12:00:00+00', null, null, null, '2026-11-21 12:00:00+00', 1, 1, 0, 0, 600); \
             insert into incident_states (zone, incident_id, kind, metric, sensor_id, condition, severity, severity_peak, \
             opened_at, last_seen_at, revision, readings, sensors, occurrences, peak_magnitude, peak_at, peak_sensor_id, \
             peak_metric, unit, reason, model_version) select 'a', id, kind, 'aqi', 'slow', condition, 'low', 'low', \
             '2026-11-21 12:04+00', now(), 1, 1, 1, 1, 1, now(), 'slow', 'aqi', '', '', 0 from (values ('1', 'stuck', 'open'), ('2', 'model', 'open'), ('3', 'stuck', 'cleared')) \
             as one (id, kind, condition)",
        )
        .await;
        let time = |of: &str| format!("coalesce(to_char({of} at time zone 'UTC', 'HH24:MI:SS'), '–')");
        let sql = format!(
            "select concat_ws(' ', sensor_id, zone, {}, aqi, readings_1h, coalesce(expected_interval::text, '–'), {}, {}, \
             coalesce(clock_offset::text, '–'), open_incidents, epoch) from sensor_status order by 1",
            time("last_recorded_at"),
            time("silent_since"),
            time("stuck_since"),
        );
        let expected = [
            "fast a 12:30:00 50 354 00:00:10 – – -00:00:00.25 0 2000",
            "once b 12:00:00 1 – – – – 0 600",
            "slow a 12:12:00 6 00:04:00 12:12:00 12:04:00 – 2 700",
        ];
        assert_eq!(texts(&client, &sql).await, expected);
    });
}

#[test]
fn a_database_of_before_incidents_gets_them_from_its_readings_with_views_and_functions() {
    with_database(async |scratch| {
        let domain = Domain::smart_city();
        let mut client = scratch.open().await;
        fill(&mut client, &domain).await;
        let before = "drop view sensor_status, alarm_load, incident_changes, incidents, incident_settings; \
                      drop function citytide_incident_acknowledge, citytide_incident_assign, citytide_incident_comment, \
                      citytide_incident_shelve, citytide_incident_unshelve, citytide_incident_service, \
                      citytide_incident_act; \
                      drop table incident_actions, incident_transitions, incident_states, incident_occurrences";
        execute(&client, before).await;
        let mended = migrate::apply(&mut client, &schema(&domain), "t").await.expect("made and filled");
        assert_eq!(mended.len(), 9, "{mended:?}");
        let report = report(scratch, &domain).await;
        assert!(report.agrees(), "{report}");
        assert!(report.checks.iter().all(|check| check.compared > 0), "{report}");
        let open = "select count(*) from incidents where needs_attention";
        assert_eq!(number(&client, open).await, 3);
        let sql =
            "select citytide_incident_acknowledge(incident_id, 'seen') from incidents where zone = 'zone 1'";
        execute(&client, sql).await;
        assert_eq!(number(&client, open).await, 2);
    });
}

#[test]
fn the_completeness_of_a_minute_is_its_share_of_the_median_of_the_hour_before() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values (1, 0, 0, 0, '2026-11-21 12:03:30+00'); \
             insert into quality_counts (zone, window_start, reading_count, dead_letter_count, after_epoch) values \
             ('a', '2026-11-21 10:59+00', 9, 0, 0), ('a', '2026-11-21 12:00+00', 4, 0, 0), \
             ('a', '2026-11-21 12:01+00', 8, 0, 0), ('a', '2026-11-21 12:02+00', 6, 0, 0), \
             ('a', '2026-11-21 12:03+00', 3, 0, 0), ('b', '2026-11-21 12:03+00', 5, 0, 0), \
             ('', '2026-11-21 12:03+00', 0, 7, 0)",
        )
        .await;
        let sql = "select concat_ws(' ', zone, to_char(window_start at time zone 'UTC', 'HH24:MI'), reading_count, \
                   coalesce(expected_count::text, '–'), coalesce(completeness::text, '–'), is_final) \
                   from completeness_1min order by zone, window_start";
        let expected = [
            "a 10:59 9 – – t",
            "a 12:00 4 – – t",
            "a 12:01 8 4 2 t",
            "a 12:02 6 4 1.5 t",
            "a 12:03 3 6 0.5 f",
            "b 12:03 5 – – f",
        ];
        assert_eq!(texts(&client, sql).await, expected);
        let sql = "select concat_ws(' ', zone, to_char(minute at time zone 'UTC', 'HH24:MI'), \
                   coalesce(expected::text, '–'), readings, dead, nulls_aqi) \
                   from data_quality_1min order by zone, minute";
        let shown = [
            " 12:03 – 0 7 0",
            "a 10:59 – 9 0 9",
            "a 12:00 – 4 0 4",
            "a 12:01 4 8 0 8",
            "a 12:02 4 6 0 6",
            "a 12:03 6 3 0 3",
            "b 12:03 – 5 0 5",
        ];
        assert_eq!(texts(&client, sql).await, shown);
    });
}

#[test]
fn windows_of_any_size_and_slide_agree() {
    with_database(async |scratch| {
        let mut domain = Domain::smart_city();
        let window = |name: &str, size_s: i64, slide_s: i64| Window {
            name: name.to_owned(),
            size_us: size_s * 1_000_000,
            slide_us: slide_s * 1_000_000,
        };
        domain.windows = vec![window("90s", 90, 30), window("7s", 7, 7), window("hour", 3600, 1200)];
        fill(&mut scratch.open().await, &domain).await;
        let report = report(scratch, &domain).await;
        assert!(report.agrees(), "{report}");
    });
}

#[test]
fn every_kind_of_damage_is_found() {
    let damages = [
        (
            "update metrics_1min set reading_count = reading_count + 1 where zone = 'zone 1'",
            "metrics_1min zone_status",
        ),
        ("update metrics_5min set avg_aqi = avg_aqi * (1 + 1e-7) where zone = 'zone 1'", "metrics_5min"),
        ("update metrics_5min set min_humidity = null where zone = 'zone 1'", "metrics_5min"),
        ("update metrics_5min set is_final = not is_final where zone = 'zone 1'", "metrics_5min"),
        ("delete from metrics_5min where zone = 'zone 2'", "metrics_5min"),
        (
            "insert into metrics_5min (window_start, window_end, zone, reading_count, anomaly_count, is_final, revision, \
             updated_at) values ('2026-11-21 11:00+00', '2026-11-21 11:05+00', 'zone 1', 1, 0, true, 0, now())",
            "metrics_5min",
        ),
        ("update panes set max_aqi = max_aqi + 1 where zone = 'zone 0'", "panes"),
        ("update panes set first_epoch = last_epoch + 1", "panes"),
        ("update ingest_progress set gaps = 1 where kafka_partition = 0", "conservation"),
        ("update ingest_progress set late = late + 1, accepted = accepted - 1", "conservation"),
        ("delete from dead_letter_records where kafka_offset = 1001", "conservation quality_counts"),
        ("delete from ingest_progress where kafka_partition = 1", "conservation"),
        ("delete from commits where epoch = 1795262400050", "commits"),
        ("update hot_sensors set rank = 11 - rank + 100", "hot_sensors"),
        ("update zone_status set avg_aqi = null where zone = 'zone 1'", "zone_status"),
        ("update zone_status set anomalies_5min = 0", "zone_status"),
        ("delete from zone_status where zone = 'zone 1'", "zone_status"),
        ("update zone_latest set aqi = aqi + 1 where zone = 'zone 1'", "zone_latest"),
        (
            "update zone_latest set aqi_at = aqi_at + interval '1 microsecond' where zone = 'zone 1'",
            "zone_latest",
        ),
        ("delete from zone_latest where zone = 'zone 1'", "zone_latest"),
        ("update quality_counts set late_count = late_count + 1 where zone = 'zone 1'", "quality_counts"),
        ("update quality_counts set count_aqi = count_aqi - 1 where zone = 'zone 1'", "quality_counts"),
        ("update quality_counts set unusual_aqi = unusual_aqi + 1 where zone = 'zone 1'", "quality_counts"),
        ("update quality_counts set dead_letter_count = 1 where zone = 'zone 2'", "quality_counts"),
        ("update quality_counts set after_epoch = 1795262400000", "quality_counts"),
        ("delete from quality_counts where zone = ''", "quality_counts"),
        (
            "insert into quality_counts (zone, window_start, late_count, after_epoch) \
             values ('zone 9', '2026-11-21 12:00+00', 1, 0)",
            "quality_counts",
        ),
        ("update sensor_states set aqi = aqi + 1 where sensor_id = '7'", "sensor_states"),
        (
            "update sensor_states set aqi_at = aqi_at - interval '1 microsecond' where sensor_id = '7'",
            "sensor_states",
        ),
        ("update sensor_states set zone = 'zone 9' where sensor_id = '7'", "sensor_states"),
        (
            "update sensor_states set last_recorded_at = last_recorded_at + interval '1 second' where sensor_id = '7'",
            "sensor_states",
        ),
        ("update sensor_states set as_of = as_of - 1050 where sensor_id = '7'", "sensor_states"),
        ("delete from sensor_states where sensor_id = '7'", "sensor_states"),
        (
            "insert into sensor_states (sensor_id, zone, last_recorded_at, hour_start, minutes, readings, minutes_before, \
             readings_before, as_of) values ('x', 'zone 1', now(), now(), 0, 0, 0, 0, 1)",
            "sensor_states",
        ),
        ("update sensor_states set minutes = minutes # 4 where sensor_id = '7'", "sensor_states"),
        ("update sensor_states set readings = readings + 1 where sensor_id = '7'", "sensor_states"),
        ("update sensor_states set minutes_before = 1 where sensor_id = '7'", "sensor_states"),
        ("update sensor_states set readings_before = 1 where sensor_id = '7'", "sensor_states"),
        (
            "update sensor_states set hour_start = hour_start + interval '1 hour' where sensor_id = '7'",
            "sensor_states",
        ),
        (
            "update incident_occurrences set readings = readings + 1 where zone = 'zone 1'",
            "incident_occurrences",
        ),
        ("update incident_occurrences set sensor_ids = sensor_ids || '[\"x\"]'", "incident_occurrences"),
        ("delete from incident_occurrences where zone = 'zone 2'", "incident_occurrences"),
        ("update incident_states set condition = 'cleared'", "incident_states"),
        ("update incident_states set incident_id = 'another' where zone = 'zone 1'", "incident_states"),
        ("update incident_states set peak_value = peak_value + 1, sensors = sensors - 1", "incident_states"),
        ("update incident_states set severity = 'low' where zone = 'zone 0'", "incident_states"),
        ("delete from incident_states", "incident_states"),
    ];
    with_database(async |scratch| {
        let domain = Domain::smart_city();
        let mut client = scratch.open().await;
        fill(&mut client, &domain).await;
        execute(&client, "create schema kept").await;
        let tables = [
            "metrics_1min",
            "metrics_5min",
            "panes",
            "ingest_progress",
            "dead_letter_records",
            "commits",
            "hot_sensors",
            "zone_status",
            "zone_latest",
            "quality_counts",
            "incident_occurrences",
            "incident_states",
            "sensor_states",
        ];
        for table in tables {
            execute(&client, &format!("create table kept.{table} as table {table}")).await;
        }
        for (damage, found) in damages {
            execute(&client, damage).await;
            assert_eq!(differing(scratch, &domain).await.join(" "), found, "{damage}");
            for table in tables {
                execute(&client, &format!("delete from {table}; insert into {table} table kept.{table}"))
                    .await;
            }
        }
        assert!(report(scratch, &domain).await.agrees());
    });
}

#[test]
fn what_lies_behind_the_horizon_is_not_compared_and_the_rest_is() {
    with_database(async |scratch| {
        let domain = Domain::smart_city();
        let mut client = scratch.open().await;
        fill(&mut client, &domain).await;
        let before = report(scratch, &domain).await;
        let horizon = FIRST_EPOCH + 50 * 10;
        execute(&client, &format!("update citytide_database set horizon_epoch = {horizon}")).await;
        execute(&client, &format!("delete from sensor_readings where epoch <= {horizon}")).await;
        let after = report(scratch, &domain).await;
        assert!(after.agrees(), "{after}");
        for (before, after) in before.checks.iter().zip(&after.checks).take(3) {
            assert!(after.compared > 0 && after.compared < before.compared, "{}", after.name);
        }
        let quality = |report: &Report| {
            report.checks.iter().find(|check| check.name == "quality_counts").map(|check| check.compared)
        };
        assert!(quality(&after) > Some(0) && quality(&after) < quality(&before), "{after}");
        execute(&client, "update metrics_5min set anomaly_count = anomaly_count + 1").await;
        assert_eq!(differing(scratch, &domain).await, ["metrics_5min"]);
        execute(&client, "update quality_counts set late_count = late_count + 1").await;
        assert_eq!(differing(scratch, &domain).await, ["metrics_5min", "quality_counts"]);
    });
}

/// Readings of a zone are 0.9 s apart and a late one leaves a gap, those of a sensor in a zone come every 33 s.
fn with_sessions() -> Domain {
    let window = |name: &str, gap_s: i64, max_s: i64, by| SessionWindow {
        name: name.to_owned(),
        gap_us: gap_s * 1_000_000,
        max_us: max_s * 1_000_000,
        by,
    };
    let mut domain = Domain::smart_city();
    domain.sessions =
        vec![window("visits", 1, 86_400, SessionBy::Zone), window("trips", 40, 120, SessionBy::Sensor)];
    domain
}

#[test]
fn sessions_that_came_later_agree_and_every_kind_of_damage_is_found() {
    let damages = [
        (
            "update metrics_visits set reading_count = reading_count + 1 where zone = 'zone 1'",
            "metrics_visits",
        ),
        ("update metrics_trips set window_end = window_end + interval '1 us'", "metrics_trips"),
        ("update metrics_trips set is_final = not is_final where zone = 'zone 1'", "metrics_trips"),
        ("update metrics_visits set sum_aqi = sum_aqi + 1 where count_aqi > 0", "metrics_visits"),
        ("update metrics_visits set max_aqi = max_aqi + 1", "metrics_visits"),
        ("update metrics_visits set first_epoch = first_epoch + 50", "metrics_visits"),
        ("delete from metrics_trips where sensor_id = '7'", "metrics_trips"),
        ("update metrics_trips set window_start = window_start - interval '1 us'", "metrics_trips"),
    ];
    with_database(async |scratch| {
        let domain = with_sessions();
        let mut client = scratch.open().await;
        fill(&mut client, &Domain::smart_city()).await;
        let added = migrate::apply(&mut client, &schema(&domain), "t").await.expect("added");
        let tables: Vec<String> = added.iter().map(ToString::to_string).collect();
        assert_eq!(tables.len(), 2, "{tables:?}");
        assert!(report(scratch, &domain).await.agrees());
        // A gap at each late reading, and the zone's last session.
        let late = "select count(*) from sensor_readings where is_late and kafka_offset > 1";
        let sessions = number(&client, "select count(*) from metrics_visits").await;
        assert_eq!(sessions, number(&client, late).await + 3);
        for (damage, found) in damages {
            execute(&client, &format!("create table kept as table {found}; {damage}")).await;
            assert_eq!(differing(scratch, &domain).await.join(" "), found, "{damage}");
            execute(&client, &format!("truncate {found}; insert into {found} table kept; drop table kept"))
                .await;
        }
        // What lies behind the horizon is not compared, the rest is.
        let compared = |report: &Report| {
            let of = |name: &str| {
                report.checks.iter().find(|check| check.name == name).map(|check| check.compared)
            };
            [of("metrics_visits"), of("metrics_trips")]
        };
        let before = compared(&report(scratch, &domain).await);
        let horizon = FIRST_EPOCH + 50 * 10;
        execute(&client, &format!("update citytide_database set horizon_epoch = {horizon}")).await;
        execute(&client, &format!("delete from sensor_readings where epoch <= {horizon}")).await;
        let after = report(scratch, &domain).await;
        assert!(after.agrees(), "{after}");
        for (before, after) in before.into_iter().zip(compared(&after)) {
            assert!(after > Some(0) && after < before, "{after:?} of {before:?}");
        }
        execute(&client, "update metrics_trips set reading_count = reading_count + 1").await;
        assert_eq!(differing(scratch, &domain).await, ["metrics_trips"]);
    });
}

#[test]
fn before_the_first_commit_there_is_nothing_to_differ() {
    with_database(async |scratch| {
        scratch.with_schema().await;
        let report = report(scratch, &Domain::smart_city()).await;
        assert!(report.agrees() && report.epoch.is_none(), "{report}");
    });
}

#[test]
fn an_empty_database_and_another_domains_are_no_success() {
    with_database(async |scratch| {
        let verify_now = |domain: Domain| {
            let database = scratch.database(None);
            std::thread::spawn(move || verify(&database, &domain, false))
                .join()
                .expect("no panic")
                .unwrap_err()
        };
        assert!(matches!(verify_now(Domain::smart_city()), VerifyError::NotThere { .. }));
        scratch.with_schema().await;
        let mut other = Domain::smart_city();
        other.name = "harbour".to_owned();
        assert!(matches!(verify_now(other), VerifyError::Other(_)));
    });
}
