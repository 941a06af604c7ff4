//! Makes the schema in an empty database, brings an older one up to the domain file, and refuses what does not fit.
//!
//! Invariants:
//! 1. everything happens in one transaction under an advisory lock: of several first starts one creates, the others
//!    find it done, and a crash leaves nothing half made;
//! 2. nothing is ever dropped but the views, which come back in the same transaction with the rights they had;
//! 3. no statement waits for another session's locks longer than [`LOCK_TIMEOUT_MS`]: readers and COPYs queue behind
//!    a waiting ALTER TABLE. The whole transaction is tried again, [`TRIES`] times.

use std::time::Duration;

use citytide_domain::Domain;
use tokio_postgres::{Client, Transaction};

use super::postgres::DatabaseError;
use super::schema::{self, LOCK_SCHEMA, LOCK_SPACE, SCHEMA_VERSION};

/// How long one statement waits for a lock.
const LOCK_TIMEOUT_MS: u32 = 100;
/// How long to wait for another process that is creating or changing the schema.
const TURN_TIMEOUT_MS: u32 = 5_000;
/// How often the transaction is tried when locks are in the way.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Why the database cannot be used for a domain.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database holds another domain's readings.
    #[error(
        "this database belongs to the domain {there}, not {wanted}: use its domain file, or another database (createdb NAME)"
    )]
    OtherDomain {
        /// The domain of the database.
        there: String,
        /// The domain that was asked for.
        wanted: String,
    },
    /// The database holds another topic's readings.
    #[error(
        "this database belongs to the topic {there}, not {wanted}: read that topic, or use another database (createdb NAME)"
    )]
    OtherTopic {
        /// The topic of the database.
        there: String,
        /// The topic that was asked for.
        wanted: String,
    },
    /// The domain file no longer has a metric whose values are in the database.
    #[error(
        "the metric {metric} is in this database but not in the domain file, and removing it would lose its values: put it back, or use another database (createdb NAME)"
    )]
    MetricGone {
        /// The metric.
        metric: String,
    },
    /// The windows of the domain file are not those of the database.
    #[error(
        "the windows of this database are {there}, those of the domain file {wanted}; rows that are there cannot be cut anew: put the windows back, in this order, or use another database (createdb NAME)"
    )]
    OtherWindows {
        /// The windows of the database.
        there: String,
        /// The windows of the domain file.
        wanted: String,
    },
    /// A newer citytide made the schema, or changed it.
    #[error(
        "this database has schema version {there}, this program knows {SCHEMA_VERSION}: use the program that made it, or a newer one"
    )]
    OtherVersion {
        /// The version of the database.
        there: i32,
    },
    /// Some relations of the schema are there, others are not.
    #[error(
        "the schema {schema} holds {present} but not {absent}, so it is no database of citytide or was changed by hand: use an empty database (createdb NAME), or restore what is missing"
    )]
    HalfMade {
        /// The schema of the search path in which citytide's tables live.
        schema: String,
        /// What is there.
        present: String,
        /// What is missing.
        absent: String,
    },
    /// Views or rules of others stand on views that must be made anew.
    #[error(
        "adding metrics makes sensor_data anew, but something of yours depends on it: {reason}; drop that, start again, then create it again"
    )]
    Dependents {
        /// The server's words.
        reason: String,
    },
    /// The role may not do what is needed.
    #[error(
        "the role {role} may not create or change tables in the schema {schema}: {reason}; connect as the owner of the database, or let the owner run \"grant create, usage on schema {schema} to {role}\""
    )]
    Denied {
        /// The role.
        role: String,
        /// The schema of the search path.
        schema: String,
        /// The server's words.
        reason: String,
    },
    /// The database failed, or somebody's locks stood in the way for too long.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl MigrateError {
    /// Whether the domain file and the database do not fit, so that starting again does not help.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, MigrateError::Denied { .. } | MigrateError::Database(_))
    }

    /// Whether rights are missing.
    pub fn is_denied(&self) -> bool {
        matches!(self, MigrateError::Denied { .. })
    }
}

