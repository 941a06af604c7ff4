//! `citytide run`: reads the topic, scores, aggregates, and commits, until it is asked to end.
//!
//! ```text
//!  run ─ supervisor ─┬─ member 0: schema · takeover · ledger · mesh · workers · upkeep
//!                    └─ member p:          join_run · ledger · mesh · workers
//! ```
//!
//! Without `--no-supervise` this process only supervises members, which are the same program with `--no-supervise`
//! and `-p`; everything else is in their environment.

mod member;
mod report;
pub(super) mod start;
mod workers;

use std::ffi::OsString;
use std::path::PathBuf;

use citytide_notify::routes::Route;
use clap::Args as ClapArgs;

use super::check;
use super::exit_error::ExitError;
use super::notify::{self, beside::Beside};
use super::screen;
use super::serve::PageArgs;
use super::settings::{Configuration, Relations};
use super::setup::SetupArgs;
use crate::commit::faults::FailAt;
use crate::runtime::backoff::Backoff;
use crate::runtime::exit::Exit;
use crate::runtime::hosts;
use crate::runtime::output;
use crate::runtime::supervisor::{DRAIN_MAX, Supervision, supervise};
use report::{HAND_OVER, ReportArgs, SUPERVISED};

/// Workers that work together at most, in all processes.
const WORKERS_MAX: u32 = 256;

/// What was typed.
#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = "Examples:\n  \
    citytide run --topic sensor-data -w 2 --show       # DATABASE_URL and KAFKA_BROKERS in the environment\n  \
    citytide run --until-caught-up                     # a backlog, in a script\n  \
    citytide run -n 2 -p 0 --hostfile hosts.txt        # the first of two hosts; the second with -p 1\n  \
    citytide run --config /etc/citytide.toml --log-format json\n\n\
    Each flag may also be set as CITYTIDE_<NAME>, or in citytide.toml; citytide config show prints what is used.")]
