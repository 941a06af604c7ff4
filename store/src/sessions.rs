//! The tables of session windows: rows, what they should hold, and reading sessions back: those that may still change after
//! a restart, and old ones that a late reading may belong to.
//!
//! A row holds what its readings add up to, exactly, so that a further reading can be added to it. A session of its own
//! per worker reads back, as for panes: what left memory was committed before, so any later snapshot holds it.

use std::sync::Arc;

use citytide_core::window::{
    ExactSum, MetricSums, PaneSums, Session as Readings, SessionRange, SessionRow, Sessions, SessionsOf,
};
use citytide_domain::{Domain, SessionBy, SessionWindow};
use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::compare::{AsOf, Comparison, differences, exactly, grid, interval, nearly, unless};
use crate::postgres::{Database, DatabaseError};
use crate::row::{Row, Value};
use crate::schema::{Table, session_columns, table};
use crate::session::{OnFailure, Session, Wake};
use crate::time::Timestamp;

/// Sessions as the database has them, and whether they are final.
pub type Loaded = Vec<(SessionsOf, Readings, bool)>;

/// The function that a table of sessions comes with.
const EXACT: &str = "create or replace function citytide_exact(value double precision) returns numeric
    language sql immutable strict parallel safe as $$
    select case when bits < 0 then -1 else 1 end * case
        when shift > 53 then 0
        when shift <= 0 then mantissa::numeric * (1::bigint << -shift)
        else (mantissa >> shift) + (2 * (mantissa & ((1::bigint << shift) - 1)) + ((mantissa >> shift) & 1)
            > 1::bigint << shift)::integer
    end
    from (select bits, 1015 - ((bits >> 52) & 2047)::integer as shift,
            (bits & 4503599627370495) | 4503599627370496 as mantissa
        from (select ('x' || encode(float8send(value), 'hex'))::bit(64)::bigint as bits) as of_value) as parts
$$;
comment on function citytide_exact(double precision) is
    'A value in units of 2^-60, as the sums of windows count it: exact down to 2^-8, below that rounded';
";

/// The columns of the primary key of a table of sessions.
pub fn session_key(window: &SessionWindow) -> &'static str {
    match window.by {
        SessionBy::Zone => "zone, window_start",
        SessionBy::Sensor => "zone, sensor_id, window_start",
    }
}

/// The table of one of the domain's session windows.
pub fn session_table(domain: &Domain, window: usize) -> Table {
    let of = &domain.sessions[window];
    let seconds = |us: i64| us / 1_000_000;
    let comment = format!(
        "Sessions by {}: accepted readings that follow each other by less than {} s. None goes on across a multiple of {} s",
        match of.by {
            SessionBy::Zone => "zone",
            SessionBy::Sensor => "zone and sensor",
        },
        seconds(of.gap_us),
        seconds(of.max_us)
    );
    Table {
        key: session_key(of),
        storage: crate::schema::ROOM_FOR_UPDATES,
        index: Some("window_start"),
        came_later: true,
        is_of_windows: true,
        followed_by: EXACT.to_owned(),
        ..table(&of.table(), &comment, session_columns(domain, of))
    }
}

/// A row of it, without what commits fill by themselves.
pub fn session_row(domain: &Domain, row: &SessionRow) -> Row {
    let SessionRow { of, session, end_us, is_final } = row;
    let sums = &session.sums;
    let mut values = vec![Value::from(&of.zone)];
    if domain.sessions[of.window].by == SessionBy::Sensor {
        values.push(Value::from(&of.sensor));
    }
    values.extend([
        Value::Time(session.first_us),
        Value::Time(*end_us),
        Value::Integer(sums.readings as i64),
        Value::Integer(sums.anomalies as i64),
    ]);
    let float = |value: f64| Value::Float(value.to_bits());
    for metric in &sums.metrics {
        match metric.figures() {
            Some((average, least, greatest)) => values.extend([average, least, greatest].map(float)),
            None => values.extend([Value::Null, Value::Null, Value::Null]),
        }
    }
    values.extend([
        Value::Bool(*is_final),
        Value::Time(session.last_us()),
        Value::Integer(session.first_epoch as i64),
    ]);
    for metric in &sums.metrics {
        values.extend([Value::Integer(metric.count as i64), Value::Exact(metric.sum.units())]);
    }
    values
}

