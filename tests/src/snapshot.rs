//! Hammers the database during a run: every single statement must see tables that agree with each other.
//!
//! One statement is one snapshot. It recomputes windows, views, progress and the chain of commits from `sensor_data`
//! as it sees it, and returns a row for each disagreement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::city::City;
use crate::database::{Database, Session};
use crate::incidents;
use crate::oracle::watermark_us;
use crate::sessions;

/// Disagreements that one snapshot lists.
const LISTED_MAX: usize = 10;
/// A breath between two snapshots: the machine has other things to do.
const PAUSE: Duration = Duration::from_millis(40);

/// What a row is called that tells a partition's watermark and all of its accepted readings, for the oracle to judge.
const LOG: &str = "log";

/// The statement: what, where, found, computed.
pub fn statement(city: &City) -> String {
    let metrics: Vec<&str> = city.metrics.iter().map(|metric| metric.name.as_str()).collect();
    let mut parts = Vec::new();
    let mut computed = Vec::new();
    for window in &city.windows {
        let (name, size, slide) = (&window.name, window.size_us, window.slide_us);
        let sums: Vec<String> =
            metrics.iter().map(|m| format!("avg({m}) avg_{m}, min({m}) min_{m}, max({m}) max_{m}")).collect();
        computed.push(format!(
            "c_{name} as materialized (select zone, us - us % {slide} - k * {slide} as start_us, count(*) \
             reading_count, count(*) filter (where is_anomaly) anomaly_count, {} from kept cross join \
             generate_series(0, {}) k group by 1, 2)",
            sums.join(", "),
            size / slide - 1
        ));
        // Which commits touched a row; of those after the first one, each that found it final is a revision. The
        // commit that wrote it last is the last of those, or the one that made it final.
        computed.push(format!(
            "touched_{name} as (select zone, us - us % {slide} - k * {slide} as start_us, committed_in as epoch from kept \
             join committed using (epoch) cross join generate_series(0, {last}) k group by 1, 2, 3), \
             r_{name} as materialized (select zone, start_us, count(*) filter (where epoch > first_epoch and before_us >= \
             start_us + {size}) revision, greatest(max(epoch), (select min(f.epoch) from chain f where f.w_us >= start_us \
             + {size})) written_epoch from (select t.*, c.before_us, min(t.epoch) over (partition by zone, start_us) \
             first_epoch from touched_{name} t join chain c using (epoch)) x group by 1, 2)",
            last = size / slide - 1
        ));
        let mut wrong = vec![
            "c.zone is null".to_owned(),
            "t.zone is null".to_owned(),
            "t.reading_count is distinct from c.reading_count".to_owned(),
            "t.anomaly_count is distinct from c.anomaly_count".to_owned(),
            format!("t.end_us is distinct from c.start_us + {size}"),
            "t.revision is distinct from r.revision".to_owned(),
            "t.updated_at is distinct from (select committed_at from commits where epoch = r.written_epoch)"
                .to_owned(),
            "t.epoch is distinct from r.written_epoch".to_owned(),
            "coalesce((select windows_from from commits where epoch = t.epoch) > t.window_start, true)"
                .to_owned(),
            "t.is_final is distinct from coalesce(t.end_us <= (select w_us from newest), false)".to_owned(),
        ];
        for m in &metrics {
            wrong.push(format!("t.min_{m} is distinct from c.min_{m}"));
            wrong.push(format!("t.max_{m} is distinct from c.max_{m}"));
            wrong.push(format!("(t.avg_{m} is null) <> (c.avg_{m} is null)"));
            wrong.push(format!(
                "abs(t.avg_{m} - c.avg_{m}) > 1e-9 * greatest(abs(t.avg_{m}), abs(c.avg_{m})) + 1e-12"
            ));
        }
        parts.push(format!(
            "select 'metrics_{name}', coalesce(t.zone, c.zone) || ' ' || coalesce(t.start_us, c.start_us), \
             row_to_json(t)::text, row_to_json(c)::text || row_to_json(r)::text from (select *, (extract(epoch from window_start) * \
             1000000)::bigint start_us, (extract(epoch from window_end) * 1000000)::bigint end_us from metrics_{name}) t \
             full join c_{name} c on t.zone = c.zone and t.start_us = c.start_us left join r_{name} r on r.zone = c.zone and \
             r.start_us = c.start_us where {}",
            wrong.join(" or ")
        ));
    }
    parts.push(
        "select 'conservation', kafka_partition::text, row_to_json(c)::text, '' from conservation c where not holds"
            .to_owned(),
    );
    parts.push(
        "select 'ingest_progress', kafka_partition::text, row_to_json(p)::text, row_to_json(c)::text \
         from ingest_progress p full join (select kafka_partition, sum(accepted) accepted, sum(late) late, sum(dead) \
         dead, max(last) last from (select kafka_partition, count(*) filter (where not is_late) \
         accepted, count(*) filter (where is_late) late, 0 dead, max(kafka_offset) last \
         from raw group by 1 union all select kafka_partition, 0, 0, count(*), max(kafka_offset) \
         from dead_letters group by 1) x group by 1) c using (kafka_partition) \
         where p.accepted is distinct from coalesce(c.accepted, 0) or p.late is distinct from coalesce(c.late, 0) \
         or p.dead is distinct from coalesce(c.dead, 0) or c.last >= p.next_offset"
            .to_owned(),
    );
    parts.push(
        "select 'sensor_data', kafka_partition || ' ' || kafka_offset, count(*)::text, '1' from raw \
         group by kafka_partition, kafka_offset having count(*) > 1"
            .to_owned(),
    );
    parts.push(
        "select 'commits', epoch::text, previous_epoch::text, p::text from (select epoch, previous_epoch, lag(epoch) \
         over (order by epoch) p from commits) x where p is not null and previous_epoch is distinct from p"
            .to_owned(),
    );
    parts.push(
        "select 'commits', epoch::text, watermark::text, p::text from (select epoch, watermark, lag(watermark) \
         over (order by epoch) p from commits) x where p is not null and (watermark is null or watermark < p)"
            .to_owned(),
    );
    parts.push(
        "select 'hot_sensors', coalesce(t.zone, c.zone) || ' ' || coalesce(t.rank, c.rank), row_to_json(t)::text, \
         row_to_json(c)::text from hot_sensors t full join hot c on t.zone = c.zone and t.rank = c.rank \
         where t.zone is null or c.zone is null or t.sensor_id is distinct from c.sensor_id or t.anomaly_count is \
         distinct from c.anomaly_count or t.last_anomaly_at is distinct from c.last_anomaly_at \
         or not exists (select from commits k where k.epoch = t.epoch)"
            .to_owned(),
    );
    parts.push(
        "select 'changes', d.key::text, d.epoch::text, row_to_json(t)::text from changes d join hot_sensors t \
         on d.table_name = 'hot_sensors' and d.key ->> 'zone' = t.zone and (d.key ->> 'rank')::integer = t.rank \
         where t.epoch <= d.epoch"
            .to_owned(),
    );
    parts.push(format!(
        "select 'zone_status', coalesce(t.zone, c.zone), row_to_json(t)::text, row_to_json(c)::text from zone_status t \
         full join (select z.*, w.window_start, w.reading_count, w.anomaly_count from (select zone, \
         max(recorded_at) last_recorded_at, count(*) filter (where is_anomaly and us < (select w_us from newest) \
         and us >= (select w_us from newest) - 300000000) anomalies from kept group by 1) z left join (select distinct \
         on (zone) * from metrics_{} where is_final order by zone, window_start desc) w using (zone)) c using (zone) \
         where t.window_start is distinct from c.window_start or t.reading_count is distinct from c.reading_count or \
         t.anomaly_count is distinct from c.anomaly_count or t.anomalies_5min is distinct from c.anomalies or \
         t.last_recorded_at is distinct from c.last_recorded_at or not exists (select from commits k where k.epoch = t.epoch)",
        city.windows[0].name
    ));
    let newest: Vec<String> = metrics
        .iter()
        .map(|m| format!("max(array[us, {m}]::float8[]) filter (where {m} is not null) of_{m}"))
        .collect();
    let other: Vec<String> = metrics
        .iter()
        .map(|m| {
            format!(
                "t.{m} is distinct from c.of_{m}[2] or (extract(epoch from t.{m}_at) * 1000000)::float8 is distinct from \
                 c.of_{m}[1]"
            )
        })
        .collect();
    parts.push(format!(
        "select 'zone_latest', coalesce(t.zone, c.zone), row_to_json(t)::text, row_to_json(c)::text from zone_latest t \
         full join (select zone, {} from kept group by 1) c using (zone) where not exists (select from commits k where \
         k.epoch = t.epoch) or {}",
        newest.join(", "),
        other.join(" or ")
    ));
    parts.push(sensor_states(&metrics));
    let counted: Vec<String> = city
        .metrics
        .iter()
        .map(|metric| {
            let (m, (least, greatest)) = (&metric.name, metric.usual);
            format!(
                "count({m}) filter (where not is_late) count_{m}, count(*) filter (where not is_late and {m} not between \
                 {least} and {greatest}) unusual_{m}"
            )
        })
        .collect();
    let counts = ["reading", "late", "dead_letter"].map(|count| format!("{count}_count"));
    let of_metric = |m: &&str| [format!("count_{m}"), format!("unusual_{m}")];
    let counts = counts.into_iter().chain(metrics.iter().flat_map(of_metric));
    let counts: Vec<String> =
        counts.map(|count| format!("coalesce(t.{count}, -1) <> coalesce(c.{count}, 0)")).collect();
    parts.push(format!(
        "select 'quality_counts', coalesce(t.zone, c.zone) || ' ' || coalesce(t.start_us, c.start_us), \
         row_to_json(t)::text, row_to_json(c)::text from (select *, (extract(epoch from window_start) * \
         1000000)::bigint start_us from quality_counts) t full join (select zone, us - mod(mod(us, 60000000) + 60000000, \
         60000000) start_us, count(*) filter (where not is_late) reading_count, count(*) filter (where is_late) late_count, \
         0 dead_letter_count, min(epoch) first_epoch, {} from raw group by 1, 2 union all select '', us - mod(us, 60000000), 0, 0, count(*), \
         min(epoch), {} from (select epoch, (extract(epoch from received_at) * 1000000)::bigint us from dead_letters) d group \
         by 2) c using (zone, start_us) where {} or t.after_epoch >= c.first_epoch or not exists (select from commits k where \
         k.epoch = t.epoch) or coalesce((select windows_from from commits where epoch = t.epoch) > t.window_start, true)",
        counted.join(", "),
        metrics.iter().map(|_| "0, 0").collect::<Vec<_>>().join(", "),
        counts.join(" or ")
    ));
    format!(
        "with newest as materialized (select epoch, (extract(epoch from watermark) * 1000000)::bigint w_us from commits \
         order by epoch desc limit 1), chain as materialized (select epoch, (extract(epoch from watermark) * 1000000)::bigint \
         w_us, lag((extract(epoch from watermark) * 1000000)::bigint) over (order by epoch) before_us from commits), raw as materialized (select *, (extract(epoch from recorded_at) * \
         1000000)::bigint us from sensor_data), kept as materialized (select * from raw where not is_late), committed as materialized (select epoch, (select \
         min(c.epoch) from commits c where c.epoch >= e.epoch) committed_in from (select distinct epoch from raw) e), \
         hot as materialized (select * from (select zone, sensor_id, count(*) anomaly_count, max(recorded_at) \
         last_anomaly_at, row_number() over (partition by zone order by count(*) desc, sensor_id collate \"C\") rank \
         from kept where is_anomaly and us < (select w_us from newest) and us >= (select w_us from newest) - 300000000 \
         group by 1, 2) h where rank <= 10), {} (select * from ({}) disagreement (what, place, found, computed) limit \
         {LISTED_MAX}) union all select '{LOG}', p.kafka_partition::text, \
         (extract(epoch from p.watermark) * 1000000)::bigint::text, (select json_agg(json_build_array(us, sensor_id) \
         order by kafka_offset)::text from kept where kept.kafka_partition = p.kafka_partition) from ingest_progress p",
        computed.join(", "),
        parts.join(" union all ")
    )
}

