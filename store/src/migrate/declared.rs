//! Reads what a database declares in `citytide_database`, and checks a domain file against it.

use citytide_domain::Domain;

use super::MigrateError;
use crate::postgres::DatabaseError;
use crate::schema::{self, SCHEMA_VERSION};

/// The declarations of a database.
#[derive(Debug)]
pub struct Declared {
    schema_version: i32,
    domain: String,
    topic: String,
    windows: serde_json::Value,
    /// Its metrics, in the order in which they were added.
    pub(super) metrics: Vec<String>,
}

impl Declared {
    /// Reads the declarations; `None` when `citytide_database` is empty.
    ///
    /// # Errors
    ///
    /// When the table does not exist or the server fails.
    pub async fn read(
        client: &impl tokio_postgres::GenericClient,
    ) -> Result<Option<Declared>, DatabaseError> {
        let attempted = "reading citytide_database";
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

    /// Checks that the database can hold this domain. A domain with more metrics is accepted, since columns can be
    /// added.
    ///
    /// # Errors
    ///
    /// The first contradiction, as a [`MigrateError`].
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
        let wanted: serde_json::Value =
            serde_json::from_str(&schema::windows_json(domain)).expect("windows_json returns JSON");
        if !fits(&self.windows, &wanted) {
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

    /// Whether the database has columns for a metric.
    pub fn has(&self, metric: &str) -> bool {
        self.metrics.iter().any(|there| there == metric)
    }

    /// The first metric of the domain for which the database has no columns yet.
    pub fn missing_metric<'a>(&self, domain: &'a Domain) -> Option<&'a str> {
        let names = domain.metrics.iter().map(|metric| metric.name.as_str());
        names.into_iter().find(|name| !self.has(name))
    }
}

/// Whether the windows of a database are those wanted, but for further session windows.
fn fits(there: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    let of = |list: &serde_json::Value, sessions: bool| -> Vec<serde_json::Value> {
        let windows = list.as_array().into_iter().flatten();
        windows.filter(|window| window.get("gap_us").is_some() == sessions).cloned().collect()
    };
    let wanted_sessions = of(wanted, true);
    of(there, false) == of(wanted, false)
        && of(there, true).iter().all(|window| wanted_sessions.contains(window))
}

/// Formats windows for messages: `1min (60 s every 60 s), 5min (…)`.
fn in_words(windows: &serde_json::Value) -> String {
    let seconds =
        |window: &serde_json::Value, key: &str| window[key].as_i64().unwrap_or_default() / 1_000_000;
    let words = |window: &serde_json::Value| {
        let name = window["name"].as_str().unwrap_or("?");
        if let Some(by) = window["by"].as_str() {
            let (gap, longest) = (seconds(window, "gap_us"), seconds(window, "max_us"));
            return format!("{name} (sessions by {by}, {gap} s apart, cut at {longest} s)");
        }
        format!("{name} ({} s every {} s)", seconds(window, "size_us"), seconds(window, "slide_us"))
    };
    windows.as_array().into_iter().flatten().map(words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use citytide_domain::{SessionBy, SessionWindow};

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
        let sessions = |name: &str, gap_us| SessionWindow {
            name: name.to_owned(),
            gap_us,
            max_us: 86_400_000_000,
            by: SessionBy::Zone,
        };
        let mut further = domain.clone();
        further.sessions = vec![sessions("visits", 600_000_000)];
        assert!(there.check(&further, None).is_ok(), "a session window may come later");
        let with_sessions = declared(&further);
        further.sessions.insert(0, sessions("trips", 60_000_000));
        assert!(with_sessions.check(&further, None).is_ok(), "also before others");
        further.sessions[1].gap_us *= 2;
        let refused = with_sessions.check(&further, None).unwrap_err().to_string();
        assert!(refused.contains("visits (sessions by zone, 600 s apart, cut at 86400 s)"), "{refused}");
        assert!(with_sessions.check(&domain, None).is_err(), "and does not go");
        let newer = Declared { schema_version: SCHEMA_VERSION + 1, ..declared(&domain) };
        let error = newer.check(&domain, None).unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains("schema version 2"));
    }
}
