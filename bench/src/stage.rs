//! Topics and databases of a measurement, made under one prefix and removed by it: also after an interruption, when
//! `sweep` is all that runs. Names hold the prefix and a word, so a second measurement with the same prefix would
//! disturb the first; `scripts/bench` puts its process id into it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use crate::process::{command, finish};

/// Partitions of every topic.
pub const PARTITIONS: i32 = 4;
/// Sensors of the synthetic city, unless a scene says otherwise.
pub const SENSORS: u64 = 400;
/// How long Kafka may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a new topic may take until its partitions have leaders.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// Where everything is, and what the names begin with.
pub struct Stage {
    /// Kafka's bootstrap servers.
    pub brokers: String,
    database_url: String,
    prefix: String,
    runtime: Runtime,
    admin: AdminClient<DefaultClientContext>,
}

/// A session with a database.
pub struct Session<'a> {
    runtime: &'a Runtime,
    client: Client,
}

impl Session<'_> {
    /// The rows of a query.
    pub fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.runtime.block_on(self.client.query(sql, values)).with_context(|| sql.to_owned())
    }

    /// One whole number.
    pub fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.query(sql, &[])?.first().context("a row")?.get(0))
    }

    /// A statement that is asked often.
    pub fn prepare(&self, sql: &str) -> Result<Statement> {
        self.runtime.block_on(self.client.prepare(sql)).with_context(|| sql.to_owned())
    }

    /// The one value of a statement's one row.
    pub fn ask<T: for<'v> FromSql<'v>>(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<T> {
        Ok(self.runtime.block_on(self.client.query_one(statement, values))?.try_get(0)?)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.client.batch_execute(sql)).with_context(|| sql.to_owned())
    }
}

impl Stage {
    /// Opens it; asks the server whether it is there.
    pub fn open(brokers: &str, database_url: &str, prefix: &str) -> Result<Stage> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let stage = Stage {
            brokers: brokers.to_owned(),
            database_url: database_url.to_owned(),
            prefix: prefix.to_owned(),
            runtime,
            admin,
        };
        stage.session(database_url)?;
        Ok(stage)
    }

    /// A session with the database at `url`. Its connection is driven while a query waits.
    pub fn session(&self, url: &str) -> Result<Session<'_>> {
        let connected = self.runtime.block_on(tokio_postgres::connect(url, NoTls));
        let (client, connection) = connected.context("connecting to PostgreSQL")?;
        self.runtime.spawn(connection);
        Ok(Session { runtime: &self.runtime, client })
    }

    /// Makes a fresh database and returns its address. Ends the work that earlier runs left to the server, so that
    /// it is not charged to the next one.
    pub fn database(&self, word: &str) -> Result<String> {
        let name = format!("{}_{word}", self.prefix);
        let server = self.session(&self.database_url)?;
        server.execute(&format!("drop database if exists {name} with (force)"))?;
        server.execute(&format!("create database {name}"))?;
        server.execute("checkpoint")?;
        let (address, query) = match self.database_url.split_once('?') {
            Some((address, query)) => (address, format!("?{query}")),
            None => (self.database_url.as_str(), String::new()),
        };
        let (server, _) = address.rsplit_once('/').context("DATABASE_URL ends in /database")?;
        let url = format!("{server}/{name}{query}");
        let _: Config = url.parse()?;
        Ok(url)
    }

    /// Removes a database that [`Stage::database`] made.
    pub fn drop_database(&self, word: &str) -> Result<()> {
        self.session(&self.database_url)?
            .execute(&format!("drop database if exists {}_{word} with (force)", self.prefix))
    }

    /// Makes a topic, stamped by the broker, and returns its name.
    pub fn topic(&self, word: &str) -> Result<String> {
        let name = format!("{}_{word}", self.prefix);
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", "-1");
        let created = self.runtime.block_on(self.admin.create_topics([&topic], &AdminOptions::new()))?;
        for result in created {
            result.map_err(|(topic, code)| anyhow::anyhow!("creating topic {topic}: {code}"))?;
        }
        let until = std::time::Instant::now() + LEADERS_TIMEOUT;
        loop {
            let metadata = self.admin.inner().fetch_metadata(Some(&name), ANSWER_TIMEOUT)?;
            let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
            if partitions.len() == PARTITIONS as usize && partitions.iter().all(|one| one.leader() >= 0) {
                return Ok(name);
            }
            ensure!(std::time::Instant::now() < until, "topic {name} has no leaders yet");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Fills a topic with the readings of the synthetic city, from an event time of two hours ago on: a second of
    /// event time every 10,000 readings.
    pub fn fill(&self, topic: &str, readings: u64) -> Result<()> {
        self.fill_with(topic, readings, SENSORS, readings / 10_000)
    }

    /// Fills a topic with `readings` of `sensors` sensors over `seconds` of event time, which end in the past.
    pub fn fill_with(&self, topic: &str, readings: u64, sensors: u64, seconds: u64) -> Result<()> {
        let seconds = seconds.max(1);
        let start_s = crate::load::now_us() / 1_000_000 - 7200 - seconds as i64;
        let start = chrono::DateTime::from_timestamp(start_s, 0).context("a time")?;
        let start = start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let mut generator = command("citytide-generator", ["--brokers", &self.brokers, "--topic", topic])?;
        generator.args(["--rate", "0", "--quiet", "--count", &readings.to_string(), "--start", &start]);
        generator.args(["--sensors", &sensors.to_string(), "--duration", &format!("{seconds}s")]);
        finish(generator).map(|_| ())
    }

    /// Removes every topic and database of this prefix.
    pub fn sweep(&self) -> Result<()> {
        let server = self.session(&self.database_url)?;
        let like = format!("{}\\_%", self.prefix.replace('_', "\\_"));
        for row in server.query("select datname::text from pg_database where datname like $1", &[&like])? {
            let name: String = row.get(0);
            server.execute(&format!("drop database if exists {name} with (force)"))?;
        }
        let metadata = self.admin.inner().fetch_metadata(None, ANSWER_TIMEOUT)?;
        let ours = format!("{}_", self.prefix);
        let topics: Vec<&str> = metadata
            .topics()
            .iter()
            .map(|topic| topic.name())
            .filter(|name| name.starts_with(&ours))
            .collect();
        if !topics.is_empty() {
            self.runtime.block_on(self.admin.delete_topics(&topics, &AdminOptions::new()))?;
        }
        Ok(())
    }

    /// The server's version, as `15.18`.
    pub fn server_version(&self) -> Result<String> {
        let rows = self.session(&self.database_url)?.query("show server_version", &[])?;
        let version: String = rows.first().context("a row")?.get(0);
        Ok(version.split(' ').next().unwrap_or_default().to_owned())
    }
}

/// A binary of this workspace: beside this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(name);
    if !beside.is_file() {
        bail!("{} is not there; build it with: cargo build --release --bins", beside.display());
    }
    Ok(beside)
}
