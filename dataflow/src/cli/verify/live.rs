//! The views whose rows come and go: `hot_sensors` and `zone_status`.

use citytide_domain::{Domain, Window};

use super::compare::{AsOf, Comparison, differences, exactly, interval, unless};

/// Anomalies that count as recent, by any grouping. Without a watermark none do.
fn recent(as_of: &AsOf) -> String {
    format!(
        "sensor_data where is_anomaly and not is_late and recorded_at >= {} and recorded_at < {}",
        as_of.recent_from(),
        as_of.watermark()
    )
}

/// Whether all recent readings of a zone are still shown, as SQL.
fn recent_is_shown(as_of: &AsOf, domain: &Domain, zone: &str) -> String {
    if as_of.horizon == 0 {
        return "true".to_owned();
    }
    format!(
        "not exists (select from panes where panes.zone = {zone} and pane_start > {} - {} and pane_start < {} \
         and first_epoch <= {})",
        as_of.recent_from(),
        interval(domain.pane_us()),
        as_of.watermark(),
        as_of.horizon
    )
}

/// The ten sensors of each zone with the most recent anomalies.
pub fn hot_sensors(as_of: &AsOf, domain: &Domain) -> Comparison {
    let columns = ["sensor_id", "anomaly_count", "last_anomaly_at"].map(exactly);
    let given = format!(
        "ranked as (\n  select zone, sensor_id, count(*) as anomaly_count, max(recorded_at) as last_anomaly_at,\n    \
         row_number() over (partition by zone order by count(*) desc, sensor_id collate \"C\")::integer as rank\n  \
         from {} group by zone, sensor_id\n),\nexpected as (select * from ranked where rank <= 10)",
        recent(as_of)
    );
    let shown = recent_is_shown(as_of, domain, "coalesce(actual.zone, expected.zone)");
    Comparison {
        name: "hot_sensors".to_owned(),
        rows: "ranks",
        given,
        compared: format!(
            "  select zone || ', rank ' || to_char(rank, 'FM00'),\n    {}\n  \
             from hot_sensors as actual full join expected using (zone, rank) where {shown}",
            differences("sensor_id", &columns)
        ),
    }
}

/// Each zone: its last final row of the domain's first window, its recent anomalies, its latest reading.
pub fn zone_status(as_of: &AsOf, domain: &Domain) -> Comparison {
    let first = domain.windows.first().map_or(String::new(), Window::table);
    let averages: Vec<String> = domain.metrics.iter().map(|metric| format!("avg_{}", metric.name)).collect();
    let figures = ["window_start", "reading_count", "anomaly_count"];
    let figures: Vec<String> = figures.into_iter().map(str::to_owned).chain(averages).collect();
    // A zone that fell silent keeps its figures when retention has deleted the window they come from.
    let final_is_kept = match as_of.kept_from(domain) {
        Some(from) => {
            format!("(expected.window_start is null and coalesce(actual.window_start < {from}, false))")
        }
        None => "false".to_owned(),
    };
    let agrees = |shown: &str, column: &str| {
        unless(&format!("{shown} or actual.{column} is not distinct from expected.{column}"), column)
    };
    let mut columns: Vec<String> = figures.iter().map(|column| agrees(&final_is_kept, column)).collect();
    let hidden = format!("not {}", recent_is_shown(as_of, domain, "actual.zone"));
    columns.push(agrees(&hidden, "anomalies_5min"));
    let newest_is_hidden = match as_of.horizon {
        0 => "false".to_owned(),
        horizon => format!(
            "coalesce((select first_epoch from panes where panes.zone = actual.zone \
             order by pane_start desc limit 1) <= {horizon}, true)"
        ),
    };
    columns.push(agrees(&newest_is_hidden, "last_recorded_at"));
    // Behind the horizon a zone is known by its panes only.
    let hidden_zones = if as_of.horizon == 0 { "" } else { " union select zone, null from panes" };
    let given = format!(
        "zones as (\n  select zone, max(last_recorded_at) as last_recorded_at from (\n    \
         select zone, max(recorded_at) as last_recorded_at from sensor_data where not is_late group by zone\
         {hidden_zones}\n  ) as known group by zone\n),\n\
         recent as (select zone, count(*) as anomalies from {recent} group by zone),\n\
         finals as (\n  select distinct on (zone) zone, {figures} from {first} where is_final \
         order by zone, window_start desc\n),\n\
         expected as (\n  select zones.*, coalesce(anomalies, 0) as anomalies_5min, {figures}\n  \
         from zones left join recent using (zone) left join finals using (zone)\n)",
        recent = recent(as_of),
        figures = figures.join(", "),
    );
    // A zone whose panes and readings are all gone cannot be told from one that never was.
    let gone = if as_of.horizon > 0 && domain.retention.windows_us.is_some() {
        " where expected.zone is not null"
    } else {
        ""
    };
    Comparison {
        name: "zone_status".to_owned(),
        rows: "zones",
        given,
        compared: format!(
            "  select zone,\n    case when actual.anomalies_5min is null then 'missing' \
             when expected.anomalies_5min is null then 'unexpected'\n    else concat_ws(E'\\n',\n      {}) end\n  \
             from zone_status as actual full join expected using (zone){gone}",
            columns.join(",\n      ")
        ),
    }
}
