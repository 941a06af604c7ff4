//! The table of sensors, and the view that shows it.

use citytide_core::sensors::ROUND_MS;
use citytide_domain::Domain;
use citytide_store::schema::{self, Column, ROOM_FOR_UPDATES, Table, column, table};

use super::STATES;

/// A column that comes from the reading which is the newest by another column; of one moment the greatest stands.
fn newest(column: Column, at: &str, collation: &str) -> Column {
    let name = column.name.clone();
    column.merged(format!(
        "case when excluded.{at} > kept.{at} or kept.{at} is null then excluded.{name} when excluded.{at} = kept.{at} then \
         greatest(kept.{name}{collation}, excluded.{name}) else kept.{name} end"
    ))
}

/// A column of the newest hour; `added` is how it adds up.
fn of_hour(column: Column, added: &str) -> Column {
    let name = column.name.clone();
    column.merged(format!(
        "case when excluded.hour_start = kept.hour_start then kept.{name} {added} excluded.{name} \
         when excluded.hour_start > kept.hour_start then excluded.{name} else kept.{name} end"
    ))
}

/// The same of the hour before it, where `of_hour` is its column of the newest hour.
fn of_hour_before(column: Column, of_hour: &str, added: &str) -> Column {
    let name = column.name.clone();
    column.merged(format!(
        "case when excluded.hour_start = kept.hour_start then kept.{name} {added} excluded.{name} \
         when excluded.hour_start = kept.hour_start + interval '1 hour' then kept.{of_hour} {added} excluded.{name} \
         when excluded.hour_start > kept.hour_start then excluded.{name} \
         when excluded.hour_start = kept.hour_start - interval '1 hour' then kept.{name} {added} excluded.{of_hour} \
         else kept.{name} end"
    ))
}

fn greatest(column: Column) -> Column {
    let name = column.name.clone();
    column.merged(format!("greatest(kept.{name}, excluded.{name})"))
}

pub(super) fn states(domain: &Domain) -> Table {
    const LAST: &str = "last_recorded_at";
    let mut columns = vec![
        column("sensor_id", "text primary key", "The sensor"),
        newest(
            column("zone", "text not null", "The zone of its last accepted reading"),
            LAST,
            " collate \"C\"",
        ),
        greatest(column(LAST, "timestamptz not null", "The latest event time of its accepted readings")),
    ];
    for metric in &domain.metrics {
        let (name, at) = (&metric.name, format!("{}_at", metric.name));
        let comment = format!("Its newest accepted {name} in {}; null before the first", metric.unit);
        columns.push(newest(column(name, "double precision", comment), &at, ""));
        columns.push(greatest(column(at, "timestamptz", "When that was recorded")));
    }
    let offset = "By how many milliseconds its last reading was ahead of Kafka's timestamp; null where that is not known";
    columns.push(newest(column("clock_offset_ms", "bigint", offset), LAST, ""));
    let bit = |hour: &str| format!("The minutes of {hour} in which it had one: bit 0 is the first");
    let count = |hour: &str| format!("Its accepted readings in {hour}");
    let (hour, before) = ("that hour", "the hour before");
    columns.extend([
        greatest(column(
            "hour_start",
            "timestamptz not null",
            "Start of the hour of its last accepted reading",
        )),
        of_hour(column("minutes", "bigint not null", bit(hour)), "|"),
        of_hour(column("readings", "bigint not null", count(hour)), "+"),
        of_hour_before(column("minutes_before", "bigint not null", bit(before)), "minutes", "|"),
        of_hour_before(column("readings_before", "bigint not null", count(before)), "readings", "+"),
        greatest(column("as_of", "bigint not null", "It counts the readings up to this epoch")),
    ]);
    Table {
        storage: ROOM_FOR_UPDATES,
        came_later: true,
        ..table(STATES, "The last accepted reading of each sensor: read sensor_status instead", columns)
    }
}

