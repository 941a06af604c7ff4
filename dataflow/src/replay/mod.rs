//! Dead letters become readings: after the domain file was mended, or a bound was raised, they are decoded again.
//!
//! ```text
//!  dead_letters ─ page ─▶ decode ─▶ score ─▶ panes, windows ─▶ one transaction:
//!                           │                                   rows in, letters out, windows, counts, commit
//!                           └ still dead: stays as it is
//! ```
//!
//! Invariants:
//! 1. a letter keeps its partition and offset, and moves from `dead` to `accepted` in one commit: no snapshot shows it
//!    twice or not at all, and the conservation law holds;
//! 2. it is never late: its windows are corrected, a final one with `revision` + 1;
//! 3. it moves neither watermark nor detector: what the stream decides later is the same with and without it;
//! 4. a replay is a run: it takes the database over, so that no other run writes meanwhile, and a crash between two of
//!    its transactions leaves letters that were not reached yet.

mod letters;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use citytide_core::batch::{Assembler, Batch, Chunk};
use citytide_core::detect::Rules;
use citytide_core::floor_to;
use citytide_core::position::Mark;
use citytide_core::window::{EpochPartials, Windows};
use citytide_domain::Domain;
use citytide_store::follow::DeadLetter;
use citytide_store::ledger::{self, Ledger};
use citytide_store::panes::load_ranges;
use citytide_store::partitions::{no_segment, segment_of};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::session::OnFailure;
use citytide_store::takeover::Run;
use citytide_store::{incidents, schema, sessions, upkeep};
use futures_util::SinkExt;
use tokio_postgres::Client;

use crate::commit::committer::{Committer, CommitterSettings};
use crate::commit::copy::encode_readings;
use crate::commit::plan::Plan;
use crate::commit::statements;
use crate::commit::writer::{close, copy_into};
use crate::runtime::exit::Exit;
use crate::views::{OpenIncidents, OpenSessions, facts_of, schema as schema_of, without_letters};
pub use letters::{Selection, page};
use views::{Changes, Views};

/// Letters of one transaction.
pub const PAGE_LETTERS_MAX: i64 = 1_000;

/// What became of the letters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// They are readings now.
    pub accepted: i64,
    /// They are still no readings; by the reason as of now.
    pub dead: BTreeMap<&'static str, i64>,
    /// Longer than what is kept of a letter's bytes: they cannot be decoded.
    pub cut: i64,
    /// Older than what `retention.windows` keeps: their windows are gone.
    pub expired: i64,
}

/// Decodes letters page by page; holds what depends on their order.
pub struct LetterReader {
    assembler: Assembler,
    /// Partitions whose timestamps may be their senders' own: those of a topic.
    stamped_by_senders: BTreeSet<i32>,
    expired_below_us: Option<i64>,
    pane_us: i64,
}

impl LetterReader {
    /// A reader that knows the zones which each partition has brought.
    pub fn new(domain: &Domain, ledger: &Ledger) -> LetterReader {
        // Letters lie below the offsets that were read.
        let from_the_start = |mark: &Mark| {
            let mut mark = mark.clone();
            mark.position.next_offset = 0;
            mark
        };
        let marks: Vec<Mark> = ledger.marks.iter().map(from_the_start).collect();
        let kept_us = domain.retention.windows_us;
        let of_a_topic = ledger.sources.iter().filter(|(_, source)| source.starts_with("kafka:"));
        LetterReader {
            assembler: Assembler::new(domain, &marks),
            stamped_by_senders: of_a_topic.map(|(partition, _)| *partition).collect(),
            expired_below_us: kept_us.map(|kept_us| ledger.low_us.saturating_sub(kept_us)),
            pane_us: domain.pane_us(),
        }
    }

