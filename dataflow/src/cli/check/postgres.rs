//! The checks of PostgreSQL: tables, rights, other runs, clocks, free space, settings.

use citytide_store::clock::wall_ms;
use citytide_store::ledger;
use citytide_store::migrate::{self, Difference, MigrateError, in_words};
use citytide_store::postgres::DatabaseError;
use citytide_store::schema;
use citytide_store::takeover::{Patience, TakeoverError, living_run};
use tokio_postgres::Client;

use super::Report;
use super::kafka::Seen;
use crate::cli::exit_error::ExitError;
use crate::cli::setup::Setup;
use crate::cli::status::thousands;
use crate::runtime::exit::Exit;
use crate::sources::Source;
use crate::views;

/// Clocks that differ by less are the same.
const SKEW_MAX_MS: i64 = 2_000;
/// Sessions of a run beside two of each worker: committer, upkeep, and one to spare for `verify`.
const SESSIONS_BESIDE: u32 = 3;

/// Asks PostgreSQL. `seen` is what Kafka said.
pub async fn examine(setup: &Setup, seen: Option<&Seen>, report: &mut Report) {
    let mut client = match setup.database.connect("citytide:check").await {
        Ok(client) => client,
        Err(error) => {
            report.failed("database", &error.into());
            for name in ["tables", "rights", "run", "clocks", "space", "server"] {
                report.skipped(name, "database");
            }
            return;
        }
    };
    let asked = async {
        report.ok("database", format!("{}: {}", setup.database, what(&client).await?));
        let is_there = tables(setup, &mut client, report).await?;
        match is_there {
            Some(is_there) => rights(setup, &client, is_there, report).await?,
            None => report.skipped("rights", "tables"),
        }
        let is_there = is_there == Some(true);
        if is_there {
            lives(&client, report).await?;
            progress(setup, seen, &client, report).await?;
        } else {
            report.ok("run", "no run has used this database yet");
        }
        clocks(seen, &client, report).await?;
        space(is_there, &client, report).await?;
        server(setup, &client, report).await
    };
    if let Err(error) = asked.await {
        report.failed("database", &error.into());
    }
}

async fn one(
    client: &Client,
    attempted: &'static str,
    query: &str,
) -> Result<tokio_postgres::Row, DatabaseError> {
    client.query_one(query, &[]).await.map_err(|error| DatabaseError::statement(attempted, &error))
}

