//! The conservation law, and the chain of commits.

use citytide_store::compare::{AsOf, Comparison, differences, exactly};

/// Every partition: the law itself, that the raw tables hold only offsets that were read, and, while nothing lies
/// behind the horizon, as many readings and dead letters as were counted.
pub fn conservation(as_of: &AsOf) -> Comparison {
    let mut columns = vec![
        "case when not actual.holds then format('%s offsets are %s accepted, %s late, %s dead, %s lost, %s gaps', \
         actual.next_offset - actual.first_offset, actual.accepted, actual.late, actual.dead, actual.lost, \
         actual.gaps) end"
            .to_owned(),
        "case when expected.least < actual.first_offset or expected.greatest >= actual.next_offset then \
         format('rows at offsets %s … %s, read were %s … %s', expected.least, expected.greatest, \
         actual.first_offset, actual.next_offset - 1) end"
            .to_owned(),
    ];
    if as_of.horizon == 0 {
        columns.extend(["accepted", "late", "dead"].map(exactly));
    }
    let given = "rows as (\n  \
         select kafka_partition, count(*) filter (where not is_late) as accepted, \
         count(*) filter (where is_late) as late, 0::bigint as dead, \
         min(kafka_offset) as least, max(kafka_offset) as greatest from sensor_data group by 1\n  \
         union all select kafka_partition, 0, 0, count(*), min(kafka_offset), max(kafka_offset) \
         from dead_letters group by 1\n  \
         union all select kafka_partition, 0, 0, 0, null, null from ingest_progress\n),\n\
         expected as (\n  select kafka_partition, sum(accepted)::bigint as accepted, sum(late)::bigint as late, \
         sum(dead)::bigint as dead, min(least) as least, max(greatest) as greatest from rows group by 1\n)";
    Comparison {
        name: "conservation".to_owned(),
        rows: "partitions",
        given: given.to_owned(),
        compared: format!(
            "  select 'partition ' || kafka_partition, {}\n  \
             from conservation as actual full join expected using (kafka_partition)",
            differences("accepted", &columns)
        ),
    }
}

/// Every commit names the one before. The oldest that is kept has none to be compared with.
pub fn chain() -> Comparison {
    Comparison {
        name: "commits".to_owned(),
        rows: "commits",
        given: String::new(),
        compared:
            "  select 'commit ' || epoch, case when previous_epoch <> lag(epoch) over (order by epoch) then \
                   format('previous_epoch is %s, the commit before is %s', previous_epoch, \
                   lag(epoch) over (order by epoch)) end\n  from commits"
                .to_owned(),
    }
}
