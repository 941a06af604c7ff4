//! What is kept of one partition: its sensors, its event time, what its readings teach, and those that wait.

mod stored;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use citytide_detector::{Layout, Model, Sample, SampleRow, SensorStates, SufficientStats, TrainingData};
use serde::{Deserialize, Serialize};

use super::Judged;
use crate::batch::Batch;
use crate::detect::event_time::{EventClock, NO_MINUTE, TimeRules, minute_us, tick_of};
use crate::detect::snapshot::Blob;
use crate::detect::{Agreement, Note, Taught};

/// From how many minutes on a partition teaches that comes while others are read: by then all workers know of it.
const JOINS_AFTER_MINUTES: i64 = 5;

/// What a former run noted of a partition.
#[derive(Debug, Clone, Copy)]
pub enum Noted {
    /// It was lifted to a minute.
    Lifted(i64),
    /// It came while others were read, and teaches from a minute on.
    Joined(i64),
}

#[derive(Debug)]
pub struct Partition {
    pub sensors: SensorStates,
    /// It is not waited for up to this minute.
    pub lifted: i64,
    /// The minute up to which the others know that it has come.
    pub passed: i64,
    /// It teaches nothing of the minutes before this one.
    pub teaches_from: i64,
    /// What is not handed out yet.
    pub training_data: TrainingData,
    /// What was, of ticks that a snapshot may need.
    handed_out: SufficientStats,
    handed_out_rows: Vec<(u64, SampleRow)>,
    /// Batches that are not wholly judged.
    pub queue: VecDeque<Waiting>,
    /// What was noted in a former run, each with the offset from which on it holds.
    noted: VecDeque<(i64, Noted)>,
    /// Whether a lift, and that it has joined, are to be noted with the next reading.
    is_note_due: bool,
    has_joined: bool,
    /// Behind the last reading that was pushed.
    behind: Place,
    /// Models asked for by hand: first offset, the tick that its reading knows, model.
    promotions: Vec<Promotion>,
    /// One that judges from the next reading on.
    pub promoted: Option<Arc<Model>>,
    /// The snapshot that it is in.
    written: i64,
    /// Up to this closed tick, what it has taught since is kept; as of the beginning it is not known yet.
    kept_until: Option<i64>,
    written_bytes: usize,
    /// Readings judged since.
    judged_since: i64,
    /// It as it is written down, until the batch is passed on in the middle of which it was.
    blob: Option<Blob>,
}

/// A model asked for by hand.
#[derive(Debug, Clone)]
pub struct Promotion {
    pub offset: i64,
    pub from: i64,
    pub model: Arc<Model>,
}

/// A place in its log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    pub next_offset: i64,
    clock: EventClock,
}

/// A batch of which some rows are judged.
#[derive(Debug)]
pub struct Waiting {
    pub batch: Batch,
    /// Whether it is seen again, and not passed on.
    pub is_again: bool,
    /// Before its first row.
    clock: EventClock,
    /// Where the watermark comes into another minute.
    steps: Vec<Step>,
    /// Rows that are judged.
    pub judged: usize,
    /// How far another model agrees on them, by zone.
    pub agreements: BTreeMap<Arc<str>, Agreement>,
}

#[derive(Debug)]
struct Step {
    row: usize,
    /// From that row on.
    minute: i64,
}

/// Rows that know the same.
#[derive(Debug)]
pub struct Run {
    pub from: usize,
    pub to: usize,
    /// The minute that the watermark is in, or is taken to be in.
    pub minute: i64,
}

impl Partition {
    /// One that comes while others are read, when all ticks before `closed` are closed.
    pub fn joining(layout: &Layout, sample: &Sample, closed: i64) -> Partition {
        let mut partition = Partition::new(layout, sample);
        if closed != NO_MINUTE {
            partition.teaches_from = closed * (layout.tick_us / minute_us(layout)) + JOINS_AFTER_MINUTES;
            partition.has_joined = true;
        }
        partition
    }

