//! The statements of an epoch's transaction: their SQL, and a plan's rows as arrays.
//!
//! Each table takes one statement, `insert … select from unnest(arrays) on conflict do update`, whatever the number of
//! rows. Its columns and their types are those of the schema; arrays come in the order of the table's columns.

mod detector;

use citytide_core::position::Claim;
use citytide_domain::Domain;
use citytide_store::row::Value;
use citytide_store::schema::{self, AFTER_EPOCH, Column, EPOCH, Table, quoted};
use citytide_store::time::Timestamp;
use tokio_postgres::types::ToSql;

pub use detector::{
    ADD_DISAGREEMENTS, DELETE_REQUESTS, INSERT_JUDGES, INSERT_MODEL_CHANGES, INSERT_PROMOTIONS,
    UPDATE_MODELS, UPSERT_LIFTS, disagreement_arrays, judge_arrays, lift_arrays, model_change,
    promotion_arrays, request_arrays,
};

use super::plan::{Part, Plan};

/// A statement's arguments, one array per column.
pub type Arrays = Vec<Box<dyn ToSql + Sync + Send>>;

fn array<T, I>(values: I) -> Box<dyn ToSql + Sync + Send>
where
    I: Iterator<Item = T>,
    Vec<T>: ToSql + Sync + Send + 'static,
{
    Box::new(values.collect::<Vec<T>>())
}

/// A column that an upsert fills by itself: its value in a new row, and in one that is there, which is called `kept`.
/// `$1` is the epoch.
struct Filled {
    column: &'static str,
    inserted: &'static str,
    updated: &'static str,
}

/// `insert into <table> as kept (…) select … from unnest(…) on conflict (<key>) do update set …`: every column but the
/// filled ones comes as an array.
fn upsert(table: &Table, filled: &[Filled]) -> String {
    let brought: Vec<&Column> =
        table.columns.iter().filter(|column| filled.iter().all(|one| one.column != column.name)).collect();
    let names = filled.iter().map(|one| one.column.to_owned());
    let names = names.chain(brought.iter().map(|column| quoted(&column.name)));
    let values = filled.iter().map(|one| one.inserted).chain(["*"]);
    let first = 1 + filled.iter().filter(|one| one.inserted.starts_with('$')).count();
    let arrays =
        (first..).zip(&brought).map(|(number, column)| format!("${number}::{}[]", column.type_name()));
    let key = table.primary_key();
    let set = filled.iter().map(|one| format!("{} = {}", one.column, one.updated));
    let changing = brought.iter().filter(|column| !key.contains(&column.name.as_str()));
    let added = if table.adds_up() { "kept.{} + excluded.{}" } else { "excluded.{}" };
    let set = set.chain(changing.map(|column| {
        let name = quoted(&column.name);
        match &column.merge {
            Some(merge) => format!("{name} = {merge}"),
            None => format!("{name} = {}", added.replace("{}", &name)),
        }
    }));
    format!(
        "insert into {} as kept ({}) select {} from unnest({}) on conflict ({}) do update set {}",
        quoted(&table.name),
        joined(names),
        joined(values.map(str::to_owned)),
        joined(arrays),
        key.join(", "),
        joined(set)
    )
}

/// What commits fill of the rows of windows.
const CORRECTED: [Filled; 3] = [
    Filled { column: "revision", inserted: "0", updated: "kept.revision + kept.is_final::integer" },
    Filled { column: "updated_at", inserted: "now()", updated: "excluded.updated_at" },
    WRITTEN,
];

/// The commit that wrote the row.
const WRITTEN: Filled = Filled { column: EPOCH, inserted: "$1::bigint", updated: "excluded.epoch" };

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// SQL of the upsert into the table of one of the domain's windows. What `revision` becomes is decided by the row that
/// is there: one more if it was final, else what it was.
pub fn upsert_window(domain: &Domain, window: usize) -> String {
    upsert(&schema::window_table(domain, window), &CORRECTED)
}

