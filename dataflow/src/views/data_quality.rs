//! quality_counts: per zone and minute how many readings were accepted or late, which metrics they had, which of these
//! were outside their usual range, and how many records of the minute were no readings. The view `data_quality_1min` shows
//! what readers ask for: what was expected, what came, and what it lacks.
//!
//! All figures are counts, so a commit adds what its epochs bring to the row that is there. Nothing is kept in memory,
//! a restart reads nothing, and a reading may be as late as it likes.
//!
//! A reading counts in the minute of its own time. Dead letters count in the minute of Kafka's timestamp, and in rows of
//! zone '': what a dead letter says of its zone is not to be trusted, and no reading has that zone.
//!
//! A usual range that is changed in the domain file holds from the next run on: `usual_ranges` says which readings were
//! held against which.

use std::collections::HashMap;
use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::{NEVER, floor_to};
use citytide_domain::{Domain, MINUTE_US};
use citytide_store::compare::{AsOf, Comparison, differences, exactly, unless};
use citytide_store::row::{Row, Value};
use citytide_store::schema::{self, AFTER_EPOCH, LiveTable, ROOM_FOR_UPDATES, Table, column, table};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use super::{Inputs, View};
use crate::operators::Epoch;

pub(super) const VIEW: View = View {
    stored: &[LiveTable { is_restored: false, views, ..LiveTable::new(quality_counts, comparison) }],
    define: |inputs| vec![define(inputs)],
};

pub(super) const NAME: &str = "quality_counts";
/// The view of it, whose name the table had before.
const QUALITY: &str = "data_quality_1min";
/// The zone of dead letters.
const NO_ZONE: &str = "";
/// Counts before those of the metrics: accepted, late, dead.
const FIXED: usize = 3;
/// A sender's clock may say anything: dead letters count in the years from 1970 to 9999.
const LAST_US: i64 = 253_402_300_799_999_999;

fn quality_counts(domain: &Domain) -> Table {
    let count = |name: String, comment: String| column(name, "bigint not null default 0", comment);
    let mut columns = vec![
        column("zone", "text not null", "The zone; '' for dead letters"),
        column("window_start", "timestamptz not null", "Start of the minute"),
        count("reading_count".to_owned(), "Accepted readings of that minute".to_owned()),
        count("late_count".to_owned(), "Late readings of that minute".to_owned()),
        count(
            "dead_letter_count".to_owned(),
            "Dead letters that Kafka stamped in that minute; 0 but for zone ''".to_owned(),
        ),
    ];
    columns.extend(domain.metrics.iter().flat_map(|metric| {
        let name = &metric.name;
        [
            count(
                format!("count_{name}"),
                format!("Accepted readings with {name}; the others have null for {name}"),
            ),
            count(
                format!("unusual_{name}"),
                format!("Accepted readings with {name} outside its usual range"),
            ),
        ]
    }));
    columns.push(column(AFTER_EPOCH, "bigint not null", "All that it counts came after this epoch"));
    Table {
        key: "zone, window_start",
        storage: ROOM_FOR_UPDATES,
        index: Some("window_start"),
        came_later: true,
        formerly: Some(QUALITY),
        ..table(NAME, "Counts of readings and dead letters by zone and minute, to which commits add", columns)
    }
}

/// A zone is expected to bring as many readings as in the median of the hour before.
const EXPECTED: &str =
    "select percentile_disc(0.5) within group (order by before.reading_count) as expected_count
        from quality_counts as before
        where before.zone = quality.zone and before.window_start < quality.window_start
          and before.window_start >= quality.window_start - interval '1 hour' and before.reading_count > 0";

fn views(domain: &Domain) -> Vec<schema::View> {
    vec![quality(domain), completeness()]
}

/// What is shown of the counts. Nulls are what the counts of values leave: of readings that came before a metric did, all.
fn quality(domain: &Domain) -> schema::View {
    let metrics = || domain.metrics.iter().map(|metric| &metric.name);
    let mut columns = vec![
        column("zone", "text", "The zone; '' for dead letters"),
        column("minute", "timestamptz", "Start of the minute"),
        column(
            "expected",
            "bigint",
            "Accepted readings in the median of its minutes with readings in the hour before; null when there were none",
        ),
        column("readings", "bigint", "Accepted readings of that minute"),
        column("late", "bigint", "Late readings of that minute"),
        column("dead", "bigint", "Dead letters that Kafka stamped in that minute; 0 but for zone ''"),
    ];
    columns.extend(metrics().flat_map(|name| {
        let outside = format!("Accepted readings with {name} outside its usual range");
        [
            column(format!("nulls_{name}"), "bigint", format!("Accepted readings without {name}")),
            column(format!("out_of_range_{name}"), "bigint", outside),
        ]
    }));
    columns.push(column("epoch", "bigint", "The commit that last wrote the row, milliseconds"));
    let of_metrics = metrics().map(|name| {
        format!(
            "\n           reading_count - count_{name} as nulls_{name}, unusual_{name} as out_of_range_{name},"
        )
    });
    let source = format!(
        "from (
        select zone, window_start as minute,
           case when zone <> '{NO_ZONE}' then (
        {EXPECTED}) end as expected,
           reading_count as readings, late_count as late, dead_letter_count as dead,{}
           epoch
        from {NAME} as quality
    ) as shown",
        of_metrics.collect::<String>()
    );
    schema::View {
        name: QUALITY.to_owned(),
        comment: "Data quality by zone and minute: what was expected, what came, and what it lacks. A minute without any \
                  record has no row"
            .to_owned(),
        columns,
        expressions: Vec::new(),
        source,
        came_later: true,
    }
}

