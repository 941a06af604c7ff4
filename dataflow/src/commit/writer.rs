//! Raw rows: one session per worker streams them by COPY as they come, one transaction per epoch.
//!
//! Invariants:
//! 1. a transaction holds rows of one epoch only, and takes the fence before its first row;
//! 2. it commits asynchronously: the synchronous commit of the epoch, later in the same write-ahead log, makes it
//!    durable; therefore the committing session is older and no session is ever opened twice;
//! 3. an epoch is acknowledged after its COMMIT was answered; no COPY and no COMMIT is repeated;
//! 4. the server's bounds say into which segment an epoch goes, so that all workers agree. Process 0 makes segments ahead.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use citytide_domain::Domain;
use citytide_store::clock::instant;
use citytide_store::partitions::{Partition, no_segment, segment_of};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::schema;
use citytide_store::session::{OnFailure, Session, Wake};
use crossbeam_channel::Sender;
use futures_util::SinkExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{Client, CopyInSink, Statement};

use super::copy::{HEADER, TRAILER};
use super::faults::{FailAt, Point, pass};

/// How long a segment may be missing, and how often it is looked for.
const SEGMENT_PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What the detector keeps is compressed by the server: by LZ4, which takes a tenth of the time, where that was built in.
const LZ4_WHERE_THERE: &str = "select set_config(name, 'lz4', false) from pg_settings \
                               where name = 'default_toast_compression' and 'lz4' = any (enumvals)";

/// What a worker hands over. Jobs of one epoch follow each other: rows, dead letters, then `Finish`.
pub enum Rows {
    /// Encoded readings of an epoch.
    Readings(u64, Bytes),
    /// The epoch's readings are complete; this is what else belongs to it, encoded.
    Finish {
        epoch: u64,
        /// Its dead letters.
        dead: Bytes,
        /// What the detector knew when it began.
        blobs: Bytes,
    },
}

/// What a writer needs to know.
pub struct WriterSettings {
    /// Where to.
    pub database: Database,
    /// For the columns.
    pub domain: Arc<Domain>,
    /// The run that the fence knows.
    pub run_id: i64,
    /// The worker's index, for the session's name.
    pub worker: usize,
    /// Where to die, in tests.
    pub fail_at: Option<FailAt>,
}

