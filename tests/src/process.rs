//! Processes of the product: started, watched, stopped, killed with everything that they started.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::services::{Services, unique};

/// Lines of a log that a failing test shows.
const LOG_LINES_SHOWN: usize = 80;

/// Where logs and domain files of tests go.
pub fn scratch() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/black-box");
    std::fs::create_dir_all(&path).expect("a directory for logs");
    path
}

/// A command line of `citytide` being put together.
#[derive(Debug, Clone)]
pub struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
    label: String,
    own_group: bool,
    environment: Vec<(&'static str, String)>,
    stdout: Option<Arc<OwnedFd>>,
    stderr: Option<Arc<OwnedFd>>,
}

impl CommandLine {
    /// `program` with no arguments yet; `label` names its log.
    pub fn new(program: &Path, label: &str) -> CommandLine {
        CommandLine {
            program: program.to_owned(),
            arguments: Vec::new(),
            label: label.to_owned(),
            own_group: false,
            environment: Vec::new(),
            stdout: None,
            stderr: None,
        }
    }

    /// `citytide run` on a topic and a database.
    pub fn run(services: &Services, topic: &str, database_url: &str, label: &str) -> CommandLine {
        CommandLine::new(&services.citytide, label).args([
            "run",
            "--brokers",
            &services.brokers,
            "--topic",
            topic,
            "--database-url",
            database_url,
        ])
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> CommandLine {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, variable: &'static str, value: &str) -> CommandLine {
        self.environment.push((variable, value.to_owned()));
        self
    }

    /// Adds the domain file, if there is one.
    pub fn domain(self, file: Option<&Path>) -> CommandLine {
        match file {
            Some(file) => self.args([OsString::from("--domain"), file.into()]),
            None => self,
        }
    }

    /// Gives it this in place of its log as standard output.
    pub fn stdout(self, stdout: impl Into<OwnedFd>) -> CommandLine {
        CommandLine { stdout: Some(Arc::new(stdout.into())), ..self }
    }

    /// Gives it this in place of its log as standard error.
    pub fn stderr(self, stderr: impl Into<OwnedFd>) -> CommandLine {
        CommandLine { stderr: Some(Arc::new(stderr.into())), ..self }
    }

    /// Gives it a process group of its own that SIGINT ends, as a shell does with what is typed: what starts these tests may
    /// ignore the signal.
    pub fn own_group(self) -> CommandLine {
        CommandLine { own_group: true, ..self }
    }

    /// Starts it. Nothing of this process's environment that names a service reaches it.
    pub fn spawn(self) -> Process {
        let path = scratch().join(format!("{}.log", unique(&self.label)));
        let log = File::create(&path).expect("a log file");
        let stream = |given: &Option<Arc<OwnedFd>>| match given {
            Some(given) => Stdio::from(given.try_clone().expect("a stream")),
            None => Stdio::from(log.try_clone().expect("a log file")),
        };
        let mut command = Command::new(&self.program);
        if self.own_group {
            command.process_group(0);
            // SAFETY: signal is async-signal-safe and touches no memory.
            unsafe {
                command.pre_exec(|| {
                    libc::signal(libc::SIGINT, libc::SIG_DFL);
                    Ok(())
                });
            }
        }
        let child = command
            .args(&self.arguments)
            .env_remove("KAFKA_BROKERS")
            .env_remove("DATABASE_URL")
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(stream(&self.stdout))
            .stderr(stream(&self.stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", self.program.display()));
        Process { child, path, arguments: self.arguments, ended: None }
    }

    /// Starts it and waits for its end.
    pub fn finish(self, limit: Duration) -> (Ended, String) {
        let mut process = self.spawn();
        let ended = process.wait(limit);
        (ended, process.log())
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        }
    }
}

/// A running process. When it is dropped, it and everything below it is killed; when the test fails, its log is shown.
pub struct Process {
    child: Child,
    path: PathBuf,
    arguments: Vec<OsString>,
    ended: Option<Ended>,
}

impl Process {
    /// What it has written to its standard streams.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("waiting for a process").map(Ended::from);
        }
        self.ended
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Ended {
        let start = Instant::now();
        loop {
            if let Some(ended) = self.ended() {
                return ended;
            }
            assert!(start.elapsed() < limit, "{:?} has not ended after {limit:?}", self.arguments);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The processes that it started, and theirs.
    pub fn descendants(&self) -> Vec<i32> {
        descendants(self.id())
    }

    /// Itself and everything below.
    pub fn tree(&self) -> Vec<i32> {
        [vec![self.id()], self.descendants()].concat()
    }

    /// Sends a signal to itself alone.
    pub fn signal(&self, signal: i32) {
        send_signal(self.id(), signal);
    }

    /// What Ctrl-C does: SIGINT to its process group, which is its own (see [`CommandLine::own_group`]).
    pub fn interrupt(&self) {
        send_signal(-self.id(), libc::SIGINT);
    }

    /// kill -9 of itself and everything below; waits until all of it is gone.
    pub fn kill(&mut self) {
        let below = self.descendants();
        if self.ended().is_none() {
            self.signal(libc::SIGKILL);
        }
        below.iter().for_each(|id| send_signal(*id, libc::SIGKILL));
        self.wait(Duration::from_secs(20));
        let start = Instant::now();
        while below.iter().any(|id| is_alive(*id)) {
            assert!(start.elapsed() < Duration::from_secs(20), "a killed process is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            let ended = self.ended();
            eprintln!(
                "── {:?} ({ended:?}), {}:\n{}\n──",
                self.arguments,
                self.path.display(),
                tail.join("\n")
            );
        }
        let below = self.descendants();
        if self.ended().is_none() {
            // A stopped process dies of SIGKILL as well.
            self.signal(libc::SIGKILL);
            let _ = self.child.wait();
        }
        below.iter().for_each(|id| send_signal(*id, libc::SIGKILL));
    }
}

/// Sends a signal to a process that this test started, directly or not.
pub fn send_signal(id: i32, signal: i32) {
    // SAFETY: kill has no memory effects.
    unsafe { libc::kill(id, signal) };
}

fn is_alive(id: i32) -> bool {
    stat(id).is_some_and(|(state, _)| state != "Z")
}

/// State and parent of a process.
fn stat(id: i32) -> Option<(String, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn descendants(id: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parents: Vec<(i32, i32)> = ids.filter_map(|id| Some((id, stat(id)?.1))).collect();
    let mut found = vec![id];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}
