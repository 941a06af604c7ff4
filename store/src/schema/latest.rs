//! The SQL function `latest_readings`, which returns the newest readings without a scan.

use citytide_domain::Domain;

use super::table::literal;
use super::tables::reading_columns;

/// The function's signature.
pub const LATEST_READINGS: &str = "latest_readings(integer)";

const COMMENT: &str =
    "The readings of the newest commits that have so many together, newest event time first";

/// The names of its argument and columns, in the form of `pg_proc.proargnames`.
pub fn argument_names(domain: &Domain) -> Vec<String> {
    let columns = reading_columns(domain).into_iter().map(|column| column.name);
    ["number".to_owned()].into_iter().chain(columns).collect()
}

/// The statements that create it. It does not use the row types of the views, so that these can be dropped and created
/// again.
///
/// The query contains the epoch as a literal, so that the planner prunes segments. Sequential scans are off, because
/// the planner takes a table without statistics for small and would scan it.
pub fn create(domain: &Domain) -> String {
    let columns = reading_columns(domain);
    let typed: Vec<String> =
        columns.iter().map(|column| format!("{} {}", column.name, column.type_name())).collect();
    let lines: Vec<String> = typed.chunks(4).map(|line| line.join(", ")).collect();
    format!(
        "create function latest_readings(number integer) returns table (
    {typed}
) language plpgsql stable set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    newest record;
    above bigint;
    held bigint := 0;
begin
    for newest in select previous_epoch, readings from commits order by epoch desc loop
        above := newest.previous_epoch;
        held := held + newest.readings;
        exit when held >= number;
    end loop;
    return query execute format('select * from sensor_data where epoch > %s '
        'order by recorded_at desc, kafka_partition, kafka_offset desc limit %s', coalesce(above, 0), number);
end $$;
comment on function {LATEST_READINGS} is {comment};
",
        typed = lines.join(",\n    "),
        comment = literal(COMMENT)
    )
}
