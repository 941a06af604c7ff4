//! `citytide run`: reads the topic, scores, aggregates, and commits, until it is told to end.
//!
//! ```text
//!  run ─ supervisor ─┬─ member 0: schema · takeover · ledger · mesh · workers · upkeep
//!                    └─ member p:          join_run · ledger · mesh · workers
//! ```
//!
//! Without `--no-supervise` this process only supervises members, which are the same program with `--no-supervise`
//! and `-p`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use citytide_domain::Domain;
use clap::Args as ClapArgs;
use timely::WorkerConfig;
use tokio_postgres::Client;

use super::ending::{Ending, ending};
use super::show::{self, Sample};
use super::status::Status;
use crate::commit::committer::{self, Committed, CommitterSettings};
use crate::commit::faults::FailAt;
use crate::commit::postgres::{Database, DatabaseError};
use crate::commit::session::{self, OnFailure};
use crate::commit::takeover::{self, Member, Patience, Run, Takeover};
use crate::commit::{ledger, migrate, upkeep};
use crate::launch::backoff::Backoff;
use crate::launch::exit::Exit;
use crate::launch::mesh::{self, Mesh};
use crate::launch::supervisor::{DRAIN_MAX, Supervision, supervise};
use crate::launch::{clock, hosts, panic, signals, watchdog};
use crate::pipeline::{self, Committing, Plumbing};
use crate::source::Assigned;
use crate::source::kafka::{Bounds, Topic};
use crate::window::{RECENT_US, Windows};

/// How long the processes of a run wait for each other.
const PEERS_PATIENCE: Duration = Duration::from_secs(30);
/// How long the committed frontier may stand still before the run is taken for stuck.
const STALL_PATIENCE: Duration = Duration::from_secs(60);
/// Effort that differential puts into idle merges, in records.
const IDLE_MERGE_EFFORT: isize = 1000;

/// What was typed.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// Kafka's bootstrap servers, host:port, separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092", value_name = "HOST:PORT")]
    brokers: String,
    /// The topic; by default the domain's
    #[arg(long)]
    topic: Option<String>,
    /// The database, postgresql://user@host:port/name
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
    /// A domain file; by default the built-in smart-city
    #[arg(long, value_name = "FILE")]
    domain: Option<PathBuf>,
    /// Worker threads per process
    #[arg(short = 'w', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Processes of the run; without -p all of them are started here
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,
    /// Run only this process of the run, counted from 0
    #[arg(short = 'p', long)]
    process: Option<u16>,
    /// A file with one host:port per line, where the processes of the run meet
    #[arg(long, value_name = "FILE")]
    hostfile: Option<PathBuf>,
    /// Serialize what the workers of one process exchange, as between processes
    #[arg(short = 'z', long)]
    zerocopy: bool,
    /// Process to the end offsets as of the start, commit, and exit; close nothing early
    #[arg(long)]
    until_caught_up: bool,
    /// Do the work in this process instead of supervising one that does
    #[arg(long)]
    no_supervise: bool,
    /// Replace a run that still holds the database
    #[arg(long)]
    take_over: bool,
    /// Print readings, thinned out, and every window as it closes
    #[arg(long)]
    show: bool,
    /// Where the processes of the run meet; given by the supervisor
    #[arg(long, hide = true)]
    address: Vec<String>,
    /// Die at a named point of the commit, for tests
    #[arg(long, hide = true, value_name = "POINT:N")]
    fail_at: Option<FailAt>,
}

/// Runs until there is nothing left to do; returns the exit code.
pub fn run(args: Args) -> i32 {
    if let Some(process) = args.process
        && process >= args.processes
    {
        return ending(&Ending::new(
            Exit::Usage,
            format!("-p {process} does not exist with -n {}: processes count from 0", args.processes),
        ));
    }
    // Both are read here too, so that a mistake is told once and not by every generation.
    let checked = domain(args.domain.as_deref()).and_then(|_| Ok(Database::parse(&args.database_url)?));
    if let Err(error) = checked {
        return ending(&error);
    }
    if args.no_supervise { work(args) } else { watch_over(&args) }
}

