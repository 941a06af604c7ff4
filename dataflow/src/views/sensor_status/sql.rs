//! The table of sensors as SQL finds it in committed readings: for `citytide verify`, for a database that was made before
//! it, and for what the last second of readings has still to bring.

use citytide_core::sensors::ROUND_MS;
use citytide_domain::Domain;
use citytide_store::compare::{AsOf, Comparison, differences, unless};

use super::STATES;

/// Start of a reading's hour. `date_bin` rounds times before its origin the wrong way on some servers.
const HOUR: &str = "date_bin(interval '1 hour', recorded_at, timestamptz '1870-01-01 00:00:00+00')";

/// Accepted readings, each with whether its sensor's row counts it, and with `as_of`. While there are no rows at all, every
/// reading counts: the tables are filled.
fn readings(as_of: &AsOf) -> String {
    format!(
        "(select reading.*, state.as_of, (extract(epoch from recorded_at) * 1000000)::bigint as \"recorded us\",\n    \
         reading.epoch <= coalesce(state.as_of, case when exists (select from {STATES}) then -1 else {} end) as \"is counted\"\n  \
         from sensor_data as reading left join {STATES} as state using (sensor_id) where not is_late) as readings",
        as_of.epoch.unwrap_or(0)
    )
}

/// What `readings` that are `counted` say of their sensors: all columns but `as_of` and the clock's offset.
fn states(domain: &Domain, readings: &str, counted: &str, further: (&str, &str)) -> String {
    let minute = format!("floor(extract(epoch from recorded_at - {HOUR}) / 60)::integer");
    let newest = |metric: &str| format!("max(\"newest {metric}\")");
    let partial = domain.metrics.iter().map(|metric| {
        format!(
            ",\n    max(array[\"recorded us\", {0}]) filter (where {counted} and {0} is not null) as \"newest {0}\"",
            metric.name
        )
    });
    let latest = domain.metrics.iter().map(|metric| {
        let of = newest(&metric.name);
        format!(
            "({of})[2] as {0}, timestamptz 'epoch' + ({of})[1] * interval '1 microsecond' as {0}_at,\n    ",
            metric.name
        )
    });
    let of_hour = |column: &str, hour: &str, name: &str| {
        format!("coalesce(max({column}) filter (where \"hour\" = {hour}), 0) as {name}")
    };
    let (hour, before) = ("\"newest hour\"", "\"newest hour\" - interval '1 hour'");
    format!(
        "select sensor_id, substr(max(\"last zone\"), 21) as zone, max(\"last at\") as last_recorded_at,\n    {}\
         null::bigint as clock_offset_ms, max(\"newest hour\") as hour_start,\n    {}, {}, {}, {}{}\n  from (\n    \
         select *, max(\"hour\") filter (where \"in hour\" > 0) over (partition by sensor_id) as \"newest hour\" from (\n    \
         select sensor_id, {HOUR} as \"hour\", count(*) filter (where {counted}) as \"in hour\",\n    \
         bit_or(1::bigint << {minute}) filter (where {counted}) as \"minutes of hour\",\n    \
         max(recorded_at) filter (where {counted}) as \"last at\",\n    \
         max((lpad((\"recorded us\" + 10000000000000000)::text, 20, '0') || zone) collate \"C\") filter (where {counted}) \
         as \"last zone\"{}{}\n    from {readings} group by 1, 2) as by_hour) as of_hours\n  group by sensor_id",
        latest.collect::<String>(),
        of_hour("\"minutes of hour\"", hour, "minutes"),
        of_hour("\"in hour\"", hour, "readings"),
        of_hour("\"minutes of hour\"", before, "minutes_before"),
        of_hour("\"in hour\"", before, "readings_before"),
        further.1,
        partial.collect::<String>(),
        further.0,
    )
}

