//! Summarises the outbox for metrics and `status`.

use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;

use crate::postgres::DatabaseError;

/// The state of the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of waiting notifications.
    pub waiting: i64,
    /// Number of messages that were given up in the last day.
    pub given_up: i64,
    /// The route and the reason of the last of these.
    pub last_failure: Option<(String, String)>,
}

/// Reads the state of the outbox; `None` when it has never been used.
///
/// # Errors
///
/// When the server fails.
pub async fn summary(client: &impl GenericClient) -> Result<Option<Summary>, DatabaseError> {
    let failed = |error| DatabaseError::statement("reading the state of notifications", &error);
    let there = client.query_one("select to_regclass('notification_failures') is not null", &[]).await;
    if !there.map_err(failed)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = "select (select count(*) from notifications where state = 'waiting'), lately.given_up, \
                      last.route, last.reason, \
                      exists (select from notification_routes) \
               from (select count(*) as given_up from notification_failures \
                     where failed_at > clock_timestamp() - interval '1 day') as lately \
               left join lateral (select route, reason from notification_failures \
                                  where failed_at > clock_timestamp() - interval '1 day' \
                                  order by failed_at desc limit 1) as last on true";
    let row = client.query_one(sql, &[]).await.map_err(failed)?;
    let summary = Summary {
        waiting: row.get(0),
        given_up: row.get(1),
        last_failure: row.get::<_, Option<String>>(2).zip(row.get(3)),
    };
    let is_used = row.get::<_, bool>(4) || summary.waiting > 0 || summary.given_up > 0;
    Ok(is_used.then_some(summary))
}