/// Arguments of [`upsert_window`], or `None` when the plan has no row for it.
pub fn window_arrays(plan: &Plan, window: usize, metrics: usize) -> Option<Arrays> {
    let rows: Vec<_> = plan.windows.values().filter(|row| row.window == window).collect();
    if rows.is_empty() {
        return None;
    }
    let mut arrays: Arrays = vec![
        Box::new(plan.epoch as i64),
        array(rows.iter().map(|row| Timestamp(row.start_us))),
        array(rows.iter().map(|row| Timestamp(row.end_us))),
        array(rows.iter().map(|row| row.zone.to_string())),
        array(rows.iter().map(|row| row.readings as i64)),
        array(rows.iter().map(|row| row.anomalies as i64)),
    ];
    for metric in 0..metrics {
        arrays.push(array(rows.iter().map(|row| row.figures[metric].map(|(average, _, _)| average))));
        arrays.push(array(rows.iter().map(|row| row.figures[metric].map(|(_, least, _)| least))));
        arrays.push(array(rows.iter().map(|row| row.figures[metric].map(|(_, _, greatest)| greatest))));
    }
    arrays.push(array(rows.iter().map(|row| row.is_final)));
    Some(arrays)
}

/// SQL of the upsert into `panes`.
pub fn upsert_panes(domain: &Domain) -> String {
    upsert(&schema::panes(domain), &[])
}

/// Arguments of [`upsert_panes`].
pub fn pane_arrays(plan: &Plan, metrics: usize) -> Option<Arrays> {
    let panes: Vec<_> = plan.panes.values().collect();
    if panes.is_empty() {
        return None;
    }
    let mut arrays: Arrays = vec![
        array(panes.iter().map(|pane| pane.zone.to_string())),
        array(panes.iter().map(|pane| Timestamp(pane.start_us))),
        array(panes.iter().map(|pane| pane.sums.readings as i64)),
        array(panes.iter().map(|pane| pane.sums.anomalies as i64)),
        array(panes.iter().map(|pane| pane.first_epoch as i64)),
        array(panes.iter().map(|pane| pane.last_epoch as i64)),
    ];
    for metric in 0..metrics {
        let sums = || panes.iter().map(move |pane| &pane.sums.metrics[metric]);
        let some = |count: u64| count > 0;
        arrays.push(array(sums().map(|sums| sums.count as i64)));
        arrays.push(array(sums().map(|sums| some(sums.count).then(|| sums.sum.to_bytes().to_vec()))));
        arrays.push(array(sums().map(|sums| some(sums.count).then_some(sums.min))));
        arrays.push(array(sums().map(|sums| some(sums.count).then_some(sums.max))));
    }
    Some(arrays)
}

/// SQL of the upsert into `ingest_progress`.
pub fn upsert_progress() -> String {
    upsert(&schema::progress(), &[])
}

/// Arguments of [`upsert_progress`]; `source` names a partition.
pub fn progress_arrays(plan: &Plan, source: impl Fn(i32) -> String) -> Option<Arrays> {
    if plan.marks.is_empty() {
        return None;
    }
    let marks = || plan.marks.values();
    let positions = || marks().map(|mark| &mark.position);
    let counts = || positions().map(|position| &position.counts);
    Some(vec![
        array(marks().map(|mark| mark.partition)),
        array(marks().map(|mark| source(mark.partition))),
        array(positions().map(|position| position.first_offset)),
        array(positions().map(|position| position.next_offset)),
        array(counts().map(|counts| counts.accepted)),
        array(counts().map(|counts| counts.late)),
        array(counts().map(|counts| counts.dead)),
        array(counts().map(|counts| counts.lost)),
        array(counts().map(|counts| counts.gaps)),
        array(positions().map(|position| Timestamp::watermark(position.watermark_us))),
        array(marks().map(|mark| mark.reach.activity.is_at_rest())),
        array(positions().map(|position| position.cursor.as_deref().map(str::to_owned))),
        array(positions().map(|position| position.claim.as_ref().map(claim_text))),
    ])
}

fn claim_text(claim: &Claim) -> String {
    serde_json::to_string(claim).expect("a name and numbers")
}

/// SQL that notes the usual ranges of metrics that are not those of the readings up to epoch $1.
pub const INSERT_USUAL_RANGES: &str = "insert into usual_ranges (metric, since_epoch, least, greatest) \
     select now.metric, case when newest.metric is null then 0 else $1::bigint end, now.least, now.greatest \
     from unnest($2::text[], $3::double precision[], $4::double precision[]) as now (metric, least, greatest) \
     left join lateral (select * from usual_ranges as noted where noted.metric = now.metric \
                        order by since_epoch desc limit 1) as newest on true \
     where (newest.least, newest.greatest) is distinct from (now.least, now.greatest)";