    /// The readings among a page of letters, a batch per partition.
    pub fn read(&mut self, letters: &[DeadLetter], outcome: &mut Outcome) -> Vec<Batch> {
        let mut chunks: BTreeMap<i32, Chunk> = BTreeMap::new();
        for letter in letters {
            if letter.payload.len() as i64 != i64::from(letter.payload_bytes) {
                outcome.cut += 1;
                continue;
            }
            let chunk = chunks.entry(letter.partition).or_default();
            chunk.partition = letter.partition;
            let received_at_ms = letter.received_at_us.div_euclid(1000);
            // Its epoch is what the clock said when it was read: the decision stays what it was.
            if received_at_ms > letter.epoch && self.stamped_by_senders.contains(&letter.partition) {
                chunk.ahead.push((letter.offset, letter.epoch));
            }
            chunk.push(letter.offset, received_at_ms, &letter.payload);
        }
        let mut batches = Vec::new();
        for chunk in chunks.values() {
            let mut batch = self.assembler.assemble(chunk);
            for dead in &batch.dead {
                *outcome.dead.entry(dead.reason.as_str()).or_default() += 1;
            }
            // They are dead letters already, and stay where they are.
            batch.dead.clear();
            if let Some(below_us) = self.expired_below_us {
                let before = batch.rows();
                let pane_us = self.pane_us;
                batch.retain(|at_us| floor_to(at_us, pane_us) >= below_us);
                outcome.expired += (before - batch.rows()) as i64;
            }
            outcome.accepted += batch.rows() as i64;
            batches.push(batch);
        }
        batches
    }
}

/// Replays the selected letters on the session that took the database over, and calls `progress` after every
/// transaction. Gives the session back, which holds the run's lock.
///
/// # Errors
///
/// When the server fails or another run takes over; what was committed until then stays.
pub async fn replay(
    client: Client,
    database: Database,
    domain: Arc<Domain>,
    run: Run,
    selection: &Selection,
    mut progress: impl FnMut(&Outcome),
) -> Result<(Client, Outcome), DatabaseError> {
    let open_from_us = |low_us| Windows::new(&domain, low_us).open_from_us();
    let ledger = ledger::read(&client, &schema_of(&domain), open_from_us).await?;
    let mut windows = Windows::new(&domain, ledger.low_us);
    ledger.panes.iter().for_each(|pane| windows.load(pane.clone()));
    let mut facts = Vec::new();
    for (zone, held) in facts_of(ledger.rows("zone_status")) {
        facts.extend(windows.load_facts(zone, held));
    }
    let settings = CommitterSettings {
        domain: domain.clone(),
        live: schema_of(&domain).live_tables().into(),
        run_id: run.run_id,
        committed_epoch: run.committed_epoch,
        // A replay writes no mark of a partition.
        partition_name: Arc::new(|partition| partition.to_string()),
        fail_at: None,
    };
    let mut reader = LetterReader::new(&domain, &ledger);
    // Nobody else waits for these sessions: what they do not answer would never come.
    let on_failure: OnFailure = Arc::new(|error| {
        tracing::error!("{error}");
        std::process::exit(Exit::Away.code());
    });
    let named = |what: &str| format!("citytide:{}:{what}", run.run_id);
    let (name, of, on, failed) = (named("incidents"), domain.clone(), database.clone(), on_failure.clone());
    let open_incidents: OpenIncidents =
        Box::new(move |answers, wake| incidents::spawn(on, of, name, answers, wake, failed));
    let (name, of) = (named("sessions"), domain.clone());
    let open_sessions: OpenSessions =
        Box::new(move |answers, wake| sessions::spawn(database, of, name, answers, wake, on_failure));
    let mut replay = Replay {
        committer: Committer::open(client, settings).await?,
        rules: Rules::new(&domain),
        views: Views::new(&domain, run.committed_epoch as u64, &ledger, facts, open_incidents, open_sessions),
        low_us: ledger.low_us,
        epoch: run.committed_epoch as u64,
        partitions_until: 0,
        windows,
        domain,
        run,
    };
    let mut outcome = Outcome::default();
    let mut after = None;
    loop {
        let letters = page(&replay.committer.client, selection, after, PAGE_LETTERS_MAX).await?;
        let Some(last) = letters.last() else { return Ok((replay.committer.client, outcome)) };
        after = Some(last.key());
        let batches = reader.read(&letters, &mut outcome);
        if batches.iter().any(|batch| batch.rows() > 0) {
            replay.commit(&letters, batches).await?;
        }
        progress(&outcome);
    }
}