/// Starts the session of one worker. Finished epochs come back through `finished`.
pub fn spawn(
    settings: WriterSettings,
    finished: Sender<u64>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<Rows> {
    Session::spawn(format!("copy-{}", settings.worker), on_failure, async move |jobs| {
        let name = format!("citytide:{}:copy-{}", settings.run_id, settings.worker);
        let client = settings.database.connect(&name).await?;
        let set = client.execute(LZ4_WHERE_THERE, &[]).await;
        set.map_err(|error| DatabaseError::statement("setting up the session for raw rows", &error))?;
        Writer { client, settings, copies: HashMap::new(), segment: None, open: None }
            .run(jobs, finished, wake)
            .await
    })
}

struct Writer {
    client: Client,
    settings: WriterSettings,
    /// Prepared COPY statements by leaf table.
    copies: HashMap<String, Statement>,
    /// The segment that was written last.
    segment: Option<Partition>,
    /// The epoch whose transaction is open, and the stream of its readings.
    open: Option<(u64, Option<CopyStream>)>,
}

pub type CopyStream = std::pin::Pin<Box<CopyInSink<Bytes>>>;

impl Writer {
    async fn run(
        mut self,
        mut jobs: UnboundedReceiver<Rows>,
        finished: Sender<u64>,
        wake: Wake,
    ) -> Result<(), DatabaseError> {
        while let Some(job) = jobs.recv().await {
            match job {
                Rows::Readings(epoch, rows) => {
                    if self.open.is_none() {
                        // Before the transaction: who takes over must not wait for a segment that nobody makes.
                        self.turn_to(epoch).await?;
                        self.begin(epoch).await?;
                    }
                    let (_, stream) = self.open.as_mut().expect("begun");
                    if stream.is_none() {
                        let table = self.segment.as_ref().expect("turned to").table.clone();
                        let columns = schema::reading_columns(&self.settings.domain);
                        *stream = Some(copy_into(&self.client, &mut self.copies, table, &columns).await?);
                    }
                    let stream = stream.as_mut().expect("opened");
                    stream
                        .send(rows)
                        .await
                        .map_err(|error| DatabaseError::statement("sending readings", &error))?;
                }
                Rows::Finish { epoch, dead, blobs } => {
                    if self.open.is_none() {
                        self.begin(epoch).await?;
                    }
                    self.finish(epoch, dead, blobs).await?;
                    let _ = finished.send(epoch);
                    wake();
                }
            }
        }
        Ok(())
    }

    /// Finds the segment that holds an epoch.
    async fn turn_to(&mut self, epoch: u64) -> Result<(), DatabaseError> {
        if self.segment.as_ref().is_some_and(|segment| segment.epochs.contains(&epoch)) {
            return Ok(());
        }
        let until = instant() + SEGMENT_PATIENCE;
        loop {
            if let Some(segment) = segment_of(&self.client, epoch).await? {
                if let Some(before) = self.segment.replace(segment) {
                    self.copies.remove(&before.table);
                }
                return Ok(());
            }
            if instant() >= until {
                return Err(no_segment(epoch));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn begin(&mut self, epoch: u64) -> Result<(), DatabaseError> {
        pass(self.settings.fail_at.as_ref(), Point::BeforeCopy);
        let begin = format!(
            "begin; set local synchronous_commit = off; select citytide_fence({})",
            self.settings.run_id
        );
        let taken = self.client.batch_execute(&begin).await;
        taken.map_err(|error| DatabaseError::statement("taking the fence for raw rows", &error))?;
        self.open = Some((epoch, None));
        Ok(())
    }

    async fn finish(&mut self, epoch: u64, dead: Bytes, blobs: Bytes) -> Result<(), DatabaseError> {
        let (open, stream) = self.open.take().expect("begun");
        assert_eq!(open, epoch, "epochs are written one after the other");
        if let Some(stream) = stream {
            close(stream, "finishing an epoch's readings").await?;
        }
        let dead_letters = schema::day_table(epoch);
        self.rest(dead_letters, &schema::dead_letter_columns(), dead, "an epoch's dead letters").await?;
        let columns = schema::DETECTOR_STATE_COLUMNS;
        self.rest(schema::DETECTOR_STATE.to_owned(), &columns, blobs, "the detector's state").await?;
        let committed = self.client.batch_execute("commit").await;
        committed.map_err(|error| DatabaseError::statement("committing raw rows", &error))
    }

    /// Copies rows that came all at once, if there are any.
    async fn rest(
        &mut self,
        table: String,
        columns: &[impl AsRef<str>],
        rows: Bytes,
        what: &str,
    ) -> Result<(), DatabaseError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut stream = copy_into(&self.client, &mut self.copies, table, columns).await?;
        let sent = stream.send(rows).await;
        sent.map_err(|error| DatabaseError::statement(format!("sending {what}"), &error))?;
        close(stream, &format!("finishing {what}")).await
    }
}

/// Opens a COPY into a table.
pub async fn copy_into(
    client: &Client,
    copies: &mut HashMap<String, Statement>,
    table: String,
    columns: &[impl AsRef<str>],
) -> Result<CopyStream, DatabaseError> {
    if !copies.contains_key(&table) {
        let columns: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
        let copy = format!("copy {table} ({}) from stdin (format binary)", columns.join(", "));
        let statement = client.prepare(&copy).await;
        let statement = statement
            .map_err(|error| DatabaseError::statement(format!("preparing COPY into {table}"), &error))?;
        copies.insert(table.clone(), statement);
    }
    let sink = client.copy_in(&copies[&table]).await;
    let sink =
        sink.map_err(|error| DatabaseError::statement(format!("starting COPY into {table}"), &error))?;
    let mut stream = Box::pin(sink);
    let header = stream.send(Bytes::from_static(HEADER)).await;
    header.map_err(|error| DatabaseError::statement(format!("starting COPY into {table}"), &error))?;
    Ok(stream)
}

/// Ends a COPY.
pub async fn close(mut stream: CopyStream, attempted: &str) -> Result<(), DatabaseError> {
    let trailer = stream.send(Bytes::from_static(TRAILER)).await;
    trailer.map_err(|error| DatabaseError::statement(attempted, &error))?;
    let rows = stream.as_mut().finish().await;
    rows.map(|_| ()).map_err(|error| DatabaseError::statement(attempted, &error))
}