/// Arguments of [`INSERT_USUAL_RANGES`].
pub fn usual_range_arrays(domain: &Domain, previous_epoch: i64) -> Arrays {
    let metrics = || domain.metrics.iter();
    vec![
        Box::new(previous_epoch),
        array(metrics().map(|metric| metric.name.clone())),
        array(metrics().map(|metric| metric.usual.0)),
        array(metrics().map(|metric| metric.usual.1)),
    ]
}

/// SQL that remembers which zones a partition has brought.
pub const INSERT_ZONES: &str = "insert into partition_zones (kafka_partition, zone) \
     select * from unnest($1::integer[], $2::text[]) on conflict do nothing";

/// Arguments of [`INSERT_ZONES`].
pub fn zone_arrays(plan: &Plan) -> Option<Arrays> {
    let zones: Vec<(i32, String)> = plan
        .marks
        .values()
        .flat_map(|mark| mark.new_zones.iter().map(|zone| (mark.partition, zone.clone())))
        .collect();
    (!zones.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(zones.iter().map(|(partition, _)| *partition)),
            array(zones.iter().map(|(_, zone)| zone.clone())),
        ];
        arrays
    })
}

/// The commit before the one that made the row: all that it counts came later.
const AFTER: Filled = Filled {
    column: AFTER_EPOCH,
    inserted: "(select coalesce(max(epoch), 0) from commits where epoch < $1)",
    updated: "kept.after_epoch",
};

/// SQL of the upsert into a live view's table.
pub fn upsert_view(table: &Table) -> String {
    match table.adds_up() {
        _ if table.is_of_windows => upsert(table, &CORRECTED),
        true => upsert(table, &[AFTER, WRITTEN]),
        false => upsert(table, &[WRITTEN]),
    }
}

/// Arguments of [`upsert_view`].
pub fn view_arrays(plan: &Plan, view: usize) -> Option<Arrays> {
    let rows = plan.views.iter().filter(|((of, _), _)| *of == view);
    columns(plan, rows.filter_map(|((_, key), rest)| Some(key.iter().chain(rest.as_ref()?))))
}

/// Arguments of [`upsert_view`] for parts of rows that the server merges.
pub fn part_arrays(plan: &Plan, parts: &[Part]) -> Option<Arrays> {
    columns(plan, parts.iter().map(|(key, rest)| key.iter().chain(rest)))
}

/// SQL that deletes rows of a live view and leaves their keys in `changes`.
pub fn delete_from_view(table: &Table) -> String {
    let keys: Vec<&Column> = table.columns.iter().take(table.primary_key().len()).collect();
    let arrays = (2..).zip(&keys).map(|(number, column)| format!("${number}::{}[]", column.type_name()));
    let same = keys.iter().map(|column| format!("kept.{0} = gone.{0}", quoted(&column.name)));
    format!(
        "with deleted as (delete from {name} as kept using unnest({arrays}) as gone ({keys}) where {same} \
         returning gone.*) insert into changes (epoch, table_name, key) select $1::bigint, '{name}', to_jsonb(deleted) \
         from deleted",
        name = table.name,
        arrays = joined(arrays),
        keys = joined(keys.iter().map(|column| quoted(&column.name))),
        same = same.collect::<Vec<_>>().join(" and ")
    )
}

/// Arguments of [`delete_from_view`].
pub fn gone_arrays(plan: &Plan, view: usize) -> Option<Arrays> {
    let gone = plan.views.iter().filter(|((of, _), rest)| *of == view && rest.is_none());
    columns(plan, gone.map(|((_, key), _)| key.iter()))
}

/// The epoch, and rows as an array per column; `None` when there is no row.
fn columns<'a, R>(plan: &Plan, rows: impl Iterator<Item = R>) -> Option<Arrays>
where
    R: Iterator<Item = &'a Value>,
{
    let mut columns: Vec<Vec<Value>> = Vec::new();
    for row in rows {
        for (column, value) in row.enumerate() {
            if columns.len() == column {
                columns.push(Vec::new());
            }
            columns[column].push(value.clone());
        }
    }
    let epoch: Box<dyn ToSql + Sync + Send> = Box::new(plan.epoch as i64);
    let arrays = columns.into_iter().map(|column| array(column.into_iter()));
    let arrays: Arrays = std::iter::once(epoch).chain(arrays).collect();
    (arrays.len() > 1).then_some(arrays)
}

#[cfg(test)]
mod tests;