/// When the letters that are rows of these batches were received.
fn received(letters: &[DeadLetter], batches: &[Batch]) -> impl Iterator<Item = i64> {
    let gone: BTreeSet<(i32, i64)> = batches
        .iter()
        .flat_map(|batch| batch.offsets.iter().map(|offset| (batch.partition, *offset)))
        .collect();
    let is_gone = move |letter: &&DeadLetter| gone.contains(&(letter.partition, letter.offset));
    letters.iter().filter(is_gone).map(|letter| letter.received_at_us)
}

/// An epoch of `run` above `last`.
fn next_epoch(run: &Run, last: u64) -> u64 {
    run.now_ms().max(last + 1).max(run.committed_epoch as u64 + 1)
}

struct Replay {
    committer: Committer,
    rules: Rules,
    windows: Windows,
    views: Views,
    low_us: i64,
    epoch: u64,
    /// From this epoch on partitions have to be made.
    partitions_until: u64,
    domain: Arc<Domain>,
    run: Run,
}

impl Replay {
    /// One transaction: the readings come, their letters go, and everything that follows from them is corrected.
    async fn commit(&mut self, letters: &[DeadLetter], mut batches: Vec<Batch>) -> Result<(), DatabaseError> {
        self.epoch = next_epoch(&self.run, self.epoch);
        if self.epoch >= self.partitions_until {
            let (client, run_id) = (&mut self.committer.client, self.run.run_id);
            self.partitions_until = upkeep::ensure_partitions(client, run_id, self.epoch, None).await?;
        }
        let mut plan = Plan { epoch: self.epoch, low_us: self.low_us, ..Plan::default() };
        let mut rows = Vec::new();
        let mut anomalies = Vec::new();
        let mut partials = Vec::new();
        for batch in &mut batches {
            self.rules.score(batch);
            // A zone's number is a worker's own; partial sums of two batches meet by its name.
            let mut sums = EpochPartials::default();
            batch.late = vec![false; batch.rows()];
            anomalies.extend(sums.place(batch, self.domain.pane_us()));
            partials.extend(sums.finish());
            encode_readings(batch, self.epoch, &mut rows);
            plan.readings += batch.rows() as i64;
        }
        for ranges in self.windows.missing(&partials) {
            for pane in load_ranges(&self.committer.client, &self.domain, &ranges).await? {
                self.windows.load(pane);
            }
        }
        let applied = self.windows.apply(self.epoch, partials, self.low_us);
        let changes = Changes { anomalies, facts: applied.facts.clone(), batches: batches.clone() };
        plan.views(self.views.change(self.epoch, changes));
        plan.views(without_letters(received(letters, &batches), &self.domain));
        plan.apply(applied);

        self.committer.begin().await?;
        self.insert(rows).await?;
        self.take_letters_away(letters, &batches).await?;
        self.committer.finish(&plan).await?;
        self.windows.evict(self.epoch + 1);
        Ok(())
    }

    async fn insert(&self, rows: Vec<u8>) -> Result<(), DatabaseError> {
        let client = &self.committer.client;
        let segment = segment_of(client, self.epoch).await?;
        let table = segment.ok_or_else(|| no_segment(self.epoch))?.table;
        let columns = schema::reading_columns(&self.domain);
        let mut stream = copy_into(client, &mut Default::default(), table, &columns).await?;
        let sent = stream.send(Bytes::from(rows)).await;
        sent.map_err(|error| DatabaseError::statement("sending replayed readings", &error))?;
        close(stream, "finishing replayed readings").await
    }

