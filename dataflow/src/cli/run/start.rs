//! Everything before the workers: the schema, the source's bounds, the run, the ledger.

use std::sync::{Arc, Mutex};

use citytide_core::window::Windows;
use citytide_detector::{Layout, Model};
use citytide_domain::Domain;
use citytide_store::detector::models::PromoteError;
use citytide_store::detector::{self, Loaded};
use citytide_store::postgres::Database;
use citytide_store::schema::Pace;
use citytide_store::takeover::{self, Member, Patience, Run, Takeover};
use citytide_store::{ledger, migrate, origin, upkeep};
use tokio_postgres::Client;

use super::{Args, DetectorKind};
use crate::cli::exit_error::ExitError;
use crate::plumbing::DetectorStart;
use crate::sources::kafka::Topic;
use crate::sources::{Assigned, Source};
use crate::views;

/// So many records that wait are a backlog.
const BACKLOG_RECORDS_MIN: i64 = 500_000;

/// What the workers start from.
pub struct Started {
    /// The session that will commit; on other processes than 0 just a session.
    pub client: Client,
    pub run: Run,
    /// Where the last commit left off.
    pub ledger: ledger::Ledger,
    /// Where the readings come from.
    pub source: Source,
    /// All partitions of the source.
    pub partitions: Vec<Assigned>,
    /// What the detector starts from.
    pub detector: Option<DetectorStart>,
}

/// Prepares the database and joins or takes over the run. `process` is this one's index.
pub async fn start(
    args: &Args,
    process: u16,
    database: &Database,
    domain: &Domain,
    topic: &Topic,
) -> Result<Started, ExitError> {
    let mut client = database.connect("citytide:starting").await?;
    let schema = views::schema(domain);
    let declared = declared(&client).await;
    let mut source = args.setup.source.source(domain, topic, declared.as_deref(), args.until_caught_up)?;
    // The source comes first: an empty database belongs to one only once that is known to exist.
    if let Err(error) = source.look() {
        // A source that is not this database's is not waited for.
        let is_its_own = declared.as_deref() == Some(&*source.identity());
        return Err(ExitError::of_source(error, is_its_own && has_been_read(&client).await));
    }
    if process == 0 {
        migrate::prepare(&mut client, &schema, &source.identity()).await?;
        origin::check_and_record(&client, &source.origin()).await?;
    }
    let host = host_name();
    let run = if process == 0 {
        let request = Takeover {
            host,
            process_id: std::process::id() as i32,
            processes: i32::from(args.setup.processes),
            workers: i32::from(args.setup.workers),
            take_over: args.take_over,
            patience: Patience::default(),
        };
        let run = takeover::take(&mut client, &request, upkeep::delete_uncommitted).await?;
        // Only now: a run that still wrote would fail on a column that it does not know.
        for mended in migrate::apply(&mut client, &schema, &source.identity()).await? {
            tracing::info!("updated the tables to the domain file: {mended}");
        }
        run
    } else {
        let member = Member {
            process: i32::from(process),
            processes: i32::from(args.setup.processes),
            host,
            not_before: 0,
            patience: Patience::default(),
        };
        let run = takeover::join_run(&client, &member).await?;
        // By now process 0 has said what the database is for.
        source = args.setup.source.source(domain, topic, self::declared(&client).await.as_deref(), false)?;
        migrate::wait_until_applied(&client, &schema, &source.identity(), member.patience.run).await?;
        run
    };
    let open_from_us = |low_us| Windows::new(domain, low_us).open_from_us();
    let ledger = ledger::read(&client, &schema, open_from_us).await?;
    // Asked again: whoever held the database until now may have read beyond the first answer.
    let partitions = source.assign(&ledger)?;
    if process == 0 {
        let pace = is_behind(&partitions, args.until_caught_up).then_some(Pace::Behind);
        upkeep::ensure_partitions(&mut client, run.run_id, run.now_ms(), pace).await?;
    }
    let detector = match args.detector {
        DetectorKind::Rules => None,
        DetectorKind::Hybrid => {
            let layout = Arc::new(Layout::new(domain));
            let numbers: Vec<i32> = partitions.iter().map(|one| one.partition).collect();
            let loaded = detector::load(&client, domain, &layout, run.committed_epoch, &numbers).await?;
            let Loaded { detector, replayed } = loaded;
            if replayed > 0 {
                tracing::info!("the detector has replayed {replayed} readings");
            }
            let shadow = match args.shadow {
                Some(version) => shadow(&client, &layout, version).await?,
                None => None,
            };
            Some(DetectorStart { layout, detector: Mutex::new(detector), replayed, shadow })
        }
    };
    Ok(Started { client, run, ledger, source, partitions, detector })
}

/// Whether a backlog waits: so many records as are written within seconds, or all that there will be.
fn is_behind(partitions: &[Assigned], until_caught_up: bool) -> bool {
    let known = partitions.iter().filter(|one| one.is_end_known);
    let waiting: i64 = known.map(|one| one.end_offset - one.next_offset).sum();
    waiting >= BACKLOG_RECORDS_MIN || (until_caught_up && !partitions.iter().all(|one| one.is_end_known))
}

/// The shadow model. A run continues without it if it cannot be used.
async fn shadow(client: &Client, layout: &Layout, version: i32) -> Result<Option<Arc<Model>>, ExitError> {
    match detector::models::read(client, layout, version).await {
        Ok(model) => Ok(Some(Arc::new(model))),
        Err(PromoteError::Refused(reason)) => {
            tracing::error!("cannot use the shadow model: {reason}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the database says its readings come from; nothing before it has a schema.
async fn declared(client: &Client) -> Option<String> {
    let row = client.query_opt("select topic from citytide_database", &[]).await.ok()??;
    Some(row.get(0))
}

/// Whether the database has seen the source: then a missing one is taken for an outage.
async fn has_been_read(client: &Client) -> bool {
    client.query_opt("select from ingest_progress limit 1", &[]).await.is_ok_and(|row| row.is_some())
}

/// The machine's name, for people.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
