//! Who holds retention up: how far the followers are, and a warning for each that has been left behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::retention::retention_horizon;
use crate::followers::{self, Follower};
use crate::postgres::DatabaseError;

/// How long the log is quiet about a follower that goes on holding retention up.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// When each follower was last warned of.
#[derive(Debug, Default)]
pub(super) struct Held {
    warned: BTreeMap<String, Instant>,
}

impl Held {
    /// Reads how far the followers are, and warns of those that retention waits for.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        raw_us: Option<i64>,
        now_ms: u64,
        now: Instant,
    ) -> Result<Vec<Follower>, DatabaseError> {
        let horizon = raw_us.map(|raw_us| retention_horizon(raw_us, now_ms));
        let found = followers::list(client, horizon).await?;
        for follower in self.due(&found, now) {
            tracing::warn!(
                "the follower {} is {} h behind, and readings older than retention.raw are kept for it; start it \
                 again, or end it with: citytide followers drop {}",
                follower.name,
                follower.behind_ms / 3_600_000,
                follower.name
            );
        }
        Ok(found)
    }

    /// Those to warn of now.
    fn due<'a>(&mut self, found: &'a [Follower], now: Instant) -> Vec<&'a Follower> {
        self.warned.retain(|name, _| found.iter().any(|one| one.holds_retention && one.name == *name));
        let mut due = Vec::new();
        for follower in found.iter().filter(|one| one.holds_retention) {
            let warned = self.warned.get(&follower.name);
            if warned.is_none_or(|at| now.saturating_duration_since(*at) >= WARN_EVERY) {
                self.warned.insert(follower.name.clone(), now);
                due.push(follower);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::instant;

    #[test]
    fn a_follower_is_warned_of_once_an_hour_and_anew_after_it_had_caught_up() {
        let follower = |holds_retention| Follower {
            name: "parquet".to_owned(),
            epoch: 0,
            updated_us: None,
            behind_ms: 0,
            holds_retention,
        };
        let (began, mut held) = (instant(), Held::default());
        let mut warned = |minutes: u64, holds_retention| {
            let now = began + Duration::from_secs(60 * minutes);
            held.due(&[follower(holds_retention)], now).len()
        };
        let seen = [(0, true), (1, true), (59, true), (60, true), (61, false), (62, true)];
        assert_eq!(seen.map(|(minutes, holds)| warned(minutes, holds)), [1, 0, 0, 1, 0, 1]);
    }
}