/// `sensor_status`. The expected interval is learnt from the minutes with readings of its last two hours: a sensor with
/// several readings in each of them brings them evenly; else they come as far from each other as its minutes do.
pub(super) fn views(domain: &Domain) -> Vec<schema::View> {
    let mut columns = vec![
        column("sensor_id", "text", "The sensor"),
        column("zone", "text", "The zone of its last accepted reading"),
        column("last_recorded_at", "timestamptz", "The latest event time of its accepted readings"),
    ];
    columns.extend(domain.metrics.iter().map(|metric| {
        let comment = format!("Its newest accepted {} in {}", metric.name, metric.unit);
        column(&metric.name, "double precision", comment)
    }));
    let expected = "How far apart its readings are, learnt from its last hour and the one before; null when there are too few";
    let hour = "Its accepted readings in the hour that its last one ends: those of its hour, and of the hour before as many as \
                fall to the minutes that belong to it";
    columns.extend([
        column("readings_1h", "bigint", hour),
        column("expected_interval", "interval", expected),
        column(
            "silent_since",
            "timestamptz",
            "Its last reading, when W, as of a second before the newest commit, is three intervals past it; else null",
        ),
        column("stuck_since", "timestamptz", "Since when an open incident says that it is stuck"),
        column("clock_offset", "interval", "Event time of its last reading less Kafka's timestamp"),
        column("open_incidents", "bigint", "Open incidents of this sensor"),
        column("epoch", "bigint", "It counts the readings up to this epoch: at most a second old"),
    ]);
    let listed = domain.metrics.iter().map(|metric| format!("{}, ", metric.name)).collect::<String>();
    // Bit strings read from the first minute of the hour before to the last one of its hour.
    let source = format!(
        "from (
        select sensor_id, zone, last_recorded_at, {listed}
           readings + case when minutes_before = 0 then 0 else round(readings_before::numeric
               * length(replace(substr(\"minutes before\", 2 + \"last minute\"), '0', ''))
               / length(replace(\"minutes before\", '0', '')))::bigint end as readings_1h,
           expected_interval,
           case when last_recorded_at + 3 * expected_interval < \"passed w\" then last_recorded_at end as silent_since,
           stuck_since, clock_offset_ms * interval '1 millisecond' as clock_offset,
           coalesce(open_incidents, 0) as open_incidents, as_of as epoch
        from {STATES}
        cross join lateral (select
            reverse(minutes_before::bit(60)::text) as \"minutes before\",
            reverse(minutes_before::bit(60)::text) || reverse(minutes::bit(60)::text) as \"all minutes\",
            floor(extract(epoch from last_recorded_at - hour_start) / 60)::integer as \"last minute\",
            readings + readings_before as \"all readings\"
        ) as hours
        cross join lateral (select length(replace(\"all minutes\", '0', '')) as \"active minutes\") as active
        cross join lateral (select case
            when \"all readings\" >= 2 * \"active minutes\"
                then \"active minutes\" * interval '1 minute' / \"all readings\"
            when \"all readings\" >= 2
                then (121 - position('1' in reverse(\"all minutes\")) - position('1' in \"all minutes\"))
                    * interval '1 minute' / (\"all readings\" - 1)
            end as expected_interval
        ) as expected
        left join (
            select sensor_id as \"of sensor\", count(*) as open_incidents,
               min(opened_at) filter (where kind = 'stuck') as stuck_since
            from incident_states where condition = 'open' and sensor_id <> '' group by sensor_id
        ) as incidents on \"of sensor\" = sensor_id
        left join (select watermark as \"passed w\" from commits
            where epoch <= (select max(epoch) from commits) - {ROUND_MS} order by epoch desc limit 1) as passed on true
    ) as shown"
    );
    vec![schema::View {
        name: "sensor_status".to_owned(),
        comment: "What is known of each sensor: its last reading, how often it sends, and whether something is wrong with it"
            .to_owned(),
        columns,
        expressions: Vec::new(),
        source,
        came_later: true,
    }]
}
