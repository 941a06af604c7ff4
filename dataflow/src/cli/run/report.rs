//! Reports on an active run, on a thread of its own: a stopped terminal does not delay the workers.
//!
//! ```text
//!  at a terminal:   member 0 ── snapshots ──▶┐
//!                   members ─── log lines ──▶┴─ pipes ─▶ supervisor ─▶ screen: the log goes by, a block stays
//!  --no-supervise:  the process draws itself
//!  anywhere else:   each process writes its log; process 0 adds a line every few seconds
//! ```
//!
//! Only one process writes to a terminal, so nothing is drawn over, whatever `-n`. When that process is stopped with
//! Ctrl-Z the run goes on: snapshots are left out until it reads again.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use citytide_serve::listen::{self, ListenAddress};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::cli::exit_error::ExitError;
use crate::cli::screen;
use crate::cli::status::Status;
use crate::runtime::children::OnLine;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use crate::telemetry::{self, Phase, Snapshot, Telemetry};

/// Time between two lines in a log.
const LOGGED_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// Serve /metrics, /healthz and /readyz at HOST:PORT, or at PORT of the loopback interface
    #[arg(long, value_name = "[HOST:]PORT", help_heading = "Run")]
    listen: Option<ListenAddress>,
    /// The supervisor reads standard error and draws at the terminal; set by the supervisor
    #[arg(long, hide = true)]
    handed_over: bool,
    /// A supervisor drains this process when standard output is closed; set by the supervisor
    #[arg(long, hide = true)]
    supervised: bool,
}

impl ReportArgs {
    /// Whether a supervisor at a terminal reads what this process writes.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over
    }

    /// Whether a supervisor watches over this process.
    pub fn is_supervised(&self) -> bool {
        self.supervised
    }

    /// Checks that the address can be listened on, so that a mistake is reported once and not by every generation.
    pub fn check_listen(&self) -> Result<(), ExitError> {
        let Some(address) = &self.listen else { return Ok(()) };
        let listener = listen::listen(address, telemetry::PURPOSE, Duration::ZERO);
        listener.map(drop).map_err(|error| ExitError::new(Exit::Config, error))
    }

    /// Serves metrics and health, if that was asked for. An address that is taken is retried for `patience`.
    pub fn serve(&self, telemetry: &Arc<Telemetry>, patience: Duration) -> Result<(), ExitError> {
        let Some(address) = &self.listen else { return Ok(()) };
        let listener = listen::listen(address, telemetry::PURPOSE, patience).map_err(|error| {
            let exit = if error.is_taken() { Exit::PeerLost } else { Exit::Config };
            ExitError::new(exit, error)
        })?;
        let routes = telemetry::routes(telemetry.clone());
        listen::serve(listener, routes, telemetry::CONNECTIONS_MAX).map_err(|error| {
            ExitError::new(Exit::Bug, format!("cannot serve metrics at {address}: {error}"))
        })?;
        tracing::info!("metrics and health at http://{address}/metrics, /healthz, /readyz");
        Ok(())
    }
}

/// The flag that says that the supervisor reads standard error, because it has the terminal.
pub const HAND_OVER: &str = "--handed-over";
/// The flag that says that there is a supervisor.
pub const SUPERVISED: &str = "--supervised";
/// Begins a line that is a snapshot as JSON instead of a line of the log.
const FRAME: u8 = 0x1e;
/// Time between two drawings on a terminal.
const DRAWN_INTERVAL: Duration = Duration::from_millis(500);

/// Where the reports go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// As a block on the terminal of this process.
    Drawn,
    /// To the supervisor, which draws.
    HandedOver,
    /// As lines of the log.
    Logged,
}

/// A thread that reports until this is dropped.
pub struct Reporter {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Fails when the system refuses a thread.
    pub fn start(args: &ReportArgs, telemetry: Arc<Telemetry>) -> std::io::Result<Reporter> {
        let output = match args.handed_over {
            true => Output::HandedOver,
            false if screen::is_live() => Output::Drawn,
            false => Output::Logged,
        };
        let interval = if output == Output::Logged { LOGGED_INTERVAL } else { DRAWN_INTERVAL };
        let (stop, stopped) = bounded(0);
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(move || {
            let mut status = Status::default();
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let snapshot = telemetry.snapshot();
                match output {
                    Output::HandedOver => hand_over(&snapshot),
                    Output::Drawn => draw(&mut status, snapshot),
                    Output::Logged => log(&mut status, snapshot),
                }
            }
            screen::end();
        })?;
        Ok(Reporter { stop: Some(stop), thread: Some(thread) })
    }
}

fn draw(status: &mut Status, snapshot: Snapshot) {
    status.observe(snapshot);
    screen::show(status.block(screen::columns()));
}

fn log(status: &mut Status, snapshot: Snapshot) {
    let is_starting = snapshot.phase == Phase::Starting;
    status.observe(snapshot);
    if !is_starting {
        tracing::info!("{}", status.line());
    }
}

/// Hands a snapshot to the supervisor, unless it has not read the last one: it may be stopped, and the log must not
/// wait behind snapshots.
fn hand_over(snapshot: &Snapshot) {
    if !output::log_is_written() || rustix::io::ioctl_fionread(std::io::stderr()) != Ok(0) {
        return;
    }
    let mut frame = vec![FRAME];
    serde_json::to_writer(&mut frame, snapshot).expect("a snapshot is made of numbers");
    frame.push(b'\n');
    screen::log(&frame);
}

/// What a supervisor at a terminal does with what its members write: snapshots become the block, everything else goes
/// by above it.
pub fn on_line() -> OnLine {
    let status = Mutex::new(Status::default());
    Arc::new(move |line| match line {
        [] => screen::show(Vec::new()),
        [FRAME, frame @ ..] => {
            if let Ok(snapshot) = serde_json::from_slice(frame) {
                draw(&mut status.lock().expect("no holder panics"), snapshot);
            }
        }
        line => screen::log(line),
    })
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
