//! Chunks → batches: decodes record by record in log order and keeps what depends on that order: the next
//! offset, gaps, and which zones a partition has brought so far.
//!
//! A pure struct, one per worker. What it decides is a function of each partition's log alone, wherever chunks
//! begin and end (see the tests).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use citytide_domain::Domain;

use super::{Batch, Chunk, DeadLetter, ReadProgress};
use crate::decode::{DecodeError, Decoder, Reason};
use crate::position::Mark;

/// Bytes of a dead record that are kept.
const DEAD_PAYLOAD_BYTES_MAX: usize = 64 * 1024;

struct PartitionLog {
    next_offset: i64,
    /// Zones outside the domain file, by id; bounded by `zones_max`.
    brought: HashSet<u32>,
}

/// Turns chunks into batches.
pub struct Assembler {
    decoder: Decoder,
    zones_max: usize,
    zone_field: String,
    named: usize,
    zone_names: Arc<Vec<Arc<str>>>,
    zone_ids: HashMap<Arc<str>, u32>,
    partitions: HashMap<i32, PartitionLog>,
    values: Vec<f64>,
    /// A row of CSV as JSON.
    row: Vec<u8>,
}

impl Assembler {
    /// An assembler for the partitions that one worker reads, which goes on from these marks: each with all zones that
    /// its partition has brought so far.
    pub fn new<'a>(domain: &Domain, marks: impl IntoIterator<Item = &'a Mark>) -> Assembler {
        let mut assembler = Assembler {
            decoder: Decoder::new(domain),
            zones_max: domain.limits.zones_max,
            zone_field: domain.fields.zone.clone(),
            named: domain.zones.len(),
            zone_names: Arc::new(Vec::new()),
            zone_ids: HashMap::new(),
            partitions: HashMap::new(),
            values: vec![f64::NAN; domain.metrics.len()],
            row: Vec::new(),
        };
        for zone in &domain.zones {
            assembler.intern(&zone.name);
        }
        for mark in marks {
            let brought = mark.new_zones.iter().map(|zone| assembler.intern(zone)).collect();
            let log = PartitionLog { next_offset: mark.position.next_offset, brought };
            assembler.partitions.insert(mark.partition, log);
        }
        assembler
    }

    fn intern(&mut self, zone: &str) -> u32 {
        if let Some(&id) = self.zone_ids.get(zone) {
            return id;
        }
        let name: Arc<str> = Arc::from(zone);
        let names = Arc::make_mut(&mut self.zone_names);
        let id = names.len() as u32;
        names.push(name.clone());
        self.zone_ids.insert(name, id);
        id
    }

    /// Decodes a chunk. Records below the partition's next offset, which a source may deliver twice, are skipped.
    pub fn assemble(&mut self, chunk: &Chunk) -> Batch {
        if let Some(next_offset) = chunk.begins_at {
            let log = || PartitionLog { next_offset, brought: HashSet::new() };
            self.partitions.entry(chunk.partition).or_insert_with(log);
        }
        let rows = chunk.records();
        let progress = ReadProgress {
            begins_at: chunk.begins_at,
            cursor: chunk.cursor.clone(),
            reach: chunk.reach,
            ..ReadProgress::up_to(0)
        };
        let mut batch = Batch {
            offsets: Vec::with_capacity(rows),
            event_times_us: Vec::with_capacity(rows),
            received_at_ms: Vec::with_capacity(rows),
            zones: Vec::with_capacity(rows),
            sensors: Vec::with_capacity(rows * 8),
            sensor_ends: Vec::with_capacity(rows),
            metrics: self.values.iter().map(|_| Vec::with_capacity(rows)).collect(),
            truth: chunk.truth.clone(),
            ..Batch::empty(chunk.partition, progress)
        };
        let mut next_offset = self.partitions[&chunk.partition].next_offset;
        if let Some(lost_below) = chunk.lost_below {
            batch.progress.lost = (lost_below - next_offset).max(0);
            next_offset = next_offset.max(lost_below);
        }
        for record in 0..rows {
            let offset = chunk.offsets[record];
            if offset < next_offset {
                continue;
            }
            batch.progress.gaps += offset - next_offset;
            next_offset = offset + 1;
            self.record(chunk, record, &mut batch);
        }
        if let Some(read_up_to) = chunk.read_up_to {
            batch.progress.gaps += (read_up_to - next_offset).max(0);
            next_offset = next_offset.max(read_up_to);
        }
        self.partitions.get_mut(&chunk.partition).expect("known above").next_offset = next_offset;
        batch.progress.next_offset = next_offset;
        batch.zone_names = self.zone_names.clone();
        batch
    }

    fn record(&mut self, chunk: &Chunk, record: usize, batch: &mut Batch) {
        let payload = chunk.payload(record);
        let received_at_ms = chunk.received_at_ms[record];
        let too_long = chunk.too_long.iter().find(|(offset, _)| *offset == chunk.offsets[record]);
        let bytes =
            too_long.map_or(payload.len(), |(_, bytes)| usize::try_from(*bytes).unwrap_or(usize::MAX));
        // Taken out for as long as the reading borrows from it.
        let mut row = std::mem::take(&mut self.row);
        let json = match (too_long, &chunk.header) {
            (Some(_), _) => Err(DecodeError::of_record(
                Reason::TooLong,
                format!("the line has {bytes} bytes; a record has at most a megabyte"),
            )),
            (None, Some(header)) => header.to_json(payload, &mut row).map(|()| &row[..]),
            (None, None) => Ok(payload),
        };
        let received_at_us = received_at_ms.saturating_mul(1000);
        let decoded = json.and_then(|json| self.decoder.decode(json, received_at_us, &mut self.values));
        let ahead = chunk.ahead.binary_search_by_key(&chunk.offsets[record], |(offset, _)| *offset);
        let judged = decoded.and_then(|reading| {
            let whose = |error: DecodeError| error.of_sensor(&reading.sensor);
            if let Ok(at) = ahead {
                let read_at_us = chunk.ahead[at].1.saturating_mul(1000);
                self.decoder.check_reader_clock(reading.event_time_us, read_at_us).map_err(whose)?;
            }
            let (zone, new) = self.admit(chunk.partition, &reading.zone).map_err(whose)?;
            Ok((reading, zone, new))
        });
        match judged {
            Ok((reading, zone, new)) => {
                if new {
                    batch.new_zones.push(self.zone_names[zone as usize].clone());
                }
                batch.offsets.push(chunk.offsets[record]);
                batch.event_times_us.push(reading.event_time_us);
                batch.received_at_ms.push(received_at_ms);
                batch.zones.push(zone);
                batch.sensors.extend_from_slice(reading.sensor.as_bytes());
                batch.sensor_ends.push(batch.sensors.len() as u32);
                for (column, value) in batch.metrics.iter_mut().zip(&self.values) {
                    column.push(*value);
                }
            }
            Err(DecodeError { reason, field, message, sensor }) => batch.dead.push(DeadLetter {
                offset: chunk.offsets[record],
                received_at_ms,
                reason,
                field,
                message,
                payload: payload[..payload.len().min(DEAD_PAYLOAD_BYTES_MAX)].to_vec(),
                payload_bytes: i32::try_from(bytes).unwrap_or(i32::MAX),
                sensor,
            }),
        }
        self.row = row;
    }

    /// The zone's id, and whether the partition brings it for the first time though the file does not name it.
    /// A zone that is refused is not interned either: what is dead must not cost memory.
    fn admit(&mut self, partition: i32, zone: &str) -> Result<(u32, bool), DecodeError> {
        let known = self.zone_ids.get(zone).copied();
        let brought = &self.partitions[&partition].brought;
        match known {
            Some(id) if (id as usize) < self.named || brought.contains(&id) => return Ok((id, false)),
            _ if brought.len() < self.zones_max => {
                let id = self.intern(zone);
                self.partitions.get_mut(&partition).expect("assigned partition").brought.insert(id);
                return Ok((id, true));
            }
            _ => {}
        }
        let message = format!(
            "the partition has already brought {} zones that the domain file does not name; raise limits.zones_max or name the zone",
            self.zones_max
        );
        Err(DecodeError::of_field(Reason::TooManyZones, &self.zone_field, message))
    }
}

#[cfg(test)]
mod tests;
