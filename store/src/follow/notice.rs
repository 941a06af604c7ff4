//! The notification of a commit: its epoch and the tables that it changed.
//!
//! ```json
//! {"epoch":1795262449200,"changed":["sensor_data","metrics_1min","zone_status"]}
//! ```
//!
//! `changed` is null when the names exceed the size of a payload. Notices that the listener has not taken yet are
//! merged, so that at most one waits.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// The channel on which every commit notifies.
pub const CHANNEL: &str = "citytide";
/// The statement with which a commit notifies; its argument is a [`payload`].
pub const NOTIFY: &str = "select pg_notify('citytide', $1)";
/// PostgreSQL's limit: payloads must be shorter than 8,000 bytes.
const PAYLOAD_BYTES_MAX: usize = 7_999;

/// Tables that every commit changes; the payload omits them.
const ALWAYS: [&str; 3] = ["commits", "ingest_progress", "panes"];

/// Formats the payload for a commit that changed the given tables. Names may repeat.
pub fn payload<'a>(epoch: u64, changed: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in changed {
        if !names.contains(&name) && !ALWAYS.contains(&name) {
            names.push(name);
        }
    }
    let text =
        |changed: Option<Vec<&str>>| serde_json::to_string(&Payload { epoch, changed }).expect("plain data");
    let whole = text(Some(names));
    if whole.len() <= PAYLOAD_BYTES_MAX { whole } else { text(None) }
}

#[derive(Serialize, Deserialize)]
struct Payload<N> {
    epoch: u64,
    changed: Option<Vec<N>>,
}

/// The notification of one commit, or of several, merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The newest epoch.
    pub epoch: u64,
    /// The tables that changed; `None` when they are unknown.
    pub changed: Option<BTreeSet<String>>,
}

impl Notice {
    /// Parses a payload; `None` when it is not citytide's.
    pub fn parse(payload: &str) -> Option<Notice> {
        let Payload { epoch, changed } = serde_json::from_str::<Payload<String>>(payload).ok()?;
        Some(Notice { epoch, changed: changed.map(BTreeSet::from_iter) })
    }

    fn merge(self, later: Notice) -> Notice {
        let both = self.changed.zip(later.changed);
        let changed = both.map(|(mut names, more)| {
            names.extend(more);
            names
        });
        Notice { epoch: self.epoch.max(later.epoch), changed }
    }
}

/// Collects notices until the listener takes them.
#[derive(Debug, Default)]
pub struct Notices {
    waiting: Mutex<Option<Notice>>,
    arrived: Notify,
}

impl Notices {
    /// Adds the notice of a commit.
    pub fn add(&self, notice: Notice) {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        *waiting = Some(match waiting.take() {
            Some(before) => before.merge(notice),
            None => notice,
        });
        self.arrived.notify_one();
    }

    /// Waits for a notice and takes it; `None` when none arrives within `patience`.
    pub async fn wait(&self, patience: Duration) -> Option<Notice> {
        let arrived = async {
            loop {
                if let Some(notice) = self.waiting.lock().expect("no holder panics").take() {
                    return notice;
                }
                self.arrived.notified().await;
            }
        };
        tokio::time::timeout(patience, arrived).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_each_table_once_and_always_fits() {
        let names = ["commits", "sensor_data", "metrics_1min", "zone_status", "zone_status"];
        let text = payload(1_795_262_449_200, names);
        assert_eq!(text, r#"{"epoch":1795262449200,"changed":["sensor_data","metrics_1min","zone_status"]}"#);
        assert_eq!(Notice::parse(&text).expect("ours").changed.expect("named").len(), 3);
        for tables in [100, 114, 115, 200] {
            let many: Vec<String> = (0..tables).map(|number| format!("{number:067}")).collect();
            let text = payload(1_795_262_449_200, many.iter().map(String::as_str));
            assert!(text.len() < 8_000, "{tables}: {}", text.len());
            assert_eq!(Notice::parse(&text).expect("ours").changed.is_some(), tables < 114, "{tables}");
        }
        assert_eq!(Notice::parse("hello"), None);
    }

    #[test]
    fn notices_that_wait_are_merged() {
        let notice = |epoch, name: Option<&str>| Notice {
            epoch,
            changed: name.map(|name| BTreeSet::from([name.to_owned()])),
        };
        let merged = notice(50, Some("a")).merge(notice(100, Some("b")));
        assert_eq!((merged.epoch, merged.changed.as_ref().map(BTreeSet::len)), (100, Some(2)));
        assert_eq!(merged.merge(notice(150, None)), notice(150, None));
    }
}