pub struct Args {
    #[command(flatten)]
    setup: SetupArgs,
    /// Also write committed offsets to this consumer group, for lag tools; '' writes to none
    #[arg(long, default_value = "citytide", value_name = "GROUP", help_heading = "Kafka")]
    consumer_group: String,
    /// Start only this process of the run, counted from 0; without it, start all of them here
    #[arg(short = 'p', long, help_heading = "Run")]
    process: Option<u16>,
    /// Read the addresses of the run's processes from this file, one host:port per line
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    hostfile: Option<PathBuf>,
    /// Serialize what the workers of one process exchange, as between processes
    #[arg(short = 'z', long, help_heading = "Run")]
    zerocopy: bool,
    /// Read up to the end offsets as of the start, commit, and exit; no partition becomes idle
    #[arg(long, help_heading = "Run")]
    until_caught_up: bool,
    /// Do the work in this process instead of supervising one that does
    #[arg(long, help_heading = "Run")]
    no_supervise: bool,
    /// Replace an active run of this database
    #[arg(long)]
    take_over: bool,
    /// Check everything that a run needs, print where each partition would be resumed, and exit; write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Choose the detector: hybrid (rules and learnt models) or rules (the domain's rules alone, without state)
    #[arg(long, value_enum, default_value = "hybrid", value_name = "KIND", help_heading = "Detector")]
    detector: DetectorKind,
    /// Also ask this shadow model; it changes no verdict, model_disagreements counts the differences
    #[arg(long, value_name = "VERSION", help_heading = "Detector")]
    shadow: Option<i32>,
    /// Print some of the readings, and every window as it becomes final
    #[arg(long, help_heading = "Run")]
    show: bool,
    /// Also tell receivers of incidents, by the routes of citytide.toml, as citytide notify does
    #[arg(long, help_heading = "Run")]
    notify: bool,
    /// Address at which the processes of the run connect; set by the supervisor
    #[arg(long, hide = true)]
    address: Vec<String>,
    /// Die at a named point of the commit, for tests
    #[arg(long, hide = true, value_name = "POINT:N")]
    fail_at: Option<FailAt>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DetectorKind {
    /// Rules, baselines and an isolation forest.
    Hybrid,
    /// The domain's rules.
    Rules,
}

impl Relations for Args {
    fn check(&self, wrong: &mut Vec<String>) {
        let (workers, processes) = (self.setup.workers, self.setup.processes);
        if let Some(process) = self.process
            && process >= processes
        {
            wrong.push(format!(
                "-p {process} does not exist with -n {processes}: processes count from 0, the last is {}",
                processes - 1
            ));
        }
        let all = u32::from(workers) * u32::from(processes);
        if all > WORKERS_MAX {
            wrong.push(format!(
                "-w {workers} in each of -n {processes} processes are {all} workers, at most {WORKERS_MAX} can \
                 work together: each needs its own PostgreSQL session"
            ));
        }
        if self.shadow.is_some() && self.detector == DetectorKind::Rules {
            wrong.push("--shadow needs a model, and --detector rules uses none".to_owned());
        }
        self.setup.source.check(processes, wrong);
        self.page.check(wrong);
        if let Err(error) = hosts::addresses(usize::from(processes), self.hostfile.as_deref(), &self.address)
        {
            wrong.push(error.to_string());
        }
    }
}

/// Runs until there is nothing left to do; returns the exit code.
pub fn run(args: Args, configuration: &Configuration) -> Result<i32, ExitError> {
    if args.dry_run {
        return Ok(check::dry_run(args.setup.setup()));
    }
    // All are read here too, so that a mistake is reported once and not by every generation.
    args.setup.setup()?;
    let routes = args.notifies().then(|| notify::beside::routes(configuration)).transpose()?;
    if args.no_supervise {
        if !args.report.is_supervised() {
            args.page.start(args.setup.tables())?;
        }
        return member::work(args, routes);
    }
    // A run that is to be taken over may still have the address.
    if args.process.unwrap_or(0) == 0 && !args.take_over {
        args.report.check_listen()?;
    }
    // In this process, as the page: it outlives the generations of the run.
    args.page.start(args.setup.tables())?;
    let beside = routes.map(|routes| args.notify_beside(routes)).transpose()?;
    let code = supervise_members(&args, configuration);
    drop(beside);
    code
}

impl Args {
    /// Whether this process notifies: of several hosts the one of process 0 does.
    fn notifies(&self) -> bool {
        self.notify && self.process.unwrap_or(0) == 0
    }

    /// Starts notifying beside the run.
    fn notify_beside(&self, routes: Vec<Route>) -> Result<Beside, ExitError> {
        Beside::start(self.setup.setup()?.database, routes).map_err(|error| {
            ExitError::new(Exit::Bug, format!("cannot start the thread that notifies: {error}"))
        })
    }
}

/// Supervises the members that run here: all of them, or the one that `-p` names.
fn supervise_members(args: &Args, configuration: &Configuration) -> Result<i32, ExitError> {
    let executable = std::env::current_exe()
        .map_err(|error| ExitError::new(Exit::Bug, format!("cannot find this program's file: {error}")))?;
    let local = args.process.map_or(0..args.setup.processes, |process| process..process + 1);
    let on_line = screen::is_live().then(report::on_line);
    let arguments = |generation: u64| {
        let mut common: Vec<OsString> = vec!["run".into(), "--no-supervise".into(), SUPERVISED.into()];
        // Taking over is for the first generation: a later one must not push out whoever came since.
        if args.take_over && generation == 1 {
            common.push("--take-over".into());
        }
        common.extend(on_line.is_some().then(|| HAND_OVER.into()));
        if args.process.is_none() && args.hostfile.is_none() && args.setup.processes > 1 {
            for address in hosts::free_loopback(usize::from(args.setup.processes))? {
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
    // Members get their settings by the environment: a process list shows arguments, and the file may change meanwhile.
    // This process notifies, so that they have nothing to do with it.
    let environment = configuration.member_environment(&["take-over", "notify"]);
    let code = supervise(&Supervision {
        executable,
        environment,
        on_line: on_line.clone(),
        arguments: &arguments,
        reader_is_gone: &|| args.show && output::reader_is_gone(),
        backoff: Backoff::default(),
        drain_max: DRAIN_MAX,
    });
    screen::end();
    Ok(code)
}