/// The columns that [`session_of`] reads.
fn select(domain: &Domain, window: usize) -> String {
    let sensor = if domain.sessions[window].by == SessionBy::Sensor { "kept.sensor_id" } else { "''" };
    let metrics = domain
        .metrics
        .iter()
        .map(|metric| format!(", count_{0}, coalesce(sum_{0}, 0), min_{0}, max_{0}", metric.name));
    format!(
        "select kept.zone, {sensor}, window_start, last_recorded_at, first_epoch, is_final, reading_count, \
         anomaly_count{} from {} as kept",
        metrics.collect::<String>(),
        domain.sessions[window].table()
    )
}

fn session_of(window: usize, metrics: usize, row: &tokio_postgres::Row) -> (SessionsOf, Readings, bool) {
    let value = |column: usize| row.get::<_, Value>(column);
    let text = |column: usize| Arc::<str>::from(row.get::<_, &str>(column));
    let number = |column: usize| row.get::<_, i64>(column) as u64;
    let time = |column: usize| match value(column) {
        Value::Time(at_us) => at_us,
        other => panic!("a session has times, not {other:?}"),
    };
    let metric = |metric: usize| {
        let first = 8 + 4 * metric;
        let Value::Exact(units) = value(first + 1) else { panic!("a sum is a number") };
        MetricSums {
            count: number(first),
            sum: ExactSum::from_units(units),
            min: row.get::<_, Option<f64>>(first + 2).unwrap_or(f64::INFINITY),
            max: row.get::<_, Option<f64>>(first + 3).unwrap_or(f64::NEG_INFINITY),
        }
    };
    let of = SessionsOf { window, zone: text(0), sensor: text(1) };
    let sums = PaneSums {
        readings: number(6),
        anomalies: number(7),
        last_event_us: time(3),
        metrics: (0..metrics).map(metric).collect(),
    };
    (of, Readings { first_us: time(2), sums, first_epoch: number(4) }, row.get(5))
}

async fn query(
    client: &Client,
    domain: &Domain,
    window: usize,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    loaded: &mut Loaded,
) -> Result<(), DatabaseError> {
    let rows = client.query(sql, parameters).await;
    let rows = rows.map_err(|error| DatabaseError::statement("reading sessions", &error))?;
    loaded.extend(rows.iter().map(|row| session_of(window, domain.metrics.len(), row)));
    Ok(())
}

/// The sessions that may still change as of W.
///
/// # Errors
///
/// When the server fails.
pub async fn load(client: &Client, domain: &Domain, low_us: i64) -> Result<Loaded, DatabaseError> {
    let kept_from = Timestamp::watermark(Sessions::new(domain, low_us).kept_from_us());
    let mut loaded = Loaded::new();
    for (window, of) in domain.sessions.iter().enumerate() {
        // Who only looks may meet a database that no run has brought up to this program yet.
        let there = client.query_one("select to_regclass($1) is not null", &[&of.table()]).await;
        let there = there.map_err(|error| DatabaseError::statement("looking for sessions", &error))?;
        if there.get::<_, bool>(0) {
            let sql = format!(
                "{} where window_end >= $1::timestamptz and window_start >= $1 - {}",
                select(domain, window),
                interval(of.max_us)
            );
            query(client, domain, window, &sql, &[&kept_from], &mut loaded).await?;
        }
    }
    Ok(loaded)
}

/// The sessions of some ranges.
async fn read_back(
    client: &Client,
    domain: &Domain,
    ranges: &[SessionRange],
) -> Result<Loaded, DatabaseError> {
    let mut loaded = Loaded::new();
    for (window, shape) in domain.sessions.iter().enumerate() {
        let ranges = || ranges.iter().filter(|range| range.of.window == window);
        if ranges().next().is_none() {
            continue;
        }
        let zones: Vec<&str> = ranges().map(|range| &*range.of.zone).collect();
        let sensors: Vec<&str> = ranges().map(|range| &*range.of.sensor).collect();
        let from: Vec<Timestamp> = ranges().map(|range| Timestamp(range.from_us)).collect();
        let until: Vec<Timestamp> = ranges().map(|range| Timestamp(range.until_us)).collect();
        let same = if shape.by == SessionBy::Sensor { " and kept.sensor_id = wanted.sensor" } else { "" };
        let sql = format!(
            "{} join unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) \
             as wanted (zone, sensor, low, high) on kept.zone = wanted.zone{same} \
             and window_start > low - {} and window_start < high + {} and window_end > low",
            select(domain, window),
            interval(shape.max_us),
            interval(shape.gap_us)
        );
        query(client, domain, window, &sql, &[&zones, &sensors, &from, &until], &mut loaded).await?;
    }
    Ok(loaded)
}

