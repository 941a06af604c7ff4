//! Windows and panes from the readings. Nothing here knows how the dataflow computes them.

use citytide_domain::{Domain, Window};
use citytide_store::compare::{AsOf, Comparison, differences, exactly, grid, interval, nearly, unless};

/// A window table against `sensor_data`: readings on the grid of the slide, merged over as many as make the size.
pub fn window(as_of: &AsOf, domain: &Domain, window: &Window) -> Comparison {
    let slide = interval(window.slide_us);
    let mut parts = String::new();
    let mut merged = String::new();
    let mut columns = vec![exactly("reading_count"), exactly("anomaly_count")];
    for metric in &domain.metrics {
        let name = &metric.name;
        parts += &format!(
            ",\n    count({name}) as count_{name}, sum({name}) as sum_{name}, sum(abs({name})) as size_{name}, \
             min({name}) as min_{name}, max({name}) as max_{name}"
        );
        merged += &format!(
            ",\n    sum(sum_{name}) / nullif(sum(count_{name}), 0) as avg_{name}, \
             sum(size_{name}) / nullif(sum(count_{name}), 0) as size_{name}, \
             min(min_{name}) as min_{name}, max(max_{name}) as max_{name}"
        );
        columns.push(nearly(&format!("avg_{name}"), &format!("size_{name}")));
        columns.push(exactly(&format!("min_{name}")));
        columns.push(exactly(&format!("max_{name}")));
    }
    columns.push(exactly("window_end"));
    columns.push(exactly("is_final"));
    let given = format!(
        "buckets as (\n  select {grid} as bucket, zone, count(*) as readings, \
         count(*) filter (where is_anomaly) as anomalies{parts}\n  \
         from sensor_data where not is_late group by 1, 2\n),\n\
         merged as (\n  select bucket - back * {slide} as window_start, zone, \
         sum(readings)::bigint as reading_count, sum(anomalies)::bigint as anomaly_count{merged}\n  \
         from buckets, generate_series(0, {last}) as back group by 1, 2\n),\n\
         expected as (\n  select *, window_start + {size} as window_end, \
         coalesce(window_start + {size} <= {watermark}, false) as is_final from merged\n)",
        grid = grid("recorded_at", window.slide_us),
        last = window.size_us / window.slide_us - 1,
        size = interval(window.size_us),
        watermark = as_of.watermark(),
    );
    let mut comparable = Vec::new();
    if as_of.horizon > 0 {
        comparable.push(format!(
            "not exists (select from panes where panes.zone = coalesce(actual.zone, expected.zone) \
             and pane_start >= coalesce(actual.window_start, expected.window_start) \
             and pane_start < coalesce(actual.window_start, expected.window_start) + {} \
             and first_epoch <= {})",
            interval(window.size_us),
            as_of.horizon
        ));
    }
    if let Some(kept_from) = as_of.kept_from(domain) {
        comparable.push(format!("coalesce(actual.window_start, expected.window_start) >= {kept_from}"));
    }
    Comparison {
        name: window.table(),
        rows: "windows",
        given,
        compared: full_join(&window.table(), "window_start", &columns, &comparable),
    }
}

/// Panes against `sensor_data`. Their exact sums are compared as averages of windows.
pub fn panes(as_of: &AsOf, domain: &Domain) -> Comparison {
    let mut parts = String::new();
    let mut columns = vec![exactly("reading_count"), exactly("anomaly_count")];
    for metric in &domain.metrics {
        let name = &metric.name;
        parts += &format!(
            ",\n    count({name}) as count_{name}, min({name}) as min_{name}, max({name}) as max_{name}"
        );
        columns.extend(["count", "min", "max"].map(|figure| exactly(&format!("{figure}_{name}"))));
    }
    // Retention relies on it: a pane that began behind the horizon is known to be incomplete.
    columns.push(unless("actual.first_epoch <= expected.first_epoch", "first_epoch"));
    let given = format!(
        "expected as (\n  select {grid} as pane_start, zone, count(*) as reading_count, \
         count(*) filter (where is_anomaly) as anomaly_count, min(epoch) as first_epoch{parts}\n  \
         from sensor_data where not is_late group by 1, 2\n)",
        grid = grid("recorded_at", domain.pane_us()),
    );
    let mut comparable = Vec::new();
    if as_of.horizon > 0 {
        comparable.push(format!("coalesce(actual.first_epoch > {}, true)", as_of.horizon));
    }
    if let Some(kept_from) = as_of.kept_from(domain) {
        comparable.push(format!("coalesce(actual.pane_start, expected.pane_start) >= {kept_from}"));
    }
    Comparison {
        name: "panes".to_owned(),
        rows: "panes",
        given,
        compared: full_join("panes", "pane_start", &columns, &comparable),
    }
}

/// Both sides by zone and start.
fn full_join(table: &str, start: &str, columns: &[String], comparable: &[String]) -> String {
    let comparable = if comparable.is_empty() {
        String::new()
    } else {
        format!("\n  where {}", comparable.join("\n    and "))
    };
    format!(
        "  select to_char(coalesce(actual.{start}, expected.{start}), 'YYYY-MM-DD HH24:MI:SS') || ' ' \
         || coalesce(actual.zone, expected.zone),\n    {}\n  \
         from {table} as actual full join expected using (zone, {start}){comparable}",
        differences("reading_count", columns),
    )
}