/// Makes the schema of `domain` reading `topic`, or brings an existing one up to it.
///
/// # Errors
///
/// See [`MigrateError`]; after an error the database is as it was.
pub async fn apply(client: &mut Client, domain: &Domain, topic: &str) -> Result<(), MigrateError> {
    let mut tries = 1;
    loop {
        let Err(error) = in_one_transaction(client, domain, topic).await else { return Ok(()) };
        let MigrateError::Database(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }) =
            error
        else {
            return Err(error);
        };
        match state.as_str() {
            "55P03" | "40P01" if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            "55P03" | "40P01" => {
                let reason = format!("{reason}; end long queries on the tables, or what else holds them");
                return Err(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }.into());
            }
            "42501" => {
                let [role, schema] = whereabouts(client).await?;
                return Err(MigrateError::Denied { role, schema, reason });
            }
            _ => return Err(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }.into()),
        }
    }
}

async fn in_one_transaction(client: &mut Client, domain: &Domain, topic: &str) -> Result<(), MigrateError> {
    let transaction = client.transaction().await.map_err(failed("beginning to look at the schema"))?;
    let turn = format!(
        "set local lock_timeout = {TURN_TIMEOUT_MS}; select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_SCHEMA}); \
         set local lock_timeout = {LOCK_TIMEOUT_MS}"
    );
    run(&transaction, "waiting for another process that changes the schema", &turn).await?;
    match Present::read(&transaction, domain).await? {
        Present::Nothing => {
            run(&transaction, "creating the schema", &schema::create(domain, topic)).await?;
        }
        Present::Schema(there) => {
            there.check(domain, Some(topic))?;
            add_metrics(&transaction, domain, &there.metrics).await?;
        }
    }
    transaction.commit().await.map_err(failed("committing the schema"))?;
    Ok(())
}

/// What a database says about itself.
#[derive(Debug)]
pub struct Declared {
    schema_version: i32,
    domain: String,
    topic: String,
    windows: serde_json::Value,
    metrics: Vec<String>,
}

enum Present {
    Nothing,
    Schema(Declared),
}

impl Present {
    async fn read(transaction: &Transaction<'_>, domain: &Domain) -> Result<Present, MigrateError> {
        let wanted = schema::relations(domain);
        let rows = transaction
            .query("select relname::text from pg_class where relnamespace = current_schema()::regnamespace and relname = any($1)", &[&wanted])
            .await
            .map_err(failed("looking for the schema's tables"))?;
        let present: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if present.is_empty() {
            return Ok(Present::Nothing);
        }
        let has = |name: &str| present.iter().any(|there| there == name);
        if has("citytide_database")
            && let Some(declared) = Declared::read(transaction).await?
        {
            // The domain's own tables are looked at only once it is known to be the same domain.
            declared.check(domain, None)?;
            if wanted.iter().all(|name| has(name)) {
                return Ok(Present::Schema(declared));
            }
        }
        let [_, schema] = whereabouts(transaction).await?;
        let absent = wanted.iter().filter(|name| !has(name)).map(String::as_str).collect::<Vec<_>>();
        let absent =
            if absent.is_empty() { "a row in citytide_database".to_owned() } else { absent.join(", ") };
        Err(MigrateError::HalfMade { schema, present: present.join(", "), absent })
    }
}

