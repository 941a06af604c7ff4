//! A database of the test's own, and sessions in it.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::services::{Services, unique};

/// One session. It calls itself `citytide-tests`.
pub struct Session {
    runtime: Runtime,
    client: Client,
}

impl Session {
    /// Opens a session.
    pub fn open(url: &str) -> Session {
        let mut config: Config = url.parse().expect("a database address");
        config.application_name("citytide-tests").connect_timeout(Duration::from_secs(10));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.expect("connecting to PostgreSQL");
            tokio::spawn(connection);
            client
                .batch_execute("set time zone 'UTC'; set extra_float_digits = 3")
                .await
                .expect("setting up");
            client
        });
        Session { runtime, client }
    }

    /// The rows of a query.
    pub fn query(&self, sql: &str) -> Vec<Row> {
        self.try_query(sql).unwrap_or_else(|error| panic!("{error:?}: {sql}"))
    }

    /// The rows of a query, or its error.
    pub fn try_query(&self, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.runtime.block_on(self.client.query(sql, &[]))
    }

    /// The one value of a query.
    pub fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        let rows = self.query(sql);
        assert_eq!(rows.len(), 1, "one row from {sql}");
        rows[0].get(0)
    }

    /// Runs a statement and says how many rows it touched.
    pub fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> u64 {
        self.runtime
            .block_on(self.client.execute(sql, parameters))
            .unwrap_or_else(|error| panic!("{error:?}: {sql}"))
    }

    /// Runs several statements.
    pub fn batch(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// Whether the product has created its tables, all of them.
    pub fn has_tables(&self) -> bool {
        self.value("select to_regclass('commits') is not null and to_regclass('conservation') is not null")
    }
}

/// A database that lives as long as the test. Set `CITYTIDE_KEEP` to look at it afterwards.
pub struct Database {
    admin_url: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// A session in it.
    pub session: Session,
}

impl Database {
    /// Creates a database.
    pub fn create(services: &Services, test: &str) -> Database {
        let name = unique(test);
        Session::open(&services.database_url).execute(&format!("create database {name}"), &[]);
        let url = at_database(&services.database_url, &name);
        Database { admin_url: services.database_url.clone(), session: Session::open(&url), name, url }
    }

    /// The address of this database for another role.
    pub fn url_as(&self, role: &str, password: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        let after = rest.split_once('@').map_or(rest, |(_, after)| after);
        format!("{scheme}://{role}:{password}@{after}")
    }

    /// Highest offset + 1 that is committed, summed over partitions.
    pub fn committed_offsets(&self) -> i64 {
        if !self.session.has_tables() {
            return 0;
        }
        self.session.value("select coalesce(sum(next_offset), 0)::bigint from ingest_progress")
    }

    /// Number of commits so far.
    pub fn commits(&self) -> i64 {
        if !self.session.has_tables() {
            return 0;
        }
        self.session.value("select count(*) from commits")
    }

    /// W of the newest commit in microseconds.
    pub fn watermark_us(&self) -> Option<i64> {
        let rows = self.session.query(
            "select (extract(epoch from watermark) * 1000000)::bigint from commits order by epoch desc limit 1",
        );
        rows.first().and_then(|row| row.get(0))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::env::var_os("CITYTIDE_KEEP").is_some() {
            eprintln!("kept: {}", self.url);
            return;
        }
        let admin = Session::open(&self.admin_url);
        let dropped = admin.try_query(&format!("drop database {} with (force)", self.name));
        if let Err(error) = dropped {
            eprintln!("the database {} could not be dropped: {error}", self.name);
        }
    }
}

/// `postgresql://user@host:port/old?x=y` → the same with another database.
pub fn at_database(url: &str, name: &str) -> String {
    let (scheme, rest) =
        url.split_once("://").expect("DATABASE_URL is a URL: postgresql://user@host:port/database");
    let (rest, query) =
        rest.split_once('?').map_or((rest, String::new()), |(rest, query)| (rest, format!("?{query}")));
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    format!("{scheme}://{host}/{name}{query}")
}