/// Reads a domain file, or takes the built-in one.
pub fn domain(file: Option<&Path>) -> Result<Domain, Ending> {
    let Some(path) = file else { return Ok(Domain::smart_city()) };
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Ending::new(Exit::Config, format!("cannot read the domain file {shown}: {error}"))
    })?;
    Domain::parse(&shown, &text)
        .map_err(|mistakes| Ending::new(Exit::Config, format!("the domain file cannot be used\n{mistakes}")))
}

/// Supervises the members that run here: all of them, or the one that `-p` names.
fn watch_over(args: &Args) -> i32 {
    let executable = match std::env::current_exe() {
        Ok(executable) => executable,
        Err(error) => {
            return ending(&Ending::new(Exit::Bug, format!("cannot find this program's file: {error}")));
        }
    };
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let local = args.process.map_or(0..args.processes, |process| process..process + 1);
    let arguments = |generation: u64| {
        let mut common: Vec<OsString> = typed.clone();
        if generation > 1 {
            // Taking over is for the first generation: a later one must not push out whoever came since.
            common.retain(|argument| argument != "--take-over");
        }
        common.push("--no-supervise".into());
        if args.process.is_none() && args.hostfile.is_none() && args.processes > 1 {
            for address in hosts::free_loopback(usize::from(args.processes))? {
                common.extend(["--address".into(), address.into()]);
            }
        }
        let member = |process: u16| {
            let mut member = common.clone();
            if args.process.is_none() {
                member.extend(["-p".into(), process.to_string().into()]);
            }
            member
        };
        Ok(local.clone().map(member).collect())
    };
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), Duration::from_secs(30));
    supervise(&Supervision { executable, arguments: &arguments, backoff, drain_max: DRAIN_MAX })
}

/// Does the work of one process of the run.
fn work(args: Args) -> i32 {
    panic::end_process_on_panic();
    match member(args) {
        Ok(code) => code.code(),
        Err(error) => ending(&error),
    }
}

fn member(args: Args) -> Result<Exit, Ending> {
    let drain = Arc::new(AtomicBool::new(false));
    signals::drain_on_signal(drain.clone())
        .map_err(|error| Ending::new(Exit::Bug, format!("cannot listen to signals: {error}")))?;
    let domain = Arc::new(domain(args.domain.as_deref())?);
    let database = Database::parse(&args.database_url)?;
    let process = args.process.unwrap_or(0);
    let addresses = hosts::addresses(usize::from(args.processes), args.hostfile.as_deref(), &args.address)
        .map_err(|error| Ending::new(Exit::Config, error.to_string()))?;
    let topic = Topic {
        brokers: args.brokers.clone(),
        name: args.topic.clone().unwrap_or_else(|| domain.topic.clone()),
    };

    let runtime = session::runtime();
    let started = runtime.block_on(start(&args, process, &database, &domain, &topic))?;
    let Started { client, run, ledger, partitions } = started;
    let on_failure: OnFailure = Arc::new(|error: DatabaseError| abandon(error.into()));
    // The heart beats from here on: the other processes join only a run that lives.
    let upkeep_stop = Arc::new(AtomicBool::new(false));
    let upkeep = (process == 0).then(|| {
        let end = on_failure.clone();
        let (database, domain) = (database.clone(), domain.as_ref().clone());
        upkeep::spawn(database, domain, run.run_id, upkeep_stop.clone(), move |error| end(error))
    });
    let builders = mesh::join(&Mesh {
        process: usize::from(process),
        addresses,
        run_id: run.run_id,
        workers: usize::from(args.workers),
        zerocopy: args.zerocopy,
        patience: PEERS_PATIENCE,
    })
    .map_err(|error| Ending::new(Exit::from(&error), error.to_string()))?;
    tracing::info!(
        run = run.run_id,
        from_epoch = run.committed_epoch,
        partitions = partitions.len(),
        "process {process} of {} reads {} with {} worker(s) into {database}",
        args.processes,
        topic.name,
        args.workers,
    );

    let committer = (process == 0).then(|| (client, runtime));
    let frontier = Arc::new(AtomicU64::new(0));
    watchdog::watch("committed", &frontier, STALL_PATIENCE)
        .map_err(|error| Ending::new(Exit::Bug, format!("cannot start the watchdog: {error}")))?;

    let intake_topic = topic.clone();
    let plumbing = Plumbing {
        domain: domain.clone(),
        database: database.clone(),
        run,
        ledger,
        partitions,
        open_intake: Box::new(move |worker, assigned, wake| {
            intake_topic.read(worker, assigned, wake, Arc::new(|error| abandon(error.into())))
        }),
        until_caught_up: args.until_caught_up,
        drain: drain.clone(),
        peer_left: Arc::new(AtomicBool::new(false)),
        on_failure: on_failure.clone(),
        fail_at: args.fail_at.clone(),
    };
    execute(builders, plumbing, committer, &args, &topic, frontier)?;

    upkeep_stop.store(true, Ordering::Relaxed);
    if let Some(upkeep) = upkeep {
        let _ = upkeep.join();
        let why = if args.until_caught_up { "caught up" } else { "drained" };
        session::runtime().block_on(async {
            let client = database.connect(&format!("citytide:{}:finish", run.run_id)).await?;
            takeover::finish(&client, run.run_id, why).await
        })?;
    }
    if args.until_caught_up || drain.load(Ordering::Relaxed) {
        Ok(Exit::Done)
    } else {
        tracing::info!("another process of the run was asked to end; this one has drained too");
        Ok(Exit::PeerLost)
    }
}