/// Starts the session that reads sessions back.
pub fn spawn(
    database: Database,
    domain: Arc<Domain>,
    name: String,
    answers: Sender<Loaded>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<Vec<SessionRange>> {
    Session::spawn(
        name.clone(),
        on_failure,
        async move |mut requests: UnboundedReceiver<Vec<SessionRange>>| {
            // Opened at the first request: most runs never need it.
            let mut client: Option<Client> = None;
            while let Some(ranges) = requests.recv().await {
                if client.is_none() {
                    client = Some(database.connect(&name).await?);
                }
                let client = client.as_ref().expect("connected");
                let _ = answers.send(read_back(client, &domain, &ranges).await?);
                wake();
            }
            Ok(())
        },
    )
}

/// A table of sessions against `sensor_data`: a reading begins a session unless there is one of the same zone, or sensor,
/// less than a gap before it in the same stretch of `max`.
pub fn session_comparison(as_of: &AsOf, domain: &Domain, window: usize) -> Comparison {
    let of = &domain.sessions[window];
    let SessionWindow { gap_us, max_us, .. } = *of;
    let whose = if of.by == SessionBy::Sensor { "zone, sensor_id" } else { "zone" };
    let (mut figures, mut columns) =
        (String::new(), vec![exactly("reading_count"), exactly("anomaly_count")]);
    for metric in &domain.metrics {
        let name = &metric.name;
        figures += &format!(
            ",\n    sum({name}) / nullif(count({name}), 0) as avg_{name}, sum(abs({name})) / nullif(count({name}), 0) \
             as size_{name}, min({name}) as min_{name}, max({name}) as max_{name}, count({name}) as count_{name}, \
             coalesce(sum(citytide_exact({name})), 0) as sum_{name}"
        );
        columns.push(nearly(&format!("avg_{name}"), &format!("size_{name}")));
        columns.extend(["min", "max", "count"].map(|figure| exactly(&format!("{figure}_{name}"))));
        let sum = format!("sum_{name}");
        columns.push(unless(&format!("coalesce(actual.{sum}, 0) = expected.{sum}"), &sum));
    }
    columns.extend(["window_end", "last_recorded_at", "is_final"].map(exactly));
    // Retention relies on it: a session that began behind the horizon is known to be incomplete.
    columns.push(unless("actual.first_epoch <= expected.first_epoch", "first_epoch"));
    let given = format!(
        "cut as (\n  select *, {stretch} as stretch from sensor_data where not is_late\n),\n\
         begun as (\n  select *, coalesce(recorded_at - lag(recorded_at) over (partition by {whose}, stretch \
         order by recorded_at) >= {gap}, true) as begins from cut\n),\n\
         numbered as (\n  select *, sum(begins::integer) over (partition by {whose}, stretch order by recorded_at \
         range unbounded preceding) as session from begun\n),\n\
         summed as (\n  select {whose}, min(recorded_at) as window_start, \
         least(max(recorded_at) + {gap}, stretch + {max}) as window_end, count(*) as reading_count, \
         count(*) filter (where is_anomaly) as anomaly_count, max(recorded_at) as last_recorded_at, \
         min(epoch) as first_epoch{figures}\n  from numbered group by {whose}, stretch, session\n),\n\
         expected as (\n  select *, coalesce(window_end <= {watermark}, false) as is_final, 0 as revision, \
         now() as updated_at from summed\n)",
        stretch = grid("recorded_at", max_us),
        gap = interval(gap_us),
        max = interval(max_us),
        watermark = as_of.watermark(),
    );
    let side = |column: &str| format!("coalesce(actual.{column}, expected.{column})");
    let name = of.table();
    let mut comparable = Vec::new();
    if as_of.horizon > 0 {
        let same = whose.split(", ").map(|column| format!("known.{column} = {} and ", side(column)));
        comparable.push(format!(
            "not exists (select from {name} as known where {}known.window_start <= {start} and known.window_end > {start} \
             and known.first_epoch <= {})",
            same.collect::<String>(),
            as_of.horizon,
            start = side("window_start"),
        ));
    }
    if let Some(kept_from) = as_of.kept_from(domain) {
        comparable.push(format!("{} >= {kept_from}", side("window_end")));
    }
    let comparable = match comparable.is_empty() {
        true => String::new(),
        false => format!("\n  where {}", comparable.join("\n    and ")),
    };
    let shown = whose.split(", ").map(side).collect::<Vec<_>>().join(" || ' ' || ");
    Comparison {
        compared: format!(
            "  select to_char({}, 'YYYY-MM-DD HH24:MI:SS.US') || ' ' || {shown},\n    {}\n  \
             from {name} as actual full join expected using ({whose}, window_start){comparable}",
            side("window_start"),
            differences("reading_count", &columns),
        ),
        name,
        rows: "sessions",
        given,
    }
}