/// What each sensor's readings up to `as_of` say, and in which minutes of the last one's hour and of the hour before there
/// were some; a reading that is a second of epochs old is among them.
fn sensor_states(metrics: &[&str]) -> String {
    let newest = metrics.iter().map(|m| {
        format!(
            ", max(array[us, k.{m}]::float8[]) filter (where k.epoch <= s.as_of and k.{m} is not null) of_{m}"
        )
    });
    let newest: String = newest.collect();
    let other = metrics.iter().map(|m| {
        format!(
            " or t.{m} is distinct from c.of_{m}[2] or (extract(epoch from t.{m}_at) * 1000000)::float8 is distinct from \
             c.of_{m}[1]"
        )
    });
    let other: String = other.collect();
    let hour_of =
        |us: &str| format!("(({us} - mod(mod({us}, 3600000000) + 3600000000, 3600000000)) / 3600000000)");
    let of_hour = |hours_before: i64, bits: &str, count: &str| {
        format!(
            ", coalesce(bit_or(1::bigint << ((us - 3600000000 * hour) / 60000000)::int) filter (where k.epoch <= s.as_of and \
             hour = {last} - {hours_before}), 0) {bits}, count(*) filter (where k.epoch <= s.as_of and hour = {last} - \
             {hours_before}) {count}",
            last = hour_of("(extract(epoch from s.last_recorded_at) * 1000000)::bigint"),
        )
    };
    format!(
        "select 'sensor_states', sensor_id, row_to_json(t)::text, row_to_json(c)::text from sensor_states t full join (select \
         k.sensor_id, max(us) filter (where k.epoch <= s.as_of) last_us, (array_agg(k.zone order by us desc, k.zone collate \
         \"C\" desc) filter (where k.epoch <= s.as_of))[1] last_zone, count(*) filter (where k.epoch > coalesce(s.as_of, 0) \
         and k.epoch <= (select epoch from newest) - 1000) overdue{newest}{of_hours} from (select *, {hour} as hour from kept) k \
         left join sensor_states s using (sensor_id) group by 1) c using (sensor_id) where c.overdue is null or c.overdue > 0 \
         or t.sensor_id is not null and ((extract(epoch from t.last_recorded_at) * 1000000)::bigint is distinct from c.last_us \
         or t.zone is distinct from c.last_zone or t.as_of > (select epoch from newest) or not exists (select from commits k \
         where k.epoch = t.epoch and k.epoch >= t.as_of) or extract(epoch from t.hour_start)::bigint <> 3600 * {last} or \
         t.minutes <> c.bits or t.readings <> c.in_hour or t.minutes_before <> c.bits_before or t.readings_before <> \
         c.in_hour_before{other})",
        of_hours = of_hour(0, "bits", "in_hour") + &of_hour(1, "bits_before", "in_hour_before"),
        hour = hour_of("us"),
        last = hour_of("c.last_us"),
    )
}

