//! The program itself, beside the tests that look into its database.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use citytide_store::clock::{instant, wall_ms};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::Client;

use super::scratch::{Scratch, number};

/// For everything that must happen some time.
const LIMIT: Duration = Duration::from_secs(120);

/// How a command ended, and what it said.
pub struct Told {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end.
pub fn citytide(scratch: &Scratch, arguments: &str) -> Told {
    ended(command(scratch, arguments))
}

/// The same as another user of the database.
pub fn citytide_as(scratch: &Scratch, user: &str, arguments: &str) -> Told {
    let mut command = command(scratch, arguments);
    ended(command.env("DATABASE_URL", format!("{}?user={user}", scratch.address())))
}

fn ended(mut command: impl std::borrow::BorrowMut<Command>) -> Told {
    let ended = command.borrow_mut().output().expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Told { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
}

fn command(scratch: &Scratch, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_citytide"));
    command.args(arguments.split_whitespace()).env("DATABASE_URL", scratch.address()).stdin(Stdio::null());
    command
}

/// Reads the first `until` readings of a simulated city in parts: what a run has taught judges the next one, however
/// fast the machine is. Behind one long backlog baselines lag by more than they may, and there would be nothing to
/// train from.
pub fn learn_in_parts(scratch: &Scratch, since: &str, rate: u32, until: usize) {
    for count in (15_000..=until).step_by(15_000) {
        let arguments = format!(
            "run --no-supervise --source simulation --sensors 40 --partitions 2 --rate {rate} --start {since} \
             --count {count} --until-caught-up -w 2"
        );
        let told = citytide(scratch, &arguments);
        assert_eq!(told.code, Some(0), "{}", told.err);
    }
}

/// A run that lives: a simulated city whose zones know enough for a model. Ends when dropped.
pub struct Living {
    child: Child,
}

impl Living {
    pub fn start(scratch: &Scratch, since: &str, more: &str) -> Living {
        let arguments = format!(
            "run --no-supervise --source simulation --sensors 40 --partitions 2 --rate 50 --start {since} {more}"
        );
        let child = command(scratch, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Living { child: child.expect("the program") }
    }

    /// A run with these arguments.
    pub fn run(scratch: &Scratch, arguments: &str) -> Living {
        let child = command(scratch, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Living { child: child.expect("the program") }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("its end").code()
    }

    /// Lets it drain and end by itself.
    pub fn end(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it has not been waited for");
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// So many hours before now, as `--start` takes it.
pub fn hours_ago(hours: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(wall_ms() as i64 - hours * 3_600_000).expect("a date");
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Waits until a query's one number is `expected`.
pub async fn wait_for(client: &Client, query: &str, expected: i64) {
    let until = instant() + LIMIT;
    while number(client, query).await != expected {
        assert!(instant() < until, "{query} never gave {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