/// What readings that are committed and in no row yet bring.
pub(super) fn overdue(as_of: &AsOf, domain: &Domain) -> String {
    let newest = as_of.epoch.unwrap_or(0);
    let readings = format!(
        "(select reading.*, (extract(epoch from recorded_at) * 1000000)::bigint as \"recorded us\"\n  \
         from sensor_data as reading left join {STATES} as state using (sensor_id)\n  \
         where not is_late and reading.epoch > {newest} - {ROUND_MS} and reading.epoch > coalesce(as_of, 0)) as readings"
    );
    let as_of = format!(", {newest}::bigint as as_of");
    states(domain, &readings, "true", ("", &as_of))
}

pub(super) fn comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
    let newest = as_of.epoch.unwrap_or(0);
    let of_readings = format!(
        ",\n    max(as_of) as \"as of\", min(epoch) as \"epoch of first\", max(recorded_at) as \"last of all\",\n    \
         count(*) filter (where epoch > as_of and epoch <= {newest} - {ROUND_MS}) as \"not counted\""
    );
    let of_hours = format!(
        ",\n    coalesce(max(\"as of\"), {newest}) as as_of, min(\"epoch of first\") as first_epoch, \
         sum(\"not counted\") as overdue, max(\"last of all\") as last_at"
    );
    let expected = states(domain, &readings(as_of), "\"is counted\"", (&of_readings, &of_hours));
    let given = format!("expected as (\n  {expected}\n)");
    // What retention has taken away is missing in a row that came back: what is older than this may be.
    let kept_from = as_of.kept_from(domain).unwrap_or("'-infinity'".to_owned());
    let is_behind = |at: &str| format!("coalesce({at} < {kept_from}, false)");
    // Behind the horizon may lie a newer one.
    let is_hidden = |at: &str| match as_of.horizon {
        0 => is_behind(&format!("expected.{at}")),
        _ => format!(
            "coalesce(actual.{at} > expected.{at}, expected.{at} is null) or {}",
            is_behind(&format!("expected.{at}"))
        ),
    };
    let times = domain.metrics.iter().map(|metric| (metric.name.as_str(), format!("{}_at", metric.name)));
    let pairs = [("zone", "last_recorded_at".to_owned())].into_iter().chain(times);
    let mut columns = Vec::new();
    let same = |column: &str, hidden: &str| {
        unless(&format!("{hidden} or actual.{column} is not distinct from expected.{column}"), column)
    };
    for (name, at) in pairs {
        columns.extend([name, &at].map(|column| same(column, &is_hidden(&at))));
    }
    for (hour, minutes, readings) in [
        ("expected.hour_start", "minutes", "readings"),
        ("expected.hour_start - interval '1 hour'", "minutes_before", "readings_before"),
    ] {
        let is_behind = is_behind(hour);
        if as_of.horizon == 0 {
            columns.extend([minutes, readings].map(|column| same(column, &is_behind)));
            continue;
        }
        // Those behind the horizon are counted too.
        let is_hidden = format!("{is_behind} or coalesce(actual.hour_start <> expected.hour_start, true)");
        let bits = format!("{is_hidden} or actual.{minutes} & expected.{minutes} = expected.{minutes}");
        let count = format!("{is_hidden} or actual.{readings} >= expected.{readings}");
        columns.extend([unless(&bits, minutes), unless(&count, readings)]);
    }
    columns.push(same("hour_start", &is_hidden("hour_start")));
    columns.push(
        "case when expected.overdue > 0 then format('it lacks %s readings that are a second old', expected.overdue) end"
            .to_owned(),
    );
    let seen = if as_of.horizon == 0 { "" } else { " and expected.sensor_id is not null" };
    Comparison {
        name: STATES.to_owned(),
        rows: "sensors",
        given,
        compared: format!(
            "  select sensor_id,\n    {}\n  from {STATES} as actual full join expected using (sensor_id)\n  \
             where (actual.zone is not null or first_epoch <= {newest} - {ROUND_MS}){seen}\n    \
             and coalesce(actual.last_recorded_at, expected.last_at) >= {kept_from}",
            differences("as_of", &columns)
        ),
    }
}
