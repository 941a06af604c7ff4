//! Processes under measurement: wall time, processor time and the highest resident memory of one, and the working
//! child of a supervisor. What is started here dies with the measurement.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::stage::{Stage, binary};

/// How often a process is looked at. The high-water mark is the kernel's own, so nothing between two looks is
/// missed but what happens after the last one.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long a run to the end of a topic may take.
const END_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a process may take to end after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a supervisor may take to start its child.
const CHILD_TIMEOUT: Duration = Duration::from_secs(15);

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// From its start to its end, in seconds.
    pub wall_s: f64,
    /// Processor seconds, user and system.
    pub cpu_s: f64,
    /// Its highest resident memory in MiB (VmHWM).
    pub rss_mib: f64,
}

/// A running process; killed when it is dropped.
pub struct Process {
    child: Child,
    name: String,
}

/// `citytide run -w 2` on a topic and a database, with more arguments.
pub fn citytide(stage: &Stage, topic: &str, database_url: &str, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary("citytide")?);
    command.args(["run", "-w", "2", "--log-level", "error", "--brokers", &stage.brokers, "--topic", topic]);
    command.args(["--database-url", database_url]).args(more);
    Ok(command)
}

/// Runs to the end and says what it took. Fails when the process does.
pub fn finish(mut command: Command) -> Result<Usage> {
    let start = Instant::now();
    let mut process = Process::spawn(&mut command)?;
    let mut rss_mib = 0.0;
    loop {
        if let Some(mib) = high_water_mib(process.id()) {
            rss_mib = mib;
        }
        if let Some((status, cpu_s)) = process.reaped()? {
            ensure!(status.success(), "{} ended with {status}", process.name);
            return Ok(Usage { wall_s: start.elapsed().as_secs_f64(), cpu_s, rss_mib });
        }
        ensure!(start.elapsed() < END_TIMEOUT, "{} has not ended after {END_TIMEOUT:?}", process.name);
        std::thread::sleep(POLL_INTERVAL);
    }
}

impl Process {
    /// Starts it. Standard output is not shown, errors are.
    pub fn spawn(command: &mut Command) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Process { child, name })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Once it has ended: how, and its processor seconds.
    fn reaped(&mut self) -> Result<Option<(ExitStatus, f64)>> {
        // SAFETY: both results are plain data, valid when zero, and the child is ours and not yet reaped.
        let (reaped, status, usage) = unsafe {
            let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
            (libc::wait4(self.id() as i32, &mut status, libc::WNOHANG, &mut usage), status, usage)
        };
        match reaped {
            0 => Ok(None),
            -1 => bail!("waiting for {}: {}", self.name, io::Error::last_os_error()),
            _ => {
                let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
                let cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
                Ok(Some((ExitStatus::from_raw(status), cpu_s)))
            }
        }
    }

    /// The process that does the work under a supervisor, once it is there and is not `but`.
    pub fn worker(&self, but: Option<u32>) -> Result<u32> {
        let start = Instant::now();
        loop {
            if let Some(child) = child_of(self.id()).filter(|child| Some(*child) != but) {
                return Ok(child);
            }
            ensure!(start.elapsed() < CHILD_TIMEOUT, "{} has started no process", self.name);
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends it as `make stop` does, and waits.
    pub fn end(mut self) -> Result<()> {
        kill(self.id(), libc::SIGTERM)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < DRAIN_TIMEOUT, "{} does not end after SIGTERM", self.name);
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of one that was reaped already, std may not know: a look first, so that no other process is hit.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal.
pub fn kill(process: u32, signal: i32) -> Result<()> {
    // SAFETY: kill touches no memory.
    let sent = unsafe { libc::kill(process as i32, signal) };
    ensure!(sent == 0, "sending signal {signal} to {process}: {}", io::Error::last_os_error());
    Ok(())
}

/// The highest resident memory of a living process, in MiB.
pub fn high_water_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().split(' ').next()?.parse().ok()?;
    Some(kib / 1024.0)
}

fn child_of(process: u32) -> Option<u32> {
    std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(
        |&candidate: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{candidate}/stat")).unwrap_or_default();
            // The name is in brackets and may hold anything; behind it: state, parent.
            let mut behind = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            let state = behind.next();
            state != Some("Z") && behind.next().and_then(|parent| parent.parse().ok()) == Some(process)
        },
    )
}

/// A command of a binary of this workspace.
pub fn command<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
    let mut command = Command::new(binary(name)?);
    command.args(arguments);
    Ok(command)
}
