//! Reads incidents: after a restart those that may still change, later those that a late anomaly may change.
//!
//! Each worker has its own session, as for panes. Each request has its own snapshot: what has left memory was committed
//! before, so the snapshot holds it.

use std::sync::Arc;

use citytide_core::batch::Severity;
use citytide_core::incidents::{
    Finding, Incident, IncidentRules, Incidents, Neighbourhood, Occurrence, STEP_US, Steps, Subject,
    findings_of,
};
use citytide_domain::Domain;
use crossbeam_channel::Sender;
use futures_util::{StreamExt, pin_mut};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::compare::beyond_clear_limits;
use super::rows::{incident_of, occurrence_of};
use super::tables::{occurrences, states};
use crate::compare::interval;
use crate::postgres::{Database, DatabaseError};
use crate::row::{Row, Value};
use crate::schema::Table;
use crate::session::{OnFailure, Session, Wake};
use crate::time::{Timestamp, micros};

/// Incidents that were read at a restart or for late anomalies.
#[derive(Debug, Clone, Default)]
pub struct LoadedIncidents {
    pub occurrences: Vec<(Subject, Occurrence)>,
    pub incidents: Vec<Incident>,
    /// Anomalies ahead of the current event time, merged by step.
    pub ahead: Vec<(Subject, Occurrence)>,
}

impl LoadedIncidents {
    /// The incidents of the zones for which `is_mine` is true.
    pub fn of_zones(&self, is_mine: impl Fn(&str) -> bool) -> LoadedIncidents {
        let mine = |list: &[(Subject, Occurrence)]| {
            list.iter().filter(|(subject, _)| is_mine(&subject.zone)).cloned().collect()
        };
        let incidents = self.incidents.iter().filter(|one| is_mine(&one.subject.zone));
        LoadedIncidents {
            occurrences: mine(&self.occurrences),
            incidents: incidents.cloned().collect(),
            ahead: mine(&self.ahead),
        }
    }
}

fn select(table: &Table) -> String {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    format!("select {} from {}", columns.join(", "), table.name)
}

async fn rows<T>(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    read: impl Fn(&Row) -> Option<T>,
) -> Result<Vec<T>, DatabaseError> {
    let rows = client.query(sql, parameters).await;
    let rows = rows.map_err(|error| DatabaseError::statement("reading incidents", &error))?;
    let values = |row: &tokio_postgres::Row| -> Row {
        (0..row.len()).map(|column| row.get::<_, Value>(column)).collect()
    };
    Ok(rows.iter().filter_map(|row| read(&values(row))).collect())
}

/// What may still change as of W: occurrences that ended lately with the incidents that they belong to, and the
/// anomalies that now has not reached.
///
/// # Errors
///
/// When the server fails.
pub async fn load(client: &Client, domain: &Domain, low_us: i64) -> Result<LoadedIncidents, DatabaseError> {
    let known = Incidents::new(IncidentRules::new(domain), low_us);
    let kept_from = Timestamp::watermark(known.kept_from_us());
    // A command that only reads may open a database that no run of this version has migrated yet.
    let there = client.query_one("select to_regclass('incident_states') is not null", &[]).await;
    let there = there.map_err(|error| DatabaseError::statement("looking for incidents", &error))?;
    if !there.get::<_, bool>(0) {
        return Ok(LoadedIncidents::default());
    }
    let sql = format!(
        "{} as one where $1::timestamptz is not null and (last_at >= $1 or exists (\n  \
         select from incident_states as of where of.last_seen_at >= $1 and of.zone = one.zone \
         and of.kind = one.kind and of.metric = one.metric and of.sensor_id = one.sensor_id \
         and one.last_at between of.opened_at and of.last_seen_at))",
        select(&occurrences(domain))
    );
    let kept = rows(client, &sql, &[&kept_from], occurrence_of).await?;
    let sql = format!("{} where $1::timestamptz is not null and last_seen_at >= $1", select(&states(domain)));
    let incidents = rows(client, &sql, &[&kept_from], incident_of).await?;
    Ok(LoadedIncidents { occurrences: kept, incidents, ahead: ahead(client, domain, known.now_us()).await? })
}