fn completeness() -> schema::View {
    let columns = vec![
        column("zone", "text", "The zone"),
        column("window_start", "timestamptz", "Start of the minute"),
        column("reading_count", "bigint", "Accepted readings of that minute"),
        column(
            "expected_count",
            "bigint",
            "The median of its minutes with readings in the hour before; null when there were none",
        ),
        column(
            "completeness",
            "double precision",
            "The share that came; above 1 when more came than were expected",
        ),
        column("is_final", "boolean", "Whether W has passed the minute's end"),
    ];
    schema::View {
        name: "completeness_1min".to_owned(),
        comment: "How many readings each zone brought in a minute, and how many it was expected to bring. A minute \
                  without any has no row"
            .to_owned(),
        columns,
        expressions: vec![
            ("completeness", "reading_count::float8 / expected_count"),
            ("is_final", "coalesce(window_start + interval '1 minute' <= w, false)"),
        ],
        source: format!(
            "from {NAME} as quality
    cross join lateral (
        {EXPECTED}
    ) as hour
    cross join (select max(watermark) as w from commits) as newest
    where quality.zone <> '{NO_ZONE}'"
        ),
        came_later: true,
    }
}

/// Counts of a zone's minute, as the table has them.
fn row(zone: Value, minute_us: i64, counts: impl IntoIterator<Item = i64>) -> Row {
    [zone, Value::Time(minute_us)].into_iter().chain(counts.into_iter().map(Value::Integer)).collect()
}

/// What a batch adds, a row per zone and minute.
fn counts_of(batch: &Batch, usual: &[(f64, f64)], rows: &mut Vec<Row>) {
    let width = FIXED + 2 * usual.len();
    let (mut places, mut counts): (Vec<(u32, i64)>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut slots: HashMap<(u32, i64), usize> = HashMap::new();
    // By zone the minute of its last reading and its slot: nearly every reading finds its slot here.
    let mut latest = vec![(NEVER, 0); batch.zone_names.len()];
    for row in 0..batch.rows() {
        let (zone, minute_us) = (batch.zones[row], floor_to(batch.event_times_us[row], MINUTE_US));
        let latest = &mut latest[zone as usize];
        if latest.0 != minute_us {
            let slot = *slots.entry((zone, minute_us)).or_insert_with(|| {
                places.push((zone, minute_us));
                counts.resize(counts.len() + width, 0);
                places.len() - 1
            });
            *latest = (minute_us, slot);
        }
        let counts = &mut counts[latest.1 * width..][..width];
        if batch.late[row] {
            counts[1] += 1;
            continue;
        }
        counts[0] += 1;
        let metrics = batch.metrics.iter().zip(usual);
        for ((column, (least, greatest)), counts) in metrics.zip(counts[FIXED..].chunks_mut(2)) {
            let value = column[row];
            counts[0] += i64::from(!value.is_nan());
            // Nothing is less or greater than no value.
            counts[1] += i64::from(value < *least || value > *greatest);
        }
    }
    let zone = |zone: u32| Value::from(&batch.zone_names[zone as usize]);
    let counted = places.iter().zip(counts.chunks(width));
    rows.extend(counted.map(|((of, minute_us), counts)| row(zone(*of), *minute_us, counts.iter().copied())));
    let mut dead: HashMap<i64, i64> = HashMap::new();
    for letter in &batch.dead {
        *dead.entry(minute_of_letter(letter.received_at_ms.saturating_mul(1000))).or_default() += 1;
    }
    rows.extend(dead.into_iter().map(|(minute_us, letters)| letters_of(minute_us, letters, usual.len())));
}

fn minute_of_letter(received_at_us: i64) -> i64 {
    floor_to(received_at_us.clamp(0, LAST_US), MINUTE_US)
}

fn letters_of(minute_us: i64, letters: i64, metrics: usize) -> Row {
    let counts = [0, 0, letters].into_iter().chain(std::iter::repeat_n(0, 2 * metrics));
    row(Value::Text(Arc::from(NO_ZONE)), minute_us, counts)
}

/// The row of a dead letter, which disappears when the letter becomes a reading.
pub(super) fn of_letter(received_at_us: i64, domain: &Domain) -> Row {
    letters_of(minute_of_letter(received_at_us), 1, domain.metrics.len())
}

fn define<'scope>(inputs: &Inputs<'scope>) -> VecCollection<'scope, Epoch, Row, isize> {
    let usual: Vec<(f64, f64)> = inputs.domain.metrics.iter().map(|metric| metric.usual).collect();
    let counts =
        inputs.batches.summaries("quality of a batch", move |batch, rows| counts_of(batch, &usual, rows));
    let rows = counts.unary(Pipeline, "quality in an epoch", |_, _| {
        |input, output| {
            input.for_each(|capability, rows: &mut Vec<Row>| {
                let epoch = *capability.time();
                output.session(&capability).give_iterator(rows.drain(..).map(|row| (row, epoch, 1)));
            });
        }
    });
    rows.as_collection()
}