impl Declared {
    /// Reads what the database declares; `None` when the one row is missing.
    ///
    /// # Errors
    ///
    /// When the server fails; also when there is no such table.
    pub async fn read(
        client: &impl tokio_postgres::GenericClient,
    ) -> Result<Option<Declared>, DatabaseError> {
        let attempted = "reading what this database is for";
        let row = client
            .query_opt("select schema_version, domain, topic, windows::text from citytide_database", &[])
            .await
            .map_err(|error| DatabaseError::statement(attempted, &error))?;
        let Some(row) = row else { return Ok(None) };
        let metrics = client
            .query(
                "select substr(attname, 7)::text from pg_attribute where attrelid = to_regclass('panes') \
                 and attname like 'count\\_%' and not attisdropped order by attnum",
                &[],
            )
            .await
            .map_err(|error| DatabaseError::statement(attempted, &error))?;
        Ok(Some(Declared {
            schema_version: row.get(0),
            domain: row.get(1),
            topic: row.get(2),
            windows: serde_json::from_str(row.get(3)).unwrap_or_default(),
            metrics: metrics.iter().map(|row| row.get(0)).collect(),
        }))
    }

    /// Whether the database is this domain's, as far as it goes: further metrics are no contradiction.
    ///
    /// # Errors
    ///
    /// The first thing that does not fit.
    pub fn check(&self, domain: &Domain, topic: Option<&str>) -> Result<(), MigrateError> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(MigrateError::OtherVersion { there: self.schema_version });
        }
        if self.domain != domain.name {
            let (there, wanted) = (self.domain.clone(), domain.name.clone());
            return Err(MigrateError::OtherDomain { there, wanted });
        }
        if let Some(topic) = topic
            && self.topic != topic
        {
            let (there, wanted) = (self.topic.clone(), topic.to_owned());
            return Err(MigrateError::OtherTopic { there, wanted });
        }
        let wanted: serde_json::Value = serde_json::from_str(&schema::windows_json(domain))
            .expect("what was just written as JSON is JSON");
        if self.windows != wanted {
            return Err(MigrateError::OtherWindows {
                there: in_words(&self.windows),
                wanted: in_words(&wanted),
            });
        }
        let known = |name: &&String| domain.metrics.iter().any(|metric| metric.name == **name);
        match self.metrics.iter().find(|name| !known(name)) {
            Some(metric) => Err(MigrateError::MetricGone { metric: metric.clone() }),
            None => Ok(()),
        }
    }

    /// The first metric of the domain file for which the database has no columns yet.
    pub fn missing_metric<'a>(&self, domain: &'a Domain) -> Option<&'a str> {
        let names = domain.metrics.iter().map(|metric| metric.name.as_str());
        names.into_iter().find(|name| !self.metrics.iter().any(|there| there == name))
    }
}

/// `1min (60 s every 60 s), 5min (…)`.
fn in_words(windows: &serde_json::Value) -> String {
    let seconds =
        |window: &serde_json::Value, key: &str| window[key].as_i64().unwrap_or_default() / 1_000_000;
    let words = |window: &serde_json::Value| {
        let name = window["name"].as_str().unwrap_or("?");
        format!("{name} ({} s every {} s)", seconds(window, "size_us"), seconds(window, "slide_us"))
    };
    windows.as_array().into_iter().flatten().map(words).collect::<Vec<_>>().join(", ")
}

/// Adds the columns of further metrics, and makes the views anew when they no longer list what the domain says.
async fn add_metrics(
    transaction: &Transaction<'_>,
    domain: &Domain,
    there: &[String],
) -> Result<(), MigrateError> {
    let mut script = String::new();
    for metric in domain.metrics.iter().filter(|metric| !there.contains(&metric.name)) {
        for (table, columns) in schema::metric_additions(domain, metric) {
            for column in &columns {
                script += &format!("alter table {table} add column {} {};\n", column.name, column.definition);
            }
            script += &schema::comments(&table, &columns);
        }
    }
    if !script.is_empty() {
        run(transaction, "adding the columns of further metrics", &script).await?;
    }
    for view in schema::views(domain) {
        let rows = transaction
            .query("select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 order by attnum", &[&view.name])
            .await
            .map_err(failed("reading a view's columns"))?;
        let listed = rows.iter().map(|row| row.get::<_, &str>(0));
        if !listed.eq(view.columns.iter().map(|column| column.name.as_str())) {
            make_anew(transaction, &view).await?;
        }
    }
    Ok(())
}

