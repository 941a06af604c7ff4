//! Reads the views of incidents, for the command line, the page and notifications.

use citytide_core::incidents::{IncidentRules, Kind, Subject};
use citytide_domain::Domain;
use serde::{Deserialize, Serialize, Serializer};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{GenericClient, Row};

pub(crate) use super::views::rank;
use crate::postgres::DatabaseError;
use crate::time::POSTGRES_EPOCH_US;

/// A time, microseconds of the Unix epoch. Serialized as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub i64);

impl<'a> FromSql<'a> for At {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<At, Box<dyn std::error::Error + Sync + Send>> {
        Ok(At(i64::from_be_bytes(raw.try_into()?).saturating_add(POSTGRES_EPOCH_US)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        chrono::DateTime::from_timestamp_micros(self.0).map(|at| at.to_rfc3339()).serialize(serializer)
    }
}

/// Defines a struct whose fields are the columns of a query, by name.
macro_rules! of_columns {
    ($(#[$about:meta])* pub struct $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name { $(pub $field: $type,)* }

        impl $name {
            fn columns() -> String {
                [$(stringify!($field)),*].join(", ")
            }

            fn of(row: &Row) -> $name {
                $name { $($field: row.get(stringify!($field)),)* }
            }
        }
    };
}

of_columns! {
    /// A row of the view `incidents`, which says what each column means.
    pub struct ShownIncident {
        incident_id: String,
        kind: String,
        zone: String,
        metric: String,
        sensor_id: Option<String>,
        pattern: Option<String>,
        condition: String,
        superseded_by: Option<String>,
        severity: String,
        severity_peak: String,
        opened_at: At,
        last_seen_at: At,
        cleared_at: Option<At>,
        first_epoch: Option<i64>,
        epoch: i64,
        revision: i64,
        readings: i64,
        sensors: i64,
        occurrences: i64,
        flaps: i64,
        peak_value: Option<f64>,
        typical: Option<f64>,
        spread: Option<f64>,
        unit: String,
        model_version: i32,
        text: String,
        acknowledged_at: Option<At>,
        acknowledged_by: Option<String>,
        acknowledged_comment: Option<String>,
        assignee: Option<String>,
        shelved_until: Option<At>,
        shelved_by: Option<String>,
        shelved_reason: Option<String>,
        is_out_of_service: bool,
        suppressed_by: Option<String>,
        needs_attention: bool,
    }
}

of_columns! {
    /// A row of `incident_occurrences`: a period in which an incident was open.
    pub struct ShownOccurrence {
        first_at: At,
        last_at: At,
        readings: i64,
        sensors: i64,
        reason: String,
    }
}

of_columns! {
    /// A row of the view `incident_changes`.
    pub struct ShownChange {
        revision: i64,
        epoch: i64,
        event_at: Option<At>,
        changed_at: Option<At>,
        from_condition: Option<String>,
        to_condition: Option<String>,
        cause: String,
        actor: Option<String>,
        comment: Option<String>,
        evidence: Json,
    }
}

of_columns! {
    /// A row of the view `alarm_load`.
    pub struct ShownLoad {
        ten_minutes: At,
        opened: i64,
        is_flood: bool,
        top_ten_share: Option<f64>,
        chattering: i64,
        stale: i64,
        low_share: Option<f64>,
        medium_share: Option<f64>,
        high_share: Option<f64>,
        minutes_to_acknowledge: Option<f64>,
    }
}

/// The value of a `jsonb` column.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Json(pub serde_json::Value);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Json, Box<dyn std::error::Error + Sync + Send>> {
        // The first byte is the version of the binary format.
        Ok(Json(serde_json::from_slice(raw.get(1..).unwrap_or_default())?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}

/// Selects incidents; an empty or `None` field does not filter.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub zones: Vec<String>,
    pub kinds: Vec<String>,
    pub conditions: Vec<String>,
    /// The lowest severity.
    pub severity: Option<String>,
}

/// The numbers of current incidents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub open: i64,
    /// Open incidents by severity: high, medium, low.
    pub by_severity: [i64; 3],
    pub pending: i64,
    pub need_attention: i64,
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

/// Whether the view `incidents` exists. It does not until a run of this version has migrated the database.
pub async fn are_kept(client: &impl GenericClient) -> Result<bool, DatabaseError> {
    let row = client.query_one("select to_regclass('incidents') is not null", &[]).await;
    Ok(row.map_err(failed("looking for incidents"))?.get(0))
}

/// Lists up to 10 identities that begin with `id`; only `id` itself if it exists.
pub async fn beginning(client: &impl GenericClient, id: &str) -> Result<Vec<String>, DatabaseError> {
    let sql = "select incident_id from incident_states where starts_with(incident_id, $1) \
               order by incident_id <> $1, incident_id limit 10";
    let rows = client.query(sql, &[&id]).await.map_err(failed("looking for an incident"))?;
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if found.first().is_some_and(|first| first == id) {
        found.truncate(1);
    }
    Ok(found)
}

/// Counts the open and pending incidents.
pub async fn counts(client: &impl GenericClient) -> Result<Counts, DatabaseError> {
    let sql = "select count(*) filter (where condition = 'open'), count(*) filter (where condition = 'pending'), \
               count(*) filter (where needs_attention), \
               count(*) filter (where condition = 'open' and severity = 'high'), \
               count(*) filter (where condition = 'open' and severity = 'medium'), \
               count(*) filter (where condition = 'open' and severity = 'low') \
               from incidents where condition in ('open', 'pending')";
    let row = client.query_one(sql, &[]).await.map_err(failed("counting incidents"))?;
    let by_severity = [row.get(3), row.get(4), row.get(5)];
    Ok(Counts { open: row.get(0), by_severity, pending: row.get(1), need_attention: row.get(2) })
}

/// Lists up to `limit` selected incidents, by severity and then the oldest first, and counts all selected ones.
pub async fn list(
    client: &impl GenericClient,
    selection: &Selection,
    limit: i64,
) -> Result<(Vec<ShownIncident>, i64), DatabaseError> {
    let Selection { zones, kinds, conditions, severity } = selection;
    let (worst, least) = (rank("severity"), rank("$4"));
    let which = format!(
        "from incidents where (cardinality($1::text[]) = 0 or zone = any ($1)) \
         and (cardinality($2::text[]) = 0 or kind = any ($2)) \
         and (cardinality($3::text[]) = 0 or condition = any ($3)) \
         and ($4::text is null or {worst} >= {least})"
    );
    let counted = format!("select count(*) {which}");
    let all = client.query_one(&counted, &[zones, kinds, conditions, severity]).await;
    let all = all.map_err(failed("counting incidents"))?.get(0);
    let columns = ShownIncident::columns();
    let sql =
        format!("select {columns} {which} order by {worst} desc, opened_at, incident_id limit $5::bigint");
    let rows = client.query(&sql, &[zones, kinds, conditions, severity, &limit]).await;
    Ok((rows.map_err(failed("reading incidents"))?.iter().map(ShownIncident::of).collect(), all))
}

/// Reads an incident; `None` when it does not exist.
pub async fn incident(client: &impl GenericClient, id: &str) -> Result<Option<ShownIncident>, DatabaseError> {
    let sql = format!("select {} from incidents where incident_id = $1", ShownIncident::columns());
    let row = client.query_opt(&sql, &[&id]).await.map_err(failed("reading an incident"))?;
    Ok(row.as_ref().map(ShownIncident::of))
}

/// Reads the incidents with the given identities, in the order of identities.
pub async fn of_identities(
    client: &impl GenericClient,
    ids: &[String],
) -> Result<Vec<ShownIncident>, DatabaseError> {
    let columns = ShownIncident::columns();
    let sql = format!("select {columns} from incidents where incident_id = any ($1) order by incident_id");
    let rows = client.query(&sql, &[&ids]).await.map_err(failed("reading incidents"))?;
    Ok(rows.iter().map(ShownIncident::of).collect())
}

/// Lists the occurrences of an incident in the order of time.
pub async fn occurrences(
    client: &impl GenericClient,
    domain: &Domain,
    of: &ShownIncident,
) -> Result<Vec<ShownOccurrence>, DatabaseError> {
    let is_of_zone = of.sensor_id.is_none();
    let subject = Subject {
        zone: of.zone.as_str().into(),
        kind: Kind::named(&of.kind).unwrap_or(Kind::Model),
        metric: if is_of_zone { of.metric.as_str().into() } else { "".into() },
        sensor: of.sensor_id.as_deref().unwrap_or_default().into(),
    };
    let rule = IncidentRules::new(domain).of(&subject);
    // Occurrences in between that are too short or too small do not belong to the incident.
    let sql = format!(
        "select {} from (select zone, kind, metric, sensor_id, coalesce(begins_at, first_at) as first_at, last_at, \
              greatest(low_at, medium_at, high_at) as anomaly_at, readings, reason, \
              jsonb_array_length(sensor_ids)::bigint as sensors from incident_occurrences where readings > 0) as one \
         where zone = $1 and kind = $2 and metric = $3 and sensor_id = $4 \
         and first_at between (select opened_at from incident_states where incident_id = $5) \
                          and (select last_seen_at from incident_states where incident_id = $5) \
         and ($6 = 'pending' or readings >= $7 and sensors >= $8 \
              and coalesce(anomaly_at, last_at) - first_at >= $9::bigint * interval '1 microsecond') order by first_at",
        ShownOccurrence::columns()
    );
    let (metric, sensor) = (&*subject.metric, &*subject.sensor);
    let (readings_min, sensors_min) = (rule.min_readings as i64, rule.min_sensors as i64);
    let ShownIncident { zone, kind, incident_id, condition, .. } = of;
    let parameters: [&(dyn ToSql + Sync); 9] =
        [zone, kind, &metric, &sensor, incident_id, condition, &readings_min, &sensors_min, &rule.for_us];
    let rows = client.query(&sql, &parameters).await;
    let rows = rows.map_err(failed("reading the occurrences of an incident"))?;
    Ok(rows.iter().map(ShownOccurrence::of).collect())
}

/// Reads the newest `limit` rows of `alarm_load`, the oldest first.
pub async fn load(client: &impl GenericClient, limit: i64) -> Result<Vec<ShownLoad>, DatabaseError> {
    let sql = format!("select {} from alarm_load order by ten_minutes desc limit $1", ShownLoad::columns());
    let rows = client.query(&sql, &[&limit]).await.map_err(failed("reading the load of incidents"))?;
    Ok(rows.iter().rev().map(ShownLoad::of).collect())
}

/// Lists the changes of an incident by revision; users' actions follow the revision that they saw.
pub async fn changes(client: &impl GenericClient, id: &str) -> Result<Vec<ShownChange>, DatabaseError> {
    let sql = format!(
        "select {} from incident_changes where incident_id = $1 \
         order by revision, cause in ('operator', 'shelf_expired'), changed_at",
        ShownChange::columns()
    );
    let rows = client.query(&sql, &[&id]).await.map_err(failed("reading the changes of an incident"))?;
    let (ended, mut changes): (Vec<ShownChange>, Vec<ShownChange>) =
        rows.iter().map(ShownChange::of).partition(|change| change.cause == "shelf_expired");
    // The end of a shelving has the revision of its beginning, so it is sorted in by time.
    for end in ended {
        let before = changes.iter().rposition(|change| change.changed_at <= end.changed_at);
        changes.insert(before.map_or(0, |before| before + 1), end);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use citytide_domain::Domain;

    use super::*;
    use crate::incidents::views;

    #[test]
    fn every_column_of_the_views_is_read() {
        let views = views(&Domain::smart_city());
        let of = |name: &str| -> Vec<&str> {
            let view = views.iter().find(|view| view.name == name).expect("the view");
            view.columns.iter().map(|column| column.name.as_str()).collect()
        };
        assert_eq!(ShownIncident::columns(), of("incidents").join(", "));
        assert_eq!(ShownLoad::columns(), of("alarm_load").join(", "));
        assert_eq!(ShownChange::columns(), of("incident_changes")[1..].join(", "));
    }

    #[test]
    fn a_time_is_shown_in_utc() {
        let shown = serde_json::to_string(&At(1_795_262_449_123_456)).expect("JSON");
        assert_eq!(shown, "\"2026-11-21T12:00:49.123456+00:00\"");
    }
}
