//! Deletes old notifications, and gives up those whose route is no longer configured.

use tokio_postgres::Client;

use crate::postgres::DatabaseError;

/// Days for which sent and given-up notifications are kept. Those of open incidents are kept longer, because the next
/// decision depends on them.
const KEPT_DAYS: i32 = 30;

/// Deletes old notifications and failures. Gives up notifications that wait for a route that is not in `routes`.
///
/// # Errors
///
/// When the server fails.
pub async fn prune(client: &Client, routes: &[&str]) -> Result<(), DatabaseError> {
    let sql = "with gone as ( \
                   update notifications set state = 'given_up', done_at = clock_timestamp(), \
                       message_id = coalesce(message_id, concat_ws('/', route, incident_id, revision)), \
                       last_error = 'its route is no longer in the configuration file' \
                   where state = 'waiting' and route <> all ($1) returning route, incident_id, message_id, tries \
               ) \
               insert into notification_failures (route, message_id, notifications, incidents, tries, reason) \
               select route, min(message_id), count(*), jsonb_agg(distinct incident_id), max(tries), \
                   'its route is no longer in the configuration file' from gone group by route";
    client.execute(sql, &[&routes]).await.map_err(failed("giving up notifications without a route"))?;
    let sql = "delete from notification_routes where route <> all ($1)";
    client.execute(sql, &[&routes]).await.map_err(failed("deleting routes"))?;
    let sql = "delete from notifications as n where state <> 'waiting' \
               and done_at < clock_timestamp() - $1 * interval '1 day' and not exists ( \
                   select from incident_states as s where s.incident_id = n.incident_id and s.condition = 'open')";
    client.execute(sql, &[&f64::from(KEPT_DAYS)]).await.map_err(failed("deleting old notifications"))?;
    let sql = "delete from notification_failures where failed_at < clock_timestamp() - $1 * interval '1 day'";
    client.execute(sql, &[&f64::from(KEPT_DAYS)]).await.map_err(failed("deleting old failures"))?;
    Ok(())
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}
