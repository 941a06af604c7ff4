//! Scores a table as a stream, by the code that a run scores with, starting from nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_core::batch::{Batch, Columns, FlaggedBy, RULES_ONLY, ReadProgress};
use citytide_core::detect::{Detector, StoredModel, TimeRules};
use citytide_detector::{CERTAIN, Layout, Member, Model, Sample, score_of};

use crate::{Scored, Table};

/// Rows that are pushed at once.
const BATCH_ROWS: usize = 4_096;

/// Scores all rows, without the members that are `muted`: those of each partition in the order of its log.
pub fn score_stream(table: &Table, layout: &Arc<Layout>, muted: &[Member]) -> Scored {
    let domain = &table.domain;
    let (time, every_us) = (TimeRules::new(domain, layout), domain.detector.train_every_us);
    let mut detector = Detector::new(layout.clone(), time, Sample::of(domain), every_us);
    muted.iter().for_each(|member| detector.scoring.mute(*member));
    let logs = table.logs();
    let zone_names = Arc::new(table.zone_names.clone());
    for (partition, log) in &logs {
        for (number, rows) in log.chunks(BATCH_ROWS).enumerate() {
            let first = (number * BATCH_ROWS) as i64;
            detector.push(table.batch(*partition, first, rows, zone_names.clone()));
        }
    }
    let mut scored = Scored::of(table.rows());
    let mut models = 0;
    loop {
        for batch in detector.settle() {
            let log = &logs[&batch.partition];
            scored.take(&batch, |row| log[batch.offsets[row] as usize] as usize);
        }
        if detector.jobs.is_empty() {
            return scored;
        }
        for job in std::mem::take(&mut detector.jobs) {
            let model = Model::train(models + 1, layout, &job.sample, job.until_us);
            let model = model.ok().map(|model| StoredModel {
                version: model.version(),
                bytes: Arc::new(model.to_bytes(layout)),
            });
            models += i32::from(model.is_some());
            detector.put_in_force(job.from, model);
        }
    }
}

impl Scored {
    fn of(rows: usize) -> Scored {
        Scored {
            scores: vec![0.0; rows],
            flags: vec![false; rows],
            found_by: vec![None; rows],
            is_known: vec![false; rows],
            as_table: None,
        }
    }

    /// Takes in a judged batch; `row_of` says which row of the table one of its rows is.
    fn take(&mut self, batch: &Batch, row_of: impl Fn(usize) -> usize) {
        let opinion = batch.opinion.as_ref().expect("it was judged");
        for at in 0..batch.rows() {
            let row = row_of(at);
            self.scores[row] = opinion.scores[at];
            self.is_known[row] = opinion.versions[at] != RULES_ONLY;
        }
        for anomaly in &batch.anomalies {
            let row = row_of(anomaly.row as usize);
            self.flags[row] = true;
            self.found_by[row] = Some(anomaly.found_by);
            if anomaly.flagged_by != FlaggedBy::Model {
                self.scores[row] = score_of(CERTAIN);
            }
        }
    }
}

impl Table {
    /// The rows of each partition, in the order of its log. Where the input is none, it is that of event time.
    fn logs(&self) -> BTreeMap<i32, Vec<u32>> {
        let mut logs: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (row, partition) in (0..).zip(&self.partitions) {
            logs.entry(partition.unwrap_or(0)).or_default().push(row);
        }
        if self.partitions.iter().any(Option::is_some) {
            for log in logs.values_mut() {
                log.sort_by_key(|row| self.positions[*row as usize]);
            }
        }
        logs
    }

    /// Rows of a partition as a batch, from an offset on.
    fn batch(&self, partition: i32, first: i64, rows: &[u32], zone_names: Arc<Vec<Arc<str>>>) -> Batch {
        let next_offset = first + rows.len() as i64;
        let columns = Columns {
            event_times_us: &self.event_times_us,
            zones: &self.zones,
            sensors: &self.sensors,
            sensor_ends: &self.sensor_ends,
            metrics: &self.metrics,
        };
        let batch = Batch {
            offsets: (first..next_offset).collect(),
            zone_names,
            ..Batch::empty(partition, ReadProgress::up_to(next_offset))
        };
        columns.gather(rows.iter().map(|row| *row as usize), batch)
    }
}