/// Takes one snapshot. Panics when its tables disagree.
pub fn check_once(session: &Session, city: &City) {
    let mut found = look(session, city);
    found.extend(incidents::look(session, city).expect("a snapshot").0);
    found.extend(sessions::look(session, city).expect("a snapshot").0);
    assert!(found.is_empty(), "a snapshot is inconsistent:\n  {}", found.join("\n  "));
}

/// Takes one snapshot and returns what disagrees in it.
pub fn look(session: &Session, city: &City) -> Vec<String> {
    disagreements(session, &statement(city), city).expect("a snapshot")
}

fn disagreements(
    session: &Session,
    statement: &str,
    city: &City,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = session.try_query(statement)?;
    let text = |row: &tokio_postgres::Row, at| {
        row.get::<_, Option<String>>(at).unwrap_or_else(|| "nothing".to_owned())
    };
    Ok(rows
        .iter()
        .filter_map(|row| {
            let mut computed = text(row, 3);
            if text(row, 0) == LOG {
                let accepted: Vec<(i64, String)> = row
                    .get::<_, Option<&str>>(3)
                    .map_or_else(Vec::new, |log| serde_json::from_str(log).expect("JSON"));
                let readings = accepted.iter().map(|(at_us, sensor)| (*at_us, &**sensor));
                let watermark_us = watermark_us(city, readings).map(|us| us.to_string());
                if watermark_us.as_deref() == row.get(2) {
                    return None;
                }
                computed = format!("watermark {watermark_us:?}");
            }
            Some(format!("{} {}: found {}, computed {computed}", text(row, 0), text(row, 1), text(row, 2)))
        })
        .collect())
}