fn comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
    let metrics = || domain.metrics.iter().map(|metric| &metric.name);
    let names = || metrics().flat_map(|name| [format!("count_{name}"), format!("unusual_{name}")]);
    let of_readings = metrics().map(|name| {
        format!(
            ",\n    count({name}) filter (where not is_late) as count_{name}, \
             count(*) filter (where not is_late and ({name} < usual_{name}[1] or {name} > usual_{name}[2])) \
             as unusual_{name}"
        )
    });
    // Before the first commit that noted one, a range is the domain file's.
    let ranges = domain.metrics.iter().map(|metric| {
        format!(
            ",\n    coalesce((select array[least, greatest] from usual_ranges where metric = '{0}' \
             and since_epoch <= since.epoch order by since_epoch desc limit 1), \
             array[{1:?}, {2:?}]::double precision[]) as usual_{0}",
            metric.name, metric.usual.0, metric.usual.1
        )
    });
    // `date_bin` rounds times before its origin the wrong way on some servers.
    let minute =
        |time: &str| format!("date_bin(interval '1 minute', {time}, timestamptz '1870-01-01 00:00:00+00')");
    let given = format!(
        "ranges as materialized (\n  select epoch as since_epoch, \
         lead(epoch, 1, 9223372036854775807) over (order by epoch) as until_epoch{ranges}\n  \
         from (select 0::bigint as epoch union select since_epoch from usual_ranges) as since\n),\n\
         expected as (\n  select zone, {readings} as window_start, \
         count(*) filter (where not is_late) as reading_count, count(*) filter (where is_late) as late_count, \
         0::bigint as dead_letter_count{of_readings},\n    min(epoch) - 1 as after_epoch\n  \
         from sensor_data join ranges on epoch > since_epoch and epoch <= until_epoch group by 1, 2\n  \
         union all\n  select '{NO_ZONE}', {letters}, 0, 0, count(*){of_letters}, min(epoch) - 1\n  \
         from dead_letters group by 2\n)",
        readings = minute("recorded_at"),
        letters = minute(
            "least(greatest(received_at, timestamptz 'epoch'), timestamptz '9999-12-31 23:59:59.999999+00')"
        ),
        ranges = ranges.collect::<String>(),
        of_readings = of_readings.collect::<String>(),
        of_letters = names().map(|_| ", 0").collect::<String>(),
    );
    let counts = ["reading_count", "late_count", "dead_letter_count"].map(str::to_owned);
    let mut columns: Vec<String> = counts.into_iter().chain(names()).map(|name| exactly(&name)).collect();
    // Retention relies on it: of a row that began behind the horizon some may be hidden.
    columns.push(unless("actual.after_epoch <= expected.after_epoch", "after_epoch"));
    // When the last letter of a minute has become a reading, a row of zeros is left.
    let mut comparable =
        vec!["(expected.zone is not null or actual.reading_count + actual.late_count + actual.dead_letter_count <> 0)"
            .to_owned()];
    if as_of.horizon > 0 {
        comparable.push(format!("coalesce(actual.after_epoch >= {}, true)", as_of.horizon));
    }
    if let Some(kept_from) = as_of.kept_from(domain) {
        comparable.push(format!("coalesce(actual.window_start, expected.window_start) >= {kept_from}"));
    }
    Comparison {
        name: NAME.to_owned(),
        rows: "minutes",
        given,
        compared: format!(
            "  select to_char(coalesce(actual.window_start, expected.window_start), 'YYYY-MM-DD HH24:MI:SS') || ' ' \
             || coalesce(actual.zone, expected.zone),\n    {}\n  \
             from {NAME} as actual full join expected using (zone, window_start)\n  where {}",
            differences("reading_count", &columns),
            comparable.join("\n    and ")
        ),
    }
}

#[cfg(test)]
mod tests;
