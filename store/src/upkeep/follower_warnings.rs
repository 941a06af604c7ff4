//! Reads the positions of the followers, and logs a warning for each that keeps retention from removing readings.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::retention::retention_horizon;
use crate::followers::{self, Follower};
use crate::postgres::DatabaseError;

/// How often the warning about a follower is repeated.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// The time of the last warning about each follower.
#[derive(Debug, Default)]
pub(super) struct FollowerWarnings {
    warned: BTreeMap<String, Instant>,
}

impl FollowerWarnings {
    /// Reads all followers, and warns of those for which retention waits.
    pub(super) async fn read(
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
                "the follower {} is {} h behind, so readings older than retention.raw are kept for it; start it \
                 again, or remove it with: citytide followers drop {}",
                follower.name,
                follower.behind_ms / 3_600_000,
                follower.name
            );
        }
        Ok(found)
    }

    /// The followers that need a warning now.
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
    fn the_warning_comes_once_an_hour_and_again_after_the_follower_had_caught_up() {
        let follower = |holds_retention| Follower {
            name: "parquet".to_owned(),
            epoch: 0,
            updated_us: None,
            behind_ms: 0,
            holds_retention,
        };
        let (start, mut warnings) = (instant(), FollowerWarnings::default());
        let mut warned = |minutes: u64, holds_retention| {
            let now = start + Duration::from_secs(60 * minutes);
            warnings.due(&[follower(holds_retention)], now).len()
        };
        let seen = [(0, true), (1, true), (59, true), (60, true), (61, false), (62, true)];
        assert_eq!(seen.map(|(minutes, holds)| warned(minutes, holds)), [1, 0, 0, 1, 0, 1]);
    }
}
