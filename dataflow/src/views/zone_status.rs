//! zone_status: each zone's last final row of the domain's first window, its recent anomalies, its latest reading.
//!
//! The window and the latest reading are restored from the table's own rows; the anomalies are counted anew.

use std::sync::Arc;

use citytide_core::window::ZoneFact;
use citytide_domain::{Domain, Window};
use citytide_store::compare::{AsOf, Comparison, unless};
use citytide_store::row::{Row, Value};
use citytide_store::schema::{LiveTable, ROOM_FOR_UPDATES, Table, column, table};
use differential_dataflow::VecCollection;

use super::recent::{is_shown, readings};
use super::{Inputs, View};
use crate::operators::Epoch;

pub(super) const VIEW: View =
    View { stored: &[LiveTable::new(zone_status, comparison)], define: |inputs| vec![define(inputs)] };

fn zone_status(domain: &Domain) -> Table {
    let mut columns = vec![
        column("zone", "text primary key", "The zone"),
        column("window_start", "timestamptz", "Start of its last final window; null before the first"),
        column("reading_count", "bigint", "Accepted readings of that window"),
        column("anomaly_count", "bigint", "Anomalous ones among them"),
    ];
    columns.extend(domain.metrics.iter().map(|metric| {
        let comment = format!("Average {} of that window in {}", metric.name, metric.unit);
        column(format!("avg_{}", metric.name), "double precision", comment)
    }));
    columns.extend([
        column("anomalies_5min", "bigint not null", "Its accepted anomalies in the five minutes before W"),
        column("last_recorded_at", "timestamptz not null", "The latest event time of its accepted readings"),
    ]);
    let first = domain.windows.first().map_or(String::new(), Window::table);
    let comment =
        format!("Current state of each zone: its last final row of {first}, and its recent anomalies");
    Table { storage: ROOM_FOR_UPDATES, ..table("zone_status", &comment, columns) }
}

fn define<'scope>(inputs: &Inputs<'scope>) -> VecCollection<'scope, Epoch, Row, isize> {
    let metrics = inputs.domain.metrics.len();
    let anomalies = inputs.recent.clone().explode(|one| [((one.zone, ()), one.count as isize)]);
    let counts = anomalies.reduce_named("anomalies of a zone", |_, anomalies, total| {
        let count: isize = anomalies.iter().map(|(_, times)| *times).sum();
        total.push((ZoneFact::RecentAnomalies(count as u64), 1));
    });
    inputs
        .facts
        .clone()
        .concat(counts)
        .reduce_named("status of a zone", move |zone, facts, status| {
            status.extend(status_of(zone, facts, metrics).map(|row| (row, 1)));
        })
        .map(|(_, row)| row)
}

fn status_of(zone: &Arc<str>, facts: &[(&ZoneFact, isize)], metrics: usize) -> Option<Row> {
    let mut window = vec![Value::Null; 3 + metrics];
    let (mut anomalies, mut last_us) = (0, None);
    for (fact, _) in facts {
        match fact {
            ZoneFact::Final { start_us, readings, anomalies, averages } => {
                window = vec![
                    Value::Time(*start_us),
                    Value::Integer(*readings as i64),
                    Value::Integer(*anomalies as i64),
                ];
                window.extend(averages.iter().map(|average| Value::from(average.map(Value::Float))));
            }
            ZoneFact::LastRecorded(at_us) => last_us = Some(*at_us),
            ZoneFact::RecentAnomalies(count) => anomalies = *count,
        }
    }
    let mut row = vec![Value::from(zone)];
    row.append(&mut window);
    row.extend([Value::Integer(anomalies as i64), Value::Time(last_us?)]);
    Some(row)
}

/// What the table's rows say of their zones, for the windows and for the view itself.
pub fn facts_of(rows: &[Row]) -> Vec<(Arc<str>, Vec<ZoneFact>)> {
    let facts = |row: &Row| {
        let [
            Value::Text(zone),
            start,
            readings,
            anomalies,
            averages @ ..,
            Value::Integer(_),
            Value::Time(last_us),
        ] = &row[..]
        else {
            panic!("{row:?} is no row of zone_status");
        };
        let mut facts = vec![ZoneFact::LastRecorded(*last_us)];
        if let (Value::Time(start_us), Value::Integer(readings), Value::Integer(anomalies)) =
            (start, readings, anomalies)
        {
            let average = |value: &Value| match value {
                Value::Float(bits) => Some(*bits),
                _ => None,
            };
            facts.push(ZoneFact::Final {
                start_us: *start_us,
                readings: *readings as u64,
                anomalies: *anomalies as u64,
                averages: averages.iter().map(average).collect(),
            });
        }
        (zone.clone(), facts)
    };
    rows.iter().map(facts).collect()
}

fn comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
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
    let hidden = format!("not {}", is_shown(as_of, domain, "actual.zone"));
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
        recent = readings(as_of),
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
