//! `citytide verify`: recomputes the tables in SQL, and lists each difference.
//!
//! Everything is read in one snapshot, so it may run beside an active run. What is recomputed:
//! 1. every window of every window table, from `sensor_data where not is_late`: counts, least and greatest values
//!    exactly, averages within 10⁻⁹; whether it is final, from the newest watermark;
//! 2. panes, from the same readings;
//! 3. the conservation law per partition, and its counts from the raw tables while nothing lies behind the horizon;
//! 4. the chain of commits;
//! 5. the live views, by the SQL that stands with each of them;
//! 6. when asked for, every verdict of the detector: see [`verdicts`].
//!
//! What lies behind the retention horizon cannot be recomputed: a window is compared only when all its panes began
//! after it.

mod compare;
mod ledger;
mod report;
mod verdicts;
mod windows;

use citytide_domain::Domain;
use citytide_store::compare::AsOf;
use citytide_store::migrate::{Declared, MigrateError};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::session;

use super::exit_error::ExitError;
use super::tables::TablesArgs;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use crate::views::schema;
use compare::comparisons;
pub use report::Report;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  citytide verify && echo all tables agree\n  \
    citytide verify --domain greenhouse.toml\n\nExit codes: 0 no difference, 1 a difference, or no \
    verdict could be compared, others as those of run.")]
pub struct Args {
    /// Also recompute every verdict of the detector, from the first reading on; takes a minute for twenty million
    #[arg(long)]
    verdicts: bool,
    #[command(flatten)]
    tables: TablesArgs,
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no schema of citytide.
    #[error("{database} holds no tables of citytide; is it the right database? citytide run creates them")]
    NotThere { database: String },
    /// The domain file has a metric that the database has no columns for.
    #[error(
        "this database has no columns for the metric {metric} yet; citytide run with this domain file adds them"
    )]
    MetricNew { metric: String },
    /// The database is another domain's.
    #[error(transparent)]
    Other(#[from] MigrateError),
    /// The role may not read everything.
    #[error(
        "{attempted} failed: {reason}; connect as the tables' owner, or as a member of the role that \
         sql/roles.sql creates"
    )]
    MayNotRead {
        /// What was attempted.
        attempted: String,
        /// The server's words.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(DatabaseError),
}

impl From<DatabaseError> for VerifyError {
    fn from(error: DatabaseError) -> VerifyError {
        match error {
            DatabaseError::Statement { attempted, reason, sqlstate: Some(state) } if state == "42501" => {
                VerifyError::MayNotRead { attempted, reason }
            }
            error => VerifyError::Database(error),
        }
    }
}

impl From<VerifyError> for ExitError {
    fn from(error: VerifyError) -> ExitError {
        match error {
            VerifyError::Database(error) => error.into(),
            VerifyError::Other(error) => error.into(),
            VerifyError::MayNotRead { .. } => ExitError::new(Exit::Denied, error),
            _ => ExitError::new(Exit::Config, error),
        }
    }
}

/// Verifies and prints what was found, or why nothing was; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    let (domain, database) = args.tables.read()?;
    let report = verify(&database, &domain, args.verdicts)?;
    output::print(&report);
    Ok(if report.agrees() { Exit::Done.code() } else { Exit::Differs.code() })
}

/// Verifies a database in one snapshot; with `verdicts` those of the detector too.
///
/// # Errors
///
/// When there is nothing of this domain to verify, or the server fails. A difference is no error: see
/// [`Report::agrees`].
pub fn verify(database: &Database, domain: &Domain, verdicts: bool) -> Result<Report, VerifyError> {
    session::runtime().block_on(in_one_snapshot(database, domain, verdicts))
}

/// Sees to it that the database holds the tables of `domain`, with a column for each of its metrics.
///
/// # Errors
///
/// What does not fit, or the server's failure.
pub async fn check_fits(
    client: &impl tokio_postgres::GenericClient,
    database: &Database,
    domain: &Domain,
) -> Result<(), VerifyError> {
    let there = client
        .query_one("select to_regclass('citytide_database') is not null", &[])
        .await
        .map_err(|error| DatabaseError::statement("looking for the tables", &error))?;
    let declared = if there.get(0) { Declared::read(client).await? } else { None };
    let Some(declared) = declared else {
        return Err(VerifyError::NotThere { database: database.to_string() });
    };
    declared.check(domain, None)?;
    match declared.missing_metric(domain) {
        Some(metric) => Err(VerifyError::MetricNew { metric: metric.to_owned() }),
        None => Ok(()),
    }
}

async fn in_one_snapshot(
    database: &Database,
    domain: &Domain,
    verdicts: bool,
) -> Result<Report, VerifyError> {
    let mut client = database.connect("citytide:verify").await?;
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(|error| DatabaseError::statement("beginning a snapshot", &error))?;
    check_fits(&transaction, database, domain).await?;
    let as_of = AsOf::read(&transaction).await?;
    let mut checks = Vec::new();
    for comparison in comparisons(&as_of, &schema(domain)) {
        checks.push(comparison.run(&transaction).await?);
    }
    if verdicts {
        checks.push(verdicts::compare(&transaction, domain).await?);
    }
    Ok(Report { epoch: as_of.epoch, watermark_us: as_of.watermark_us, checks })
}
