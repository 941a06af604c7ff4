//! Named points at which a run can be made to die, for tests: `--fail-at between-copy-and-commit:3` kills the
//! process with SIGKILL at the third passage.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// A point of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Raw rows are about to be sent.
    BeforeCopy,
    /// The raw rows of an epoch are in, its transaction has not begun.
    BetweenCopyAndCommit,
    /// The transaction of an epoch is committed, and not reported yet.
    AfterCommit,
}

/// Which point kills, and at which passage.
#[derive(Debug, Clone)]
pub struct FailAt {
    point: Point,
    passages_left: Arc<AtomicU32>,
}

impl FromStr for FailAt {
    type Err = String;

    fn from_str(text: &str) -> Result<FailAt, String> {
        let (name, passages) = text.split_once(':').unwrap_or((text, "1"));
        let point = match name {
            "before-copy" => Point::BeforeCopy,
            "between-copy-and-commit" => Point::BetweenCopyAndCommit,
            "after-commit" => Point::AfterCommit,
            _ => {
                return Err(
                    "expected before-copy, between-copy-and-commit or after-commit, then :N".to_owned()
                );
            }
        };
        match passages.parse() {
            Ok(passages) if passages > 0 => {
                Ok(FailAt { point, passages_left: Arc::new(AtomicU32::new(passages)) })
            }
            _ => Err(format!("{passages} is no passage: a whole number from 1 is expected")),
        }
    }
}

/// Dies here if this is the point and the passage.
pub fn pass(fail_at: Option<&FailAt>, point: Point) {
    if let Some(fail_at) = fail_at
        && fail_at.point == point
        && fail_at.passages_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal is delivered before `kill` returns to a process that does not block it.
        unreachable!("a process survives no SIGKILL");
    }
}