async fn what(client: &Client) -> Result<String, DatabaseError> {
    let row = one(
        client,
        "asking for the session's encryption",
        "select current_setting('server_version'), coalesce(max(version), 'without TLS') from pg_stat_ssl
         where pid = pg_backend_pid() and ssl",
    )
    .await?;
    Ok(format!("PostgreSQL {}, {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
}

/// Whether there are tables; `None` when they do not fit.
async fn tables(
    setup: &Setup,
    client: &mut Client,
    report: &mut Report,
) -> Result<Option<bool>, DatabaseError> {
    Ok(
        match migrate::examine(
            client,
            &views::schema(&setup.domain),
            setup.is_kafka.then_some(setup.topic.as_str()),
        )
        .await
        {
            Err(MigrateError::Database(error)) => return Err(error),
            Err(error) => {
                report.failed("tables", &error.into());
                None
            }
            Ok(None) => {
                report.ok("tables", "none yet; the first run creates them");
                Some(false)
            }
            Ok(Some(found)) => {
                let (breaking, others): (Vec<_>, Vec<_>) = found.into_iter().partition(Difference::breaks);
                if !breaking.is_empty() {
                    report
                        .failed("tables", &MigrateError::ChangedByHand { what: in_words(&breaking) }.into());
                    return Ok(None);
                }
                let (mended, left): (Vec<_>, Vec<_>) = others.into_iter().partition(Difference::is_migrated);
                match (mended.is_empty(), left.is_empty()) {
                    (true, true) => {
                        let version = schema::SCHEMA_VERSION;
                        report.ok("tables", format!("schema version {version}, matches the domain file"));
                    }
                    (false, _) => {
                        report.warning("tables", format!("the next run fixes: {}", in_words(&mended)))
                    }
                    (true, false) => report.warning("tables", in_words(&left)),
                }
                Some(true)
            }
        },
    )
}

/// A run creates a table a day and attaches it, which only owners may.
async fn rights(
    setup: &Setup,
    client: &Client,
    is_there: bool,
    report: &mut Report,
) -> Result<(), DatabaseError> {
    let wanted = if is_there { views::schema(&setup.domain).relations() } else { Vec::new() };
    let row = client
        .query_one(
            "select current_user::text, coalesce(current_schema()::text, ''),
                    coalesce(has_schema_privilege(current_schema(), 'create'), false),
                    (select string_agg(format('%s (%s)', relname, pg_get_userbyid(relowner)), ', ' order by relname)
                     from pg_class where relnamespace = current_schema()::regnamespace and relname = any($1)
                       and not pg_has_role(relowner, 'usage'))",
            &[&wanted],
        )
        .await
        .map_err(|error| DatabaseError::statement("asking for this role's rights", &error))?;
    let (role, schema): (String, String) = (row.get(0), row.get(1));
    let (creates, others): (bool, Option<String>) = (row.get(2), row.get(3));
    if let Some(others) = others {
        let why = format!(
            "the role {role} does not own {others}; connect as the role that created the tables, or let it run \
             \"grant OWNER to {role}\" with its own name"
        );
        report.failed("rights", &ExitError::new(Exit::Denied, why));
    } else if !creates {
        let reason = "it lacks CREATE".to_owned();
        report.failed("rights", &MigrateError::Denied { role, schema, reason }.into());
    } else {
        report.ok("rights", format!("{role} may create and write tables in the schema {schema}"));
    }
    Ok(())
}

async fn lives(client: &Client, report: &mut Report) -> Result<(), DatabaseError> {
    match living_run(client, Patience::default().silence).await {
        Ok(Some(holder)) => report.failed("run", &TakeoverError::Held(holder).into()),
        Ok(None) => report.ok("run", "no other run is active"),
        Err(error) => report.failed("run", &error.into()),
    }
    Ok(())
}

/// Where each partition would be taken up, and whether retention was faster.
async fn progress(
    setup: &Setup,
    seen: Option<&Seen>,
    client: &Client,
    report: &mut Report,
) -> Result<(), DatabaseError> {
    let Some(seen) = seen else {
        if setup.is_kafka {
            report.skipped("progress", "reading");
        }
        return Ok(());
    };
    let ledger = ledger::read_positions(client).await?;
    match Source::Kafka(seen.topic.clone()).assign(&ledger) {
        Err(error) => report.failed("progress", &ExitError::of_source(error, true)),
        Ok(assigned) => {
            let lost: i64 = assigned.iter().map(|one| (one.low_offset - one.next_offset).max(0)).sum();
            let lag: i64 =
                assigned.iter().map(|one| one.end_offset - one.next_offset.max(one.low_offset)).sum();
            let place =
                |one: &crate::sources::Assigned| format!("{} from offset {}", one.partition, one.next_offset);
            let places: Vec<String> = assigned.iter().map(place).collect();
            let says = format!("partition {}; {} records waiting", places.join(", "), thousands(lag));
            if lost > 0 && ledger.marks.iter().any(|mark| mark.position.next_offset > 0) {
                let retention = seen.facts.setting("retention.ms");
                report.warning(
                    "progress",
                    format!(
                        "{says}; {} were deleted before they were read and will be counted as lost: retention.ms \
                         is {retention}; keep records for longer than a run may be down",
                        thousands(lost)
                    ),
                );
            } else {
                report.ok("progress", says);
            }
        }
    }
    Ok(())
}

async fn clocks(seen: Option<&Seen>, client: &Client, report: &mut Report) -> Result<(), DatabaseError> {
    let before = wall_ms() as i64;
    let row = one(
        client,
        "asking for the database's clock",
        "select (extract(epoch from clock_timestamp()) * 1000)::bigint",
    )
    .await?;
    let after = wall_ms() as i64;
    let database_ms = row.get::<_, i64>(0) - (before + after) / 2;
    let ahead_ms = seen.and_then(|seen| seen.newest_ms).map(|newest| newest - after);
    let stamps = seen.map_or("?", |seen| seen.facts.setting("message.timestamp.type"));
    match judge_clocks(database_ms, ahead_ms, stamps) {
        Ok(says) => report.ok("clocks", says),
        Err(says) => report.warning("clocks", says),
    }
    Ok(())
}

/// Judges the database's clock less ours, and how far the newest record is ahead of ours, in milliseconds.
fn judge_clocks(database_ms: i64, ahead_ms: Option<i64>, stamps: &str) -> Result<String, String> {
    let seconds = |ms: i64| ms as f64 / 1000.0;
    if database_ms.abs() > SKEW_MAX_MS {
        let side = if database_ms > 0 { "ahead of" } else { "behind" };
        return Err(format!(
            "the database's clock is {:.1} s {side} this machine's; set both by NTP, epochs and heartbeats depend \
             on them",
            seconds(database_ms.abs())
        ));
    }
    match ahead_ms {
        Some(ahead) if ahead > SKEW_MAX_MS => {
            let whose = if stamps == "LogAppendTime" {
                "the broker's clock"
            } else {
                "a sender's clock (CreateTime)"
            };
            Err(format!(
                "the newest record is {:.1} s ahead of this machine's clock: {whose} or this one is wrong; set \
                 both by NTP",
                seconds(ahead)
            ))
        }
        Some(_) => Ok(format!("the database's clock differs by {database_ms} ms; no record is ahead of it")),
        None => Ok(format!("the database's clock differs by {database_ms} ms; the broker's is not known")),
    }
}

async fn space(is_there: bool, client: &Client, report: &mut Report) -> Result<(), DatabaseError> {
    let row =
        one(client, "asking for the database's size", "select pg_database_size(current_database())").await?;
    let size = bytes(row.get::<_, i64>(0));
    if !is_there {
        report.ok("space", format!("the database has {size}; PostgreSQL does not report free space"));
        return Ok(());
    }
    let row = one(
        client,
        "asking for the growth of the last hour",
        "select coalesce((select sum(readings) from commits where committed_at > now() - interval '1 hour'), 0)::bigint,
                coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint,
                coalesce((select sum(greatest(reltuples, 0)) from pg_class
                          where oid in (select inhrelid from pg_inherits
                                        where inhparent = 'sensor_readings'::regclass)), 0)::float8
         from pg_inherits where inhparent = 'sensor_readings'::regclass",
    )
    .await?;
    let (readings, held, rows): (i64, i64, f64) = (row.get(0), row.get(1), row.get(2));
    let growth = if rows > 0.0 {
        bytes((readings as f64 * held as f64 / rows) as i64)
    } else {
        "not known yet".to_owned()
    };
    report.ok(
        "space",
        format!(
            "the database has {size}, {} readings came in the last hour (about {growth}); PostgreSQL does not \
             report free space",
            thousands(readings)
        ),
    );
    Ok(())
}

fn bytes(count: i64) -> String {
    match count {
        ..10_000_000 => format!("{} kB", count / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{} GB", count / 1_000_000_000),
    }
}

async fn server(setup: &Setup, client: &Client, report: &mut Report) -> Result<(), DatabaseError> {
    let row = one(
        client,
        "asking for the server's settings",
        "select current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
                current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - (select count(*)::int from pg_stat_activity where backend_type = 'client backend')",
    )
    .await?;
    let free: i32 = row.get(3);
    let needed = 2 * setup.workers + SESSIONS_BESIDE;
    let warnings = judge_settings([row.get(0), row.get(1), row.get(2)], i64::from(free), i64::from(needed));
    if warnings.is_empty() {
        report.ok(
            "server",
            format!("{free} connections are free, {needed} are needed; commits survive a crash"),
        );
    } else {
        report.warning("server", warnings.join("; "));
    }
    Ok(())
}

fn judge_settings([fsync, pages, synchronous]: [&str; 3], free: i64, needed: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    if fsync == "off" || pages == "off" {
        warnings.push(
            "fsync or full_page_writes is off: a crash of the machine can corrupt the database; set both to on"
                .to_owned(),
        );
    }
    if matches!(synchronous, "off") {
        warnings.push(
            "synchronous_commit is off: a crash of the server can lose the last commits, which are then read again"
                .to_owned(),
        );
    }
    if free < needed {
        warnings.push(format!(
            "{free} connections are free, {needed} are needed; raise max_connections, or lower -w"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_with_whose_is_wrong() {
        assert!(judge_clocks(1_900, Some(-5_000), "LogAppendTime").is_ok());
        assert!(judge_clocks(0, None, "?").is_ok());
        assert!(judge_clocks(-2_100, None, "?").unwrap_err().contains("2.1 s behind this machine's"));
        assert!(judge_clocks(60_000, None, "?").unwrap_err().contains("60.0 s ahead of"));
        assert!(
            judge_clocks(0, Some(3_600_000), "LogAppendTime").unwrap_err().contains("the broker's clock")
        );
        assert!(judge_clocks(0, Some(3_600_000), "CreateTime").unwrap_err().contains("a sender's clock"));
    }

    #[test]
    fn settings_that_lose_something_are_warned_of() {
        assert!(judge_settings(["on", "on", "on"], 10, 5).is_empty());
        assert!(judge_settings(["off", "on", "on"], 10, 5)[0].contains("fsync"));
        assert!(judge_settings(["on", "on", "off"], 10, 5)[0].contains("read again"));
        assert!(judge_settings(["on", "on", "on"], 4, 5)[0].contains("max_connections"));
    }
}
