//! The processes of one generation: started together, ended together, never left behind.
//!
//! 1. A child dies with the supervisor, however that dies: the kernel sends it SIGKILL (parent-death signal). That
//!    signal belongs to the *thread* that started the child, so that thread must stay until the child has ended.
//! 2. Each child leads a process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which says
//!    drain once, and whatever a child has started is killed with it.
//! 3. Dropping a generation kills and reaps what is left of it.

mod lines;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

pub use lines::OnLine;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
};
use signal_hook::consts::SIGKILL;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildExit {
    /// By its own exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl ChildExit {
    /// The exit code as shells see it: 128 + the signal.
    pub fn status(self) -> i32 {
        match self {
            ChildExit::Code(code) => code,
            ChildExit::Signal(signal) => 128 + signal,
        }
    }

    /// Its own exit code, if it had one.
    pub fn code(self) -> Option<i32> {
        match self {
            ChildExit::Code(code) => Some(code),
            ChildExit::Signal(_) => None,
        }
    }
}

impl std::fmt::Display for ChildExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChildExit::Code(code) => write!(f, "exit {code}"),
            ChildExit::Signal(signal) => {
                write!(f, "killed by {}", signal_hook::low_level::signal_name(*signal).unwrap_or("a signal"))
            }
        }
    }
}

impl From<ExitStatus> for ChildExit {
    fn from(status: ExitStatus) -> ChildExit {
        status.code().map_or_else(|| ChildExit::Signal(status.signal().unwrap_or(SIGKILL)), ChildExit::Code)
    }
}

/// The children of one generation, by index.
#[derive(Debug, Default)]
pub struct Children {
    children: Vec<(Child, Option<ChildExit>)>,
    /// Threads that hand over what the children write, and end with them.
    forwarders: Vec<JoinHandle<()>>,
}

impl Children {
    /// Starts one child of `executable` per list of arguments, with `environment` added to that of this process. What
    /// they write to a terminal goes to `on_line` instead, if there is one. When one cannot be started, none is left.
    pub fn start(
        executable: &Path,
        environment: &[(OsString, OsString)],
        arguments: &[Vec<OsString>],
        on_line: Option<&OnLine>,
    ) -> std::io::Result<Children> {
        let mut started = Children::default();
        for arguments in arguments {
            let mut child = start(executable, environment, arguments, on_line.is_some())?;
            let streams = (child.stderr.take(), child.stdout.take());
            started.children.push((child, None));
            let Some(on_line) = on_line else { continue };
            if let Some(stderr) = streams.0 {
                started.forwarders.push(lines::forward(stderr, on_line.clone())?);
            }
            if let Some(stdout) = streams.1 {
                started.forwarders.push(lines::forward(stdout, on_line.clone())?);
            }
        }
        Ok(started)
    }

    /// The children that have ended since the last call, in order of index; does not wait.
    pub fn reap(&mut self) -> std::io::Result<Vec<(usize, ChildExit)>> {
        let mut ended = Vec::new();
        for (index, (child, exit)) in self.children.iter_mut().enumerate() {
            if exit.is_none()
                && let Some(status) = child.try_wait()?
            {
                *exit = Some(status.into());
                ended.push((index, status.into()));
            }
        }
        if self.exits().is_some() {
            self.join_forwarders();
        }
        Ok(ended)
    }

    /// Waits until everything that the children wrote has been handed over.
    fn join_forwarders(&mut self) {
        for forwarder in self.forwarders.drain(..) {
            let _ = forwarder.join();
        }
    }

    /// How every child ended, once all have.
    pub fn exits(&self) -> Option<Vec<ChildExit>> {
        self.children.iter().map(|(_, exit)| *exit).collect()
    }

    /// Sends `signal` to every child that is still there.
    pub fn signal(&self, signal: Signal) {
        for (child, exit) in &self.children {
            if exit.is_none() {
                // That it is gone already is no error.
                let _ = kill_process(Pid::from_child(child), signal);
            }
        }
    }

    /// Kills every process group at once and reaps the children.
    pub fn kill(&mut self) {
        for (child, exit) in &mut self.children {
            // Also of one that has ended: something it started may live on in its group. Its number is not given
            // anew while the group has members; when it has none this says nothing.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            if exit.is_none()
                && let Ok(status) = child.wait()
            {
                *exit = Some(status.into());
            }
        }
        self.join_forwarders();
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts one child that dies with this thread.
fn start(
    executable: &Path,
    environment: &[(OsString, OsString)],
    arguments: &[OsString],
    is_captured: bool,
) -> std::io::Result<Child> {
    let parent = getpid();
    let mut command = Command::new(executable);
    command.args(arguments).envs(environment.iter().cloned()).stdin(Stdio::null()).process_group(0);
    if is_captured {
        command.stderr(Stdio::piped());
        if std::io::stdout().is_terminal() {
            command.stdout(Stdio::piped());
        }
    }
    // SAFETY: between fork and exec only prctl(2) and getppid(2) are called, both of which are allowed there;
    // nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The supervisor may have ended before the line above: then that signal is never sent.
            if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
        });
    }
    command.spawn()
}