    /// Deletes the letters that became readings, counts them as accepted, and notes the zones they brought.
    async fn take_letters_away(
        &self,
        letters: &[DeadLetter],
        batches: &[Batch],
    ) -> Result<(), DatabaseError> {
        let client = &self.committer.client;
        let epochs: BTreeMap<(i32, i64), i64> =
            letters.iter().map(|letter| ((letter.partition, letter.offset), letter.epoch)).collect();
        let gone = || {
            let of = |batch: &Batch, offset: &i64| (batch.partition, *offset);
            batches.iter().flat_map(move |batch| batch.offsets.iter().map(move |offset| of(batch, offset)))
        };
        let partitions: Vec<i32> = gone().map(|(partition, _)| partition).collect();
        let offsets: Vec<i64> = gone().map(|(_, offset)| offset).collect();
        let of_epoch: Vec<i64> = gone().map(|key| epochs[&key]).collect();
        let (first, last) = (letters[0].epoch, letters[letters.len() - 1].epoch);
        let attempted = "taking letters away that are readings now";
        // The bounds let the server find the page's few blocks.
        let delete = "delete from dead_letter_records as letter using unnest($1::bigint[], $2::integer[], $3::bigint[]) \
             as gone (epoch, kafka_partition, kafka_offset) where letter.epoch between $4 and $5 \
             and letter.epoch = gone.epoch and letter.kafka_partition = gone.kafka_partition \
             and letter.kafka_offset = gone.kafka_offset";
        let deleted = client.execute(delete, &[&of_epoch, &partitions, &offsets, &first, &last]).await;
        let deleted = deleted.map_err(|error| DatabaseError::statement(attempted, &error))?;
        assert_eq!(deleted as usize, offsets.len(), "a letter that was read is there once");
        let counts: Vec<i64> = batches.iter().map(|batch| batch.rows() as i64).collect();
        let counted: Vec<i32> = batches.iter().map(|batch| batch.partition).collect();
        let update = "update ingest_progress as progress set accepted = accepted + replayed, dead = dead - replayed \
             from unnest($1::integer[], $2::bigint[]) as moved (kafka_partition, replayed) \
             where progress.kafka_partition = moved.kafka_partition";
        client
            .execute(update, &[&counted, &counts])
            .await
            .map_err(|error| DatabaseError::statement(attempted, &error))?;
        let brought = || {
            let of = |batch: &Batch, zone: &Arc<str>| (batch.partition, zone.to_string());
            batches.iter().flat_map(move |batch| batch.new_zones.iter().map(move |zone| of(batch, zone)))
        };
        let zones: Vec<String> = brought().map(|(_, zone)| zone).collect();
        let by: Vec<i32> = brought().map(|(partition, _)| partition).collect();
        client
            .execute(statements::INSERT_ZONES, &[&by, &zones])
            .await
            .map_err(|error| DatabaseError::statement("noting the zones that letters brought", &error))?;
        let beat = "update runs set heartbeat_at = clock_timestamp() where run_id = $1";
        let beaten = client.execute(beat, &[&self.run.run_id]).await;
        beaten.map_err(|error| DatabaseError::statement("the heartbeat of the replay", &error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T05:26:00Z.
    const NOON_MS: i64 = 1_795_238_760_000;

    /// What becomes of a letter of `source` that was read at noon and whose sender's clock was two days ahead.
    fn replayed(source: &str) -> Outcome {
        let domain = Domain::smart_city();
        let ledger = Ledger {
            marks: vec![Mark::at_start(0, 0)],
            sources: BTreeMap::from([(0, source.to_owned())]),
            ..Ledger::default()
        };
        let at_ms = NOON_MS + 2 * 86_400_000;
        let payload = format!(r#"{{"sensor_id":"7","timestamp":{at_ms},"zone":"Downtown","aqi":50}}"#);
        let letter = DeadLetter {
            epoch: NOON_MS,
            partition: 0,
            offset: 3,
            received_at_us: at_ms * 1000,
            reason: "in_the_future".to_owned(),
            field: None,
            message: String::new(),
            payload_bytes: payload.len() as i32,
            sensor: None,
            payload: payload.into_bytes(),
        };
        let mut outcome = Outcome::default();
        LetterReader::new(&domain, &ledger).read(&[letter], &mut outcome);
        outcome
    }

    #[test]
    fn a_replayed_letter_is_held_against_the_clock_that_read_it() {
        assert_eq!(replayed("kafka:sensor-data/0").dead, BTreeMap::from([("in_the_future", 1)]));
        assert_eq!(replayed("file:/readings.jsonl").accepted, 1, "a file's time is nobody's clock");
    }
}