/// A thread that takes one snapshot after the other.
pub struct Checker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(usize, Vec<String>)>>,
}

impl Checker {
    /// Starts with the first commit and goes on until [`Checker::finish`].
    pub fn start(database: &Database, city: &City) -> Checker {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, statement, stopped) = (database.url.clone(), statement(city), stop.clone());
        let city = city.clone();
        let thread = std::thread::spawn(move || {
            let session = Session::open(&url);
            let mut snapshots = 0;
            while !stopped.load(Ordering::Relaxed) {
                if snapshots > 0 || session.has_tables() {
                    // In turn with incidents and sessions: another statement is another snapshot.
                    let found = match snapshots % if city.sessions.is_empty() { 2 } else { 3 } {
                        0 => disagreements(&session, &statement, &city),
                        2 => sessions::look(&session, &city).map(|(found, _)| found),
                        _ => incidents::look(&session, &city).map(|(found, _)| found),
                    };
                    let found = found.unwrap_or_else(|error| vec![format!("{error:?}")]);
                    snapshots += 1;
                    if !found.is_empty() {
                        return (snapshots, found);
                    }
                }
                std::thread::sleep(PAUSE);
            }
            (snapshots, Vec::new())
        });
        Checker { stop, thread: Some(thread) }
    }

    /// Ends it and says how many snapshots it took. Panics when one was inconsistent, or when there was none.
    pub fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a checker is finished once");
        let (snapshots, found) = thread.join().expect("the checker's thread");
        assert!(found.is_empty(), "snapshot {snapshots} is inconsistent:\n  {}", found.join("\n  "));
        assert!(snapshots > 0, "the checker took a snapshot");
        snapshots
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