    pub fn new(layout: &Layout, sample: &Sample) -> Partition {
        Partition {
            sensors: SensorStates::new(layout),
            lifted: NO_MINUTE,
            passed: NO_MINUTE,
            teaches_from: NO_MINUTE,
            training_data: TrainingData { chosen: sample.chosen(), ..TrainingData::default() },
            handed_out: SufficientStats::default(),
            handed_out_rows: Vec::new(),
            queue: VecDeque::new(),
            noted: VecDeque::new(),
            is_note_due: false,
            has_joined: false,
            behind: Place { next_offset: 0, clock: EventClock::at_start() },
            promotions: Vec::new(),
            promoted: None,
            written: NO_MINUTE,
            kept_until: None,
            written_bytes: 0,
            judged_since: 0,
            blob: None,
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The minute that it is in, or is taken to be in, when nothing waits.
    pub fn minute(&self, time: &TimeRules) -> i64 {
        self.behind.clock.minute(time).max(self.lifted)
    }

    /// Takes a batch in; one that is seen again changes what is known, and is not passed on.
    pub fn push(&mut self, mut batch: Batch, is_again: bool, time: &TimeRules) {
        batch.anomalies.clear();
        batch.opinion = Some(Default::default());
        batch.late.clear();
        let clock = &mut self.behind.clock;
        let before = clock.clone();
        let mut steps: Vec<Step> = Vec::new();
        for row in 0..batch.rows() {
            let is_late = clock.see(time, batch.sensor(row), batch.event_times_us[row]);
            batch.late.push(is_late);
            let minute = clock.minute(time);
            if steps.last().is_none_or(|step| step.minute != minute) {
                steps.push(Step { row, minute });
            }
        }
        self.behind.next_offset = self.behind.next_offset.max(batch.progress.next_offset);
        self.queue.push_back(Waiting {
            batch,
            is_again,
            clock: before,
            steps,
            judged: 0,
            agreements: BTreeMap::new(),
        });
    }

    /// Takes note that no reading comes below an offset that was not pushed.
    pub fn pass_over(&mut self, next_offset: i64) {
        self.behind.next_offset = self.behind.next_offset.max(next_offset);
    }

    pub fn abandon(&mut self) {
        self.queue.clear();
    }

    /// Begins a run, of which it is a part from the start. Ticks before `closed` teach nothing any more.
    pub fn join(&mut self, layout: &Layout, closed: i64) {
        if closed != NO_MINUTE {
            self.lifted = self.lifted.max(closed * (layout.tick_us / minute_us(layout)));
        }
    }

    /// Takes note of what a former run noted.
    pub fn recall(&mut self, offset: i64, noted: Noted) {
        self.noted.push_back((offset, noted));
    }

    /// Takes note of a model that was asked for by hand in a former run. They come in the order of offsets.
    pub fn recall_promotion(&mut self, promotion: Promotion) {
        self.promotions.push(promotion);
    }

    /// The model asked for by hand that judges a run of rows which knows the ticks before `known`, unless one from a
    /// later tick than its own does; a note when it is the first such run.
    pub fn promotion(
        &mut self,
        number: i32,
        offset: i64,
        known: i64,
        layout: &Layout,
    ) -> (Option<Promotion>, Option<Note>) {
        let note = self.promoted.take().map(|model| {
            let (version, from_us) = (model.version(), known * layout.tick_us);
            self.promotions.push(Promotion { offset, from: known, model });
            Note::Promoted { partition: number, offset, version, from_us }
        });
        (self.promotions.iter().rfind(|one| one.offset <= offset).cloned(), note)
    }

    /// The next rows of the first batch that know the same.
    pub fn next_run(&mut self, waiting: &Waiting) -> Option<Run> {
        let offsets = &waiting.batch.offsets;
        let from = waiting.judged;
        let offset = *offsets.get(from)?;
        self.lift_as_noted(offset);
        let step = waiting.steps.partition_point(|step| step.row <= from) - 1;
        let mut to = waiting.steps.get(step + 1).map_or(offsets.len(), |step| step.row);
        if let Some((first, _)) = self.noted.front() {
            to = to.min(offsets.partition_point(|offset| offset < first));
        }
        if let Some(next) = self.promotions.iter().find(|one| one.offset > offset) {
            to = to.min(offsets.partition_point(|offset| *offset < next.offset));
        }
        let own_minute = waiting.steps[step].minute;
        Some(Run { from, to, minute: own_minute.max(self.lifted) })
    }

    /// Is lifted as it was in a former run before the reading of an offset.
    fn lift_as_noted(&mut self, offset: i64) {
        while let Some((_, noted)) = self.noted.pop_front_if(|(first, _)| *first <= offset) {
            match noted {
                Noted::Lifted(minute) => self.lifted = self.lifted.max(minute),
                Noted::Joined(minute) => self.teaches_from = minute,
            }
        }
    }

    /// The same where nothing waits; whether there was something to do.
    pub fn lift_at_rest(&mut self) -> bool {
        let before = self.lifted;
        if self.queue.is_empty() {
            self.lift_as_noted(self.behind.next_offset);
        }
        before != self.lifted
    }

    /// Is lifted to a minute. The note goes with the next reading, if one waits.
    pub fn lift(&mut self, partition: i32, minute: i64) -> Option<Note> {
        self.lifted = minute;
        self.is_note_due = self.is_waiting();
        let offset = self.behind.next_offset;
        (!self.is_note_due).then_some(Note::Lifted { partition, offset, minute })
    }

    /// Tells the others that it has come to a minute, with all that it teaches of the ticks before.
    pub fn pass(&mut self, number: i32, minute: i64, layout: &Layout, judged: &mut Judged) {
        if minute <= self.passed {
            return;
        }
        self.passed = minute;
        let tick = tick_of(layout, minute);
        let stats = self.training_data.stats.take_before(tick);
        let is_over = |(_, row): &mut (u64, SampleRow)| layout.tick(row.event_time_us) < tick;
        let rows: Vec<(u64, SampleRow)> = self.training_data.sampled.extract_if(.., is_over).collect();
        self.handed_out.merge(&stats);
        self.handed_out_rows.extend(rows.iter().cloned());
        judged.taught.push(self.taught(number, stats, rows));
    }

    /// Forgets what was handed out of ticks that are closed, but for those that are to be written down with it.
    pub fn forget(&mut self, layout: &Layout, closed: i64, snapshot: i64) {
        let mut needed = if self.written < snapshot { closed.min(snapshot) } else { closed };
        self.kept_until.get_or_insert(closed + stored::TICKS_KEPT);
        if self.is_kept(closed) {
            needed = needed.min(self.written);
        }
        self.handed_out.take_before(needed);
        self.handed_out_rows.retain(|(_, row)| layout.tick(row.event_time_us) >= needed);
    }

    /// The notes that go with a run of rows.
    pub fn notes(
        &mut self,
        partition: i32,
        waiting: &Waiting,
        run: &Run,
    ) -> impl Iterator<Item = Note> + use<> {
        let offset = waiting.batch.offsets[run.from];
        let (lifted, joined) = (std::mem::take(&mut self.is_note_due), std::mem::take(&mut self.has_joined));
        let lifted = lifted.then_some(Note::Lifted { partition, offset, minute: self.lifted });
        let joined = joined.then_some(Note::Joined { partition, offset, minute: self.teaches_from });
        lifted.into_iter().chain(joined)
    }

    /// The place before a run of rows.
    pub fn before(waiting: &Waiting, run: &Run, time: &TimeRules) -> Place {
        let (mut clock, batch) = (waiting.clock.clone(), &waiting.batch);
        for row in 0..run.from {
            clock.see(time, batch.sensor(row), batch.event_times_us[row]);
        }
        Place { next_offset: waiting.batch.offsets[run.from], clock }
    }

    /// The place behind all that was pushed.
    pub fn behind(&self) -> Place {
        self.behind.clone()
    }

    /// Counts readings that were judged.
    pub fn judged(&mut self, readings: usize) {
        self.judged_since += readings as i64;
    }

    fn taught(&self, partition: i32, stats: SufficientStats, rows: Vec<(u64, SampleRow)>) -> Taught {
        let written = if self.blob.is_some() { NO_MINUTE } else { self.written };
        Taught { partition, minute: self.passed, stats, rows, written, written_bytes: self.written_bytes }
    }
}
