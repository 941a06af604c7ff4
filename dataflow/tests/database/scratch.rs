//! A database for one test.

use std::sync::atomic::{AtomicU32, Ordering};

use citytide::views::schema;
use citytide_domain::Domain;
use citytide_store::migrate;
use citytide_store::postgres::{Database, DatabaseOptions};
use tokio_postgres::Client;

/// Noon of 2026-11-21, as an epoch.
pub const NOON_MS: u64 = 1_795_262_400_000;
pub const DAY_MS: u64 = 86_400_000;

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// An empty database.
pub struct Scratch {
    base: String,
    name: String,
}

impl Scratch {
    /// Where it is, as the command line takes it.
    pub fn address(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    /// Where it is, for another user if one is named.
    pub fn database(&self, user: Option<&str>) -> Database {
        let user = user.map(|user| format!("?user={user}")).unwrap_or_default();
        Database::parse(&format!("{}/{}{user}", self.base, self.name), &DatabaseOptions::default())
            .expect("an address")
    }

    /// Opens a session.
    pub async fn open(&self) -> Client {
        self.database(None).connect("test").await.expect("a session")
    }

    /// Opens a session on the database with the schema of smart-city in it.
    pub async fn with_schema(&self) -> Client {
        let mut client = self.open().await;
        migrate::apply(&mut client, &schema(&Domain::smart_city()), "sensor-data").await.expect("the schema");
        client
    }
}

/// Runs `test` with a database of its own.
pub fn with_database(test: impl AsyncFnOnce(&Scratch)) {
    let address = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL names the PostgreSQL server to test with; `make setup` starts one");
    let bare = address.split('?').next().expect("split gives a first part");
    let (base, _) =
        bare.rsplit_once('/').expect("DATABASE_URL is of the form postgres://user@host:port/database");
    let name = format!("database_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Database::parse(&address, &DatabaseOptions::default())
            .expect("an address")
            .connect("test")
            .await
            .expect("the server");
        server.batch_execute(&format!("create database {name}")).await.expect("a database");
        test(&Scratch { base: base.to_owned(), name: name.clone() }).await;
        server.batch_execute(&format!("drop database {name} with (force)")).await.expect("dropped");
    });
}

/// Runs a script that must succeed.
pub async fn execute(client: &Client, script: &str) {
    client.batch_execute(script).await.unwrap_or_else(|error| panic!("{script}: {error:?}"));
}

/// The one number of a query.
pub async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
}

/// The texts of a query's first column.
pub async fn texts(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}