struct Started {
    client: Client,
    run: Run,
    ledger: ledger::Ledger,
    partitions: Vec<Assigned>,
}

/// Everything before the workers: the schema, the topic's bounds, the run, the ledger.
async fn start(
    args: &Args,
    process: u16,
    database: &Database,
    domain: &Domain,
    topic: &Topic,
) -> Result<Started, Ending> {
    let mut client = database.connect("citytide:starting").await?;
    if process == 0 {
        migrate::apply(&mut client, domain, &topic.name).await?;
    }
    let bounds = match topic.bounds() {
        Ok(bounds) => bounds,
        Err(error) => return Err(Ending::of_source(error, has_been_read(&client).await)),
    };
    let host = host_name();
    let run = if process == 0 {
        let request = Takeover {
            host,
            process_id: std::process::id() as i32,
            processes: i32::from(args.processes),
            workers: i32::from(args.workers),
            take_over: args.take_over,
            patience: Patience::default(),
        };
        let run = takeover::take(&mut client, &request, upkeep::delete_uncommitted).await?;
        let first_epoch_ms = clock::wall_ms().saturating_add_signed(run.epoch_offset_ms);
        upkeep::ensure_days(&mut client, run.run_id, first_epoch_ms).await?;
        run
    } else {
        let member = Member {
            process: i32::from(process),
            processes: i32::from(args.processes),
            host,
            not_before: 0,
            patience: Patience::default(),
        };
        takeover::join_run(&client, &member).await?
    };
    let open_from_us = |low_us| Windows::new(domain, low_us).open_from_us();
    let ledger = ledger::read(&client, domain, open_from_us, RECENT_US).await?;
    let partitions = assign(&ledger, &bounds, topic)?;
    Ok(Started { client, run, ledger, partitions })
}

/// Whether the database has seen the topic: then a missing one is taken for an outage.
async fn has_been_read(client: &Client) -> bool {
    client.query_opt("select from ingest_progress limit 1", &[]).await.is_ok_and(|row| row.is_some())
}