/// Reads the committed anomalies from `now_us` on, merged by step and subject.
async fn ahead(
    client: &Client,
    domain: &Domain,
    now_us: i64,
) -> Result<Vec<(Subject, Occurrence)>, DatabaseError> {
    let failed = |error| DatabaseError::statement("reading the anomalies ahead of W", &error);
    let sql = "select zone, sensor_id, recorded_at, severity, reasons::text, model_version from sensor_data \
               where is_anomaly and not is_late and ($1::timestamptz is null or recorded_at >= $1)";
    let now = Timestamp::watermark(now_us);
    let parameters: [&(dyn ToSql + Sync); 1] = [&now];
    let stream = client.query_raw(sql, parameters).await.map_err(failed)?;
    pin_mut!(stream);
    let mut steps = Steps::default();
    while let Some(row) = stream.next().await {
        let row = row.map_err(failed)?;
        let severity = row.get::<_, Option<&str>>(3).and_then(Severity::named);
        let finding = Finding {
            zone: &row.get::<_, &str>(0).into(),
            sensor: row.get::<_, &str>(1).into(),
            recorded_us: micros(&row, 2).expect("a reading has a time"),
            severity: severity.unwrap_or(Severity::Low),
            reasons: row.get::<_, Option<&str>>(4).unwrap_or("[]"),
            model_version: row.get(5),
        };
        findings_of(&finding, &mut |subject, one| steps.add(subject, one));
    }
    for (metric, beyond) in beyond_clear_limits(domain) {
        let sql = format!(
            "select zone, min(recorded_at), max(recorded_at) from sensor_data where not is_late \
             and ($1::timestamptz is null or recorded_at >= $1) and ({beyond}) \
             group by zone, date_bin('{} seconds', recorded_at, 'epoch')",
            STEP_US / 1_000_000
        );
        let metric = Arc::<str>::from(metric);
        for row in client.query(&sql, &parameters).await.map_err(failed)? {
            let at_us = |column| micros(&row, column).expect("a step has readings");
            let subject = Subject::of_rule(row.get::<_, &str>(0).into(), metric.clone());
            steps.add(subject, Occurrence::lingering(&metric, at_us(1), at_us(2)));
        }
    }
    Ok(steps.into_iter().collect())
}

/// Reads the occurrences near the given times, with the whole incidents to which they belong.
async fn read_back(
    client: &Client,
    domain: &Domain,
    asked: &[Neighbourhood],
) -> Result<LoadedIncidents, DatabaseError> {
    let reach = interval(IncidentRules::new(domain).reach_us());
    let mut loaded = LoadedIncidents::default();
    let (occurrences, states) = (select(&occurrences(domain)), select(&states(domain)));
    for Neighbourhood { subject, from_us, until_us } in asked {
        let (kind, metric, sensor) = (subject.kind.as_str(), &*subject.metric, &*subject.sensor);
        let (from, until) = (Timestamp(*from_us), Timestamp(*until_us));
        let of: [&(dyn ToSql + Sync); 6] = [&&*subject.zone, &kind, &metric, &sensor, &from, &until];
        let given = format!(
            "with near as (\n  \
             select least($5::timestamptz, min(first_at) - {reach}) as low, \
             greatest($6::timestamptz, max(last_at) + {reach}) as high \
             from incident_occurrences where zone = $1 and kind = $2 and metric = $3 and sensor_id = $4 \
             and first_at <= $6 and last_at >= $5\n),\n\
             span as (\n  select least(low, min(opened_at)) as low, greatest(high, max(last_seen_at)) as high \
             from near left join incident_states on zone = $1 and kind = $2 and metric = $3 and sensor_id = $4 \
             and opened_at <= high and last_seen_at >= low group by low, high\n)"
        );
        let same = "zone = $1 and kind = $2 and metric = $3 and sensor_id = $4";
        let sql = format!(
            "{given}\n{occurrences}, span where {same} and coalesce(begins_at, first_at) <= high and last_at >= low"
        );
        loaded.occurrences.extend(rows(client, &sql, &of, occurrence_of).await?);
        let sql =
            format!("{given}\n{states}, span where {same} and opened_at <= high and last_seen_at >= low");
        loaded.incidents.extend(rows(client, &sql, &of, incident_of).await?);
    }
    Ok(loaded)
}

/// Starts the session that answers each list of neighbourhoods with its incidents and then calls `wake`.
pub fn spawn(
    database: Database,
    domain: Arc<Domain>,
    name: String,
    answers: Sender<LoadedIncidents>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<Vec<Neighbourhood>> {
    Session::spawn(
        name.clone(),
        on_failure,
        async move |mut requests: UnboundedReceiver<Vec<Neighbourhood>>| {
            // Connects at the first request: most runs make none.
            let mut client: Option<Client> = None;
            while let Some(asked) = requests.recv().await {
                if client.is_none() {
                    client = Some(database.connect(&name).await?);
                }
                let client = client.as_ref().expect("connected");
                let _ = answers.send(read_back(client, &domain, &asked).await?);
                wake();
            }
            Ok(())
        },
    )
}