/// Drops and creates a view: its columns cannot be reordered otherwise. The rights on it come back.
async fn make_anew(transaction: &Transaction<'_>, view: &schema::View) -> Result<(), MigrateError> {
    let rights = transaction
        .query(
            "select format('grant %s on %I to %s%s', privilege_type, relname, \
                    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end, \
                    case when is_grantable then ' with grant option' else '' end) \
             from pg_class, aclexplode(relacl) where oid = to_regclass($1) and grantee <> relowner",
            &[&view.name],
        )
        .await
        .map_err(failed("reading the rights on a view"))?;
    let drop = run(transaction, "dropping a view to make it anew", &format!("drop view {}", view.name)).await;
    drop.map_err(|error| match error {
        DatabaseError::Statement { reason, sqlstate: Some(state), .. } if state == "2BP01" => {
            MigrateError::Dependents { reason }
        }
        error => error.into(),
    })?;
    run(transaction, "making a view anew", &view.render()).await?;
    for right in rights {
        run(transaction, "granting again what was granted on a view", right.get(0)).await?;
    }
    Ok(())
}

async fn run(
    transaction: &Transaction<'_>,
    attempted: &'static str,
    script: &str,
) -> Result<(), DatabaseError> {
    transaction.batch_execute(script).await.map_err(|error| DatabaseError::statement(attempted, &error))
}

/// Role and schema of this session.
async fn whereabouts(client: &impl tokio_postgres::GenericClient) -> Result<[String; 2], MigrateError> {
    let row = client
        .query_one(
            "select current_user::text, coalesce(current_schema()::text, '(none of the search path)')",
            &[],
        )
        .await
        .map_err(failed("asking for this session's role and schema"))?;
    Ok([row.get(0), row.get(1)])
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> MigrateError {
    move |error| DatabaseError::statement(attempted, &error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(domain: &Domain) -> Declared {
        Declared {
            schema_version: SCHEMA_VERSION,
            domain: domain.name.clone(),
            topic: domain.topic.clone(),
            windows: serde_json::from_str(&schema::windows_json(domain)).unwrap(),
            metrics: domain.metrics.iter().map(|metric| metric.name.clone()).collect(),
        }
    }

    #[test]
    fn a_database_fits_its_own_domain_and_one_with_further_metrics() {
        let mut domain = Domain::smart_city();
        let there = declared(&domain);
        assert!(there.check(&domain, Some("sensor-data")).is_ok());
        assert_eq!(there.missing_metric(&domain), None);
        let mut further = domain.metrics[0].clone();
        further.name = "wind".to_owned();
        domain.metrics.insert(1, further);
        assert!(there.check(&domain, Some("sensor-data")).is_ok());
        assert_eq!(there.missing_metric(&domain), Some("wind"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let domain = Domain::smart_city();
        let there = declared(&domain);
        let words = |domain: &Domain, topic: &str| there.check(domain, Some(topic)).unwrap_err().to_string();
        assert!(words(&domain, "other").contains("belongs to the topic sensor-data, not other"));
        let mut other = domain.clone();
        other.name = "harbour".to_owned();
        assert!(words(&other, "sensor-data").contains("belongs to the domain smart-city, not harbour"));
        let mut fewer = domain.clone();
        fewer.metrics.remove(2);
        assert!(words(&fewer, "sensor-data").contains("the metric aqi is in this database"));
        let mut wider = domain.clone();
        wider.windows[1].slide_us *= 5;
        assert!(words(&wider, "sensor-data").contains("5min (300 s every 300 s)"));
        let newer = Declared { schema_version: SCHEMA_VERSION + 1, ..declared(&domain) };
        let error = newer.check(&domain, None).unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains("schema version 2"));
    }
}