/// Where each partition is taken up; refuses a topic whose log ends below what has been committed.
fn assign(ledger: &ledger::Ledger, bounds: &[Bounds], topic: &Topic) -> Result<Vec<Assigned>, Ending> {
    let mut partitions = Vec::with_capacity(bounds.len());
    for one in bounds {
        let known = ledger.marks.iter().find(|mark| mark.partition == one.partition);
        let next_offset = known.map_or(one.low_offset, |mark| mark.next_offset);
        if next_offset > one.end_offset {
            return Err(Ending::new(
                Exit::Config,
                format!(
                    "partition {} of topic {} ends at offset {}, but the database has read it up to {next_offset}: \
                     the topic was deleted and made again, or this is another cluster; use another database, or \
                     another topic name",
                    one.partition, topic.name, one.end_offset
                ),
            ));
        }
        partitions.push(Assigned {
            partition: one.partition,
            next_offset,
            low_offset: one.low_offset,
            end_offset: one.end_offset,
        });
    }
    Ok(partitions)
}

/// Builds and steps the workers until the dataflow is complete.
fn execute(
    builders: mesh::Joined,
    plumbing: Plumbing,
    committer: Option<(Client, tokio::runtime::Runtime)>,
    args: &Args,
    topic: &Topic,
    frontier: Arc<AtomicU64>,
) -> Result<(), Ending> {
    let mut config = WorkerConfig::default();
    differential_dataflow::configure(
        &mut config,
        &differential_dataflow::Config::default().idle_merge_effort(Some(IDLE_MERGE_EFFORT)),
    );
    let committer = Mutex::new(committer);
    let show = args.show;
    let settings = CommitterSettings {
        domain: plumbing.domain.clone(),
        run_id: plumbing.run.run_id,
        committed_epoch: plumbing.run.committed_epoch,
        source: format!("kafka:{}", topic.name),
        fail_at: args.fail_at.clone(),
    };
    let (builders, others) = builders;
    let guards = timely::execute::execute_from(builders, others, config, move |worker| {
        let status = Arc::new(Mutex::new(Status::default()));
        let committing = (worker.index() == 0).then(|| {
            let (client, runtime) = committer.lock().expect("no holder panics").take().expect("one worker 0");
            let (settings, on_failure) = (settings.clone(), plumbing.on_failure.clone());
            let (commits, marks, domain) = (status.clone(), status.clone(), plumbing.domain.clone());
            Committing {
                open: Box::new(move |committed, wake| {
                    committer::spawn(client, runtime, settings, committed, wake, on_failure)
                }),
                on_committed: Box::new(move |committed: &Committed| {
                    commits.lock().expect("no holder panics").committed(committed, clock::instant());
                    if show {
                        show::windows(&domain, committed).iter().for_each(|line| println!("{line}"));
                    }
                }),
                on_mark: Box::new(move |mark| marks.lock().expect("no holder panics").mark(mark)),
            }
        });
        let mut sample = Sample::default();
        let domain = plumbing.domain.clone();
        let committed = pipeline::build(worker, &plumbing, committing, move |batch| {
            if show {
                sample.lines(&domain, batch, clock::instant()).iter().for_each(|line| println!("{line}"));
            }
        });
        while worker.has_dataflows() {
            worker.step_or_park(Some(Duration::from_millis(250)));
            committed.with_frontier(|below| {
                if let Some(below) = below.first() {
                    frontier.store(*below, Ordering::Relaxed);
                }
            });
            if worker.index() == 0
                && let Some(line) =
                    status.lock().expect("no holder panics").line(clock::instant(), clock::wall_ms())
            {
                tracing::info!("{line}");
            }
        }
    })
    .map_err(|error| Ending::new(Exit::Bug, format!("cannot start the workers: {error}")))?;
    for result in guards.join() {
        result.map_err(|error| Ending::new(Exit::Bug, format!("a worker ended early: {error}")))?;
    }
    Ok(())
}

/// Ends the process at once: what is committed is committed, and the next run starts from there.
fn abandon(error: Ending) {
    signal_hook::low_level::exit(ending(&error));
}

/// The machine's name, for people.
fn host_name() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is valid for its length; the last byte stays zero.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } != 0;
    if failed {
        return "unknown".to_owned();
    }
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}
