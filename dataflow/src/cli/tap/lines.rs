//! Lines on their way to whoever reads them: a bounded queue, and a thread that writes.
//!
//! A reader that is slower than the stream misses lines, and a line in their place says how many. Who asked for what has
//! been before is waited for, for as long as reading goes on; who watches what happens now is not, since now would
//! drift away.

use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};

use crate::cli::status::thousands;
use crate::runtime::output;

/// Pages that wait at most.
const PAGES_MAX: usize = 8;
/// Whoever takes nothing for so long of what has been before is not waited for any more. A transaction of the server stays
/// open meanwhile.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// How long a page waits for room while what is shown is about as new as the database.
const LIVE: Duration = Duration::from_secs(1);
/// How long it waits when it is not.
const BEHIND: Duration = Duration::from_millis(50);
/// Behind the newest commit by more than this, in milliseconds, what is shown is not new any more.
const BEHIND_MS: i64 = 5_000;

/// How long to wait for the reader.
#[derive(Debug)]
pub struct Pace {
    is_live: bool,
}

impl Pace {
    pub fn new(is_live: bool) -> Pace {
        Pace { is_live }
    }

    /// What has been before is shown: from here on it is live.
    pub fn is_current(&mut self) {
        self.is_live = true;
    }

    /// For the pages of a step that is so far behind the newest commit.
    pub fn patience(&self, behind_ms: i64) -> Duration {
        match self.is_live {
            false => CATCHING_UP,
            true if behind_ms <= BEHIND_MS => LIVE,
            true => BEHIND,
        }
    }
}

/// The way to the thread that writes.
pub struct Lines {
    queue: Sender<String>,
    /// Rows that found no room since the last that did; an anomaly is two lines.
    missing: u64,
    json: bool,
}

impl Lines {
    /// Starts the thread.
    pub fn spawn(json: bool) -> Lines {
        let (queue, mut pages) = channel::<String>(PAGES_MAX);
        let write = move || {
            while let Some(page) = pages.blocking_recv() {
                output::print(page);
            }
        };
        std::thread::Builder::new().name("tap".to_owned()).spawn(write).expect("writing needs a thread");
        Lines::into_queue(queue, json)
    }

    fn into_queue(queue: Sender<String>, json: bool) -> Lines {
        Lines { queue, missing: 0, json }
    }

    /// Puts a page of so many rows in, or counts it as missing when there is no room within `patience`.
    pub async fn put(&mut self, page: String, rows: u64, patience: Duration) {
        if rows == 0 {
            return;
        }
        let page = self.notice() + &page;
        // After one page has waited in vain the next ones do not: what follows is lost more quickly than it comes.
        let has_room = match self.missing {
            0 => self.queue.send_timeout(page, patience).await.is_ok(),
            _ => self.queue.try_send(page).is_ok(),
        };
        self.missing = if has_room { 0 } else { self.missing + rows };
    }

    /// Says what is missing although nothing follows.
    pub fn say_what_is_missing(&mut self) {
        if self.missing > 0 && self.queue.try_send(self.notice()).is_ok() {
            self.missing = 0;
        }
    }

    fn notice(&self) -> String {
        match self.missing {
            0 => String::new(),
            missing if self.json => format!("{}\n", serde_json::json!({"kind": "skipped", "rows": missing})),
            missing => {
                format!("… {} rows are missing here: they were read too slowly\n", thousands(missing as i64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::Receiver;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime")
    }

    fn received(pages: &mut Receiver<String>) -> Vec<String> {
        std::iter::from_fn(|| pages.try_recv().ok()).collect()
    }

    #[test]
    fn a_reader_that_stands_still_misses_pages_and_is_told_how_many_lines_once_it_goes_on() {
        runtime().block_on(async {
            let (queue, mut pages) = channel(2);
            let mut lines = Lines::into_queue(queue, false);
            for page in ["a\n", "b\n", "c\n", "d\n"] {
                lines.put(page.to_owned(), 1_000, LIVE).await;
            }
            assert_eq!(received(&mut pages), ["a\n", "b\n"], "the queue is bounded");
            lines.put("e\n".to_owned(), 1, LIVE).await;
            let notice = "… 2,000 rows are missing here: they were read too slowly\n";
            assert_eq!(received(&mut pages), [format!("{notice}e\n")]);
            lines.put("f\n".to_owned(), 1, LIVE).await;
            assert_eq!(received(&mut pages), ["f\n"], "it is said once");
        });
    }

    #[test]
    fn what_is_missing_at_the_end_of_a_burst_is_said_although_nothing_follows() {
        runtime().block_on(async {
            let (queue, mut pages) = channel(1);
            let mut lines = Lines::into_queue(queue, true);
            lines.put("{}\n".to_owned(), 1, LIVE).await;
            lines.put("{}\n".to_owned(), 7, LIVE).await;
            lines.say_what_is_missing();
            assert_eq!(received(&mut pages), ["{}\n"], "there was no room yet");
            lines.say_what_is_missing();
            lines.say_what_is_missing();
            assert_eq!(received(&mut pages), ["{\"kind\":\"skipped\",\"rows\":7}\n"]);
        });
    }

    #[test]
    fn a_reader_that_is_a_little_slow_misses_nothing() {
        runtime().block_on(async {
            let (queue, mut pages) = channel(1);
            let mut lines = Lines::into_queue(queue, false);
            let reads = tokio::spawn(async move {
                let mut read = Vec::new();
                while let Some(page) = pages.recv().await {
                    read.push(page);
                    tokio::time::sleep(LIVE / 2).await;
                }
                read.concat()
            });
            for number in 0..20 {
                lines.put(format!("{number}\n"), 1, LIVE).await;
            }
            drop(lines);
            let expected: String = (0..20).map(|number| format!("{number}\n")).collect();
            assert_eq!(reads.await.expect("read"), expected);
        });
    }

    #[test]
    fn what_has_been_is_waited_for_and_what_happens_now_is_not_once_it_is_behind() {
        let mut pace = Pace::new(false);
        assert_eq!(pace.patience(3_600_000), CATCHING_UP);
        pace.is_current();
        assert_eq!((pace.patience(0), pace.patience(BEHIND_MS + 1)), (LIVE, BEHIND));
    }
}
