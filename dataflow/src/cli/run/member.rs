//! One process of a run, from its start to its exit code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use citytide_notify::routes::Route;
use citytide_store::postgres::DatabaseError;
use citytide_store::session::{self, OnFailure};
use citytide_store::{takeover, upkeep};

use super::Args;
use super::report::Reporter;
use super::start::{Started, start};
use super::workers::execute;
use crate::cli::exit_error::ExitError;
use crate::cli::setup::Setup;
use crate::cli::status::Status;
use crate::plumbing::Plumbing;
use crate::runtime::exit::Exit;
use crate::runtime::mesh::{self, Mesh};
use crate::runtime::{hosts, output, panic, signals, watchdog};
use crate::sources::kafka::Topic;
use crate::telemetry::Telemetry;

/// How long the processes of a run wait for each other.
const PEERS_PATIENCE: Duration = Duration::from_secs(30);
/// How long a run that was taken over may keep the address that this one listens on.
const LISTEN_PATIENCE: Duration = Duration::from_secs(10);
/// How soon a request to end is noticed before the run has begun.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Does the work of one process of the run; with `routes` it also notifies.
pub fn work(args: Args, routes: Option<Vec<Route>>) -> Result<i32, ExitError> {
    panic::end_process_on_panic();
    let drain = Arc::new(AtomicBool::new(false));
    signals::drain_on_signal(drain.clone())
        .map_err(|error| ExitError::new(Exit::Bug, format!("cannot listen to signals: {error}")))?;
    let Setup { domain, database, connection, topic, .. } = args.setup.setup()?;
    let domain = Arc::new(domain);
    let process = args.process.unwrap_or(0);
    let addresses =
        hosts::addresses(usize::from(args.setup.processes), args.hostfile.as_deref(), &args.address)
            .map_err(|error| ExitError::new(Exit::Config, error))?;
    let topic = Topic::new(connection, topic, !args.until_caught_up);
    if !args.report.is_supervised() {
        output::drain_without_reader(drain.clone());
    }

    let telemetry = Arc::new(Telemetry::new(process, drain.clone()).counting(output::dropped_lines()));
    let reporter = (process == 0)
        .then(|| Reporter::start(&args.report, telemetry.clone()))
        .transpose()
        .map_err(|error| {
            ExitError::new(Exit::Bug, format!("cannot start the thread that reports on the run: {error}"))
        })?;

    if process == 0 && !args.take_over {
        args.report.serve(&telemetry, Duration::ZERO)?;
    }
    let begun = Arc::new(AtomicBool::new(false));
    end_early(drain.clone(), begun.clone());
    let runtime = session::runtime();
    let started = runtime.block_on(start(&args, process, &database, &domain, &topic))?;
    let Started { client, run, ledger, source, partitions, detector } = started;
    if process == 0 && args.take_over {
        args.report.serve(&telemetry, LISTEN_PATIENCE)?;
    }
    let until_caught_up = args.until_caught_up || source.ends();
    let shown = database.to_string();
    let on_failure: OnFailure =
        Arc::new(move |error: DatabaseError| exit_now(ExitError::at_database(error, &shown)));
    // The heart beats from here on: the other processes join only a run that lives.
    let upkeep_stop = upkeep::Stop::new();
    let upkeep = (process == 0).then(|| {
        let end = on_failure.clone();
        let (database, domain, telemetry) = (database.clone(), domain.as_ref().clone(), telemetry.clone());
        let tell = move |seen| telemetry.see(seen);
        upkeep::spawn(database, domain, run, upkeep_stop.clone(), tell, move |error| end(error))
    });
    let builders = mesh::join(&Mesh {
        process: usize::from(process),
        addresses,
        run_id: run.run_id,
        workers: usize::from(args.setup.workers),
        zerocopy: args.zerocopy,
        clock: run.clock,
        patience: PEERS_PATIENCE,
    })
    .map_err(|error| ExitError::new(Exit::from(&error), error))?;
    tracing::info!(
        "process {process} of {}: {} partitions of {}, {} worker(s)",
        args.setup.processes,
        partitions.len(),
        source.identity().trim_end_matches(':'),
        args.setup.workers,
    );

    begun.store(true, Ordering::Relaxed);
    let beside = routes.map(|routes| args.notify_beside(routes)).transpose()?;
    let committer = (process == 0).then_some((client, runtime));
    let frontier = Arc::new(AtomicU64::new(0));
    watchdog::watch("committed", &frontier, watchdog::PATIENCE)
        .map_err(|error| ExitError::new(Exit::Bug, format!("cannot start the watchdog: {error}")))?;

    let marks = &ledger.marks;
    telemetry.begin(usize::from(args.setup.workers), &partitions, marks, ledger.low_us);
    let intake_source = source.clone();
    let plumbing = Plumbing {
        domain: domain.clone(),
        database: database.clone(),
        run,
        ledger,
        detector,
        partitions,
        open_intake: Box::new(move |share, assigned, wake| {
            intake_source.read(share, assigned, wake, Arc::new(|error| exit_now(error.into())))
        }),
        until_caught_up,
        drain: drain.clone(),
        telemetry: telemetry.clone(),
        on_failure: on_failure.clone(),
        fail_at: args.fail_at.clone(),
    };
    execute(builders, plumbing, committer, &args, source, frontier)?;
    drop(reporter);
    drop(beside);

    upkeep_stop.ask();
    if let Some(upkeep) = upkeep {
        let _ = upkeep.join();
        let why = if until_caught_up { "caught up" } else { "drained" };
        session::runtime().block_on(async {
            let client = database.connect(&format!("citytide:{}:finish", run.run_id)).await?;
            takeover::finish(&client, run.run_id, why).await
        })?;
    }
    if process == 0 {
        Status::summary(&telemetry.snapshot()).iter().for_each(|line| tracing::info!("{line}"));
    }
    if until_caught_up || drain.load(Ordering::Relaxed) {
        Ok(Exit::Done.code())
    } else {
        tracing::info!("another process of the run was asked to stop; this one has drained too");
        Ok(Exit::PeerLost.code())
    }
}

/// Ends the process when it is asked to before it has begun: nothing has been read that could be drained.
fn end_early(drain: Arc<AtomicBool>, begun: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        while !begun.load(Ordering::Relaxed) {
            if drain.load(Ordering::Relaxed) {
                tracing::info!("stopped before the run began");
                output::flush();
                signal_hook::low_level::exit(Exit::Done.code());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    });
}

/// Ends the process at once: what is committed is committed, and the next run starts from there.
fn exit_now(error: ExitError) {
    let code = error.report();
    output::flush();
    signal_hook::low_level::exit(code);
}
