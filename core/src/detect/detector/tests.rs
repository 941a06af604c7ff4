//! The same log gives the same verdicts: by any number of workers, in whatever order news travels between them, however
//! often they stop and start.

use std::collections::{BTreeSet, VecDeque};

use citytide_domain::{Domain, MINUTE_US};

use super::*;
use crate::batch::example::{Row, batch};
use crate::detect::{Note, SnapshotRate, Taught};

const PARTITIONS: i32 = 4;
const MINUTES: i64 = 130;
const ZONES: [&str; 3] = ["Downtown", "Harbour", "Tech Hub"];
/// Apart enough for one training after the first.
const EVERY_US: i64 = 90 * MINUTE_US;

/// Numbers that look like chance (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f64) as usize
    }
}

/// The logs of some partitions: disorder, readings that are late or of long ago, broken rules, missing values, a sensor
/// whose clock is a day ahead, and silences of some minutes.
fn logs(seed: u64) -> Vec<Vec<Row>> {
    let mut numbers = Numbers(seed);
    let mut logs = vec![Vec::new(); PARTITIONS as usize];
    for second in (0..MINUTES * 60).step_by(2) {
        let partition = numbers.below(PARTITIONS as usize);
        let is_silent = partition == 3 && (40 * 60..52 * 60).contains(&second);
        if is_silent {
            continue;
        }
        let zone = ZONES[numbers.below(3)].to_owned();
        let sensor = format!("{zone}{}", partition + 4 * numbers.below(5));
        let mut values: Vec<f64> = [20.0, 50.0, 80.0, 60.0, 150.0]
            .iter()
            .map(|usual| (usual * (1.0 + 0.2 * (numbers.next() - 0.5)) * 10.0).round() / 10.0)
            .collect();
        match numbers.below(60) {
            0 => values[3] = 120.0,
            1 => values[numbers.below(5)] = f64::NAN,
            2 => values[0] += 15.0,
            _ => {}
        }
        let back = match numbers.below(40) {
            0 => 90,
            1 => 1200,
            _ => numbers.below(4) as i64,
        };
        let log = &mut logs[partition];
        let offset = log.last().map_or(0, |last: &Row| last.offset + 1 + numbers.below(2) as i64);
        log.push(Row { offset, at_us: (second - back) * 1_000_000, zone, sensor, values });
    }
    logs
}

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new(&Domain::smart_city()))
}

fn detector() -> Detector {
    let domain = Domain::smart_city();
    let mut detector =
        Detector::new(layout(), TimeRules::new(&domain, &layout()), Sample::of(&domain), EVERY_US);
    // Partitions are written down anew within a tick.
    detector.scoring.snapshot_rate = SnapshotRate { readings: 40, bytes_per_reading: 10_000 };
    detector
}

/// What is said of each reading: score and confidence to the bit, the model's version, severity and reasons.
type Said = BTreeMap<(i32, i64), (u32, u32, i32, Option<(String, String)>)>;

fn take_down(said: &mut Said, batches: &[Batch]) {
    for batch in batches {
        let opinion = batch.opinion.as_ref().expect("it was judged");
        assert_eq!(opinion.scores.len(), batch.rows());
        for row in 0..batch.rows() {
            let anomaly = batch.anomalies.iter().find(|anomaly| anomaly.row as usize == row);
            let why = anomaly.map(|one| (one.severity.as_str().to_owned(), one.reasons.clone()));
            let verdict = (
                opinion.scores[row].to_bits(),
                opinion.confidences[row].to_bits(),
                opinion.versions[row],
                why,
            );
            let before = said.insert((batch.partition, batch.offsets[row]), verdict);
            assert!(before.is_none(), "a reading is judged once");
        }
    }
}

fn train(job: &TrainJob, version: i32) -> Option<StoredModel> {
    let layout = layout();
    let model = Model::train(version, &layout, &job.sample, job.until_us).ok()?;
    Some(StoredModel { version, bytes: Arc::new(model.to_bytes(&layout)) })
}

/// The models that were trained in a test: one for each tick, since another training of the same rows would be numbered
/// anew.
#[derive(Default)]
struct Trained(BTreeMap<i64, Option<StoredModel>>);

impl Trained {
    fn of(&mut self, job: &TrainJob) -> Option<StoredModel> {
        let version = self.0.len() as i32 + 1;
        self.0.entry(job.from).or_insert_with(|| train(job, version)).clone()
    }
}

/// All at once.
fn at_once(logs: &[Vec<Row>], trained: &mut Trained) -> Said {
    let (mut detector, mut said) = (detector(), Said::new());
    for (partition, log) in logs.iter().enumerate() {
        log.chunks(64).for_each(|rows| detector.push(batch(partition as i32, rows)));
    }
    loop {
        take_down(&mut said, &detector.settle());
        if detector.jobs.is_empty() {
            return said;
        }
        for job in std::mem::take(&mut detector.jobs) {
            let model = trained.of(&job);
            detector.put_in_force(job.from, model);
        }
    }
}

/// Workers whose news arrives when it pleases, in order between any two of them.
struct Run<'a> {
    trained: &'a mut Trained,
    scoring: Vec<ScoringState>,
    baselines: Vec<Baselines>,
    schedule: Schedule,
    jobs: Vec<TrainJob>,
    taught: Vec<Vec<VecDeque<Taught>>>,
    directives: Vec<Vec<VecDeque<Directive>>>,
    is_over: bool,
}

fn worker_of(zone: &str, workers: usize) -> usize {
    zone.len() % workers
}

/// What a database would hold.
#[derive(Default)]
struct Stored {
    said: Said,
    /// By partition, offset from which on nothing is judged.
    next: [i64; PARTITIONS as usize],
    blobs: Vec<Blob>,
    /// The last snapshot that is whole.
    whole_us: Option<i64>,
    past: Past,
}

impl<'a> Run<'a> {
    fn begin(workers: usize, stored: &mut Stored, logs: &[Vec<Row>], trained: &'a mut Trained) -> Run<'a> {
        let mut detector = detector();
        let mut offsets = BTreeMap::new();
        if let Some(as_of_us) = stored.whole_us {
            let mut blobs: BTreeMap<(String, String), Blob> = BTreeMap::new();
            for blob in stored.blobs.iter().filter(|blob| match blob.kind {
                BlobKind::Zone => blob.as_of_us <= as_of_us,
                _ => blob.as_of_us == as_of_us,
            }) {
                blobs.insert((blob.kind.as_str().to_owned(), blob.key.clone()), blob.clone());
            }
            let blobs: Vec<Blob> = blobs.into_values().collect();
            offsets = detector.read(as_of_us, &blobs).expect("just written");
        }
        (0..PARTITIONS).for_each(|partition| detector.join(partition));
        detector.recall(stored.past.clone());
        for (partition, log) in logs.iter().enumerate() {
            let from = offsets.get(&(partition as i32)).copied().unwrap_or(0);
            let is_judged = |row: &&Row| (from..stored.next[partition]).contains(&row.offset);
            let judged: Vec<Row> = log.iter().filter(is_judged).cloned().collect();
            judged.chunks(50).for_each(|rows| detector.push_again(batch(partition as i32, rows)));
        }
        assert!(detector.run().is_empty(), "nothing is passed on twice");
        let mut run = Run {
            trained,
            scoring: Vec::new(),
            baselines: Vec::new(),
            jobs: std::mem::take(&mut detector.jobs),
            taught: vec![vec![VecDeque::new(); workers]; workers],
            directives: vec![vec![VecDeque::new(); workers]; workers],
            schedule: detector.schedule,
            is_over: false,
        };
        for worker in 0..workers {
            let mine = |partition: i32| partition as usize % workers == worker;
            run.scoring.push(detector.scoring.split_off(workers, 0..PARTITIONS, mine));
            let mut baselines = detector.baselines.of_zones(|zone| worker_of(zone, workers) == worker);
            (0..PARTITIONS).for_each(|partition| baselines.join(partition));
            run.baselines.push(baselines);
        }
        for worker in 0..workers {
            let mut judged = Judged::default();
            run.scoring[worker].begin(&mut judged);
            run.keep(worker, judged, stored);
        }
        run
    }

    /// What a worker did.
    fn keep(&mut self, worker: usize, mut judged: Judged, stored: &mut Stored) {
        let workers = self.scoring.len();
        for taught in judged.taught.drain(..) {
            let parts = Baselines::by_worker(taught, workers, |zone| worker_of(zone, workers));
            for (to, part) in parts.into_iter().enumerate() {
                self.taught[worker][to].push_back(part);
            }
        }
        for note in judged.notes {
            match note {
                Note::Lifted { partition, offset, minute } => {
                    stored.past.lifts.push((partition, offset, Noted::Lifted(minute)));
                }
                Note::Joined { .. } => unreachable!("all are there from the start"),
                Note::Model { from_us, version } => {
                    let bytes = self.trained.0.values().flatten().find(|one| one.version == version);
                    let model = bytes.map(|one| Model::from_bytes(version, &layout(), &one.bytes));
                    stored.past.models.insert(from_us, model.map(|model| Arc::new(model.expect("whole"))));
                }
                Note::Promoted { partition, offset, version, from_us } => {
                    let one = self.trained.0.values().flatten().find(|one| one.version == version);
                    let bytes = &one.expect("it was asked for").bytes;
                    let model = Arc::new(Model::from_bytes(version, &layout(), bytes).expect("whole"));
                    stored.past.promotions.push((partition, offset, from_us, model));
                    stored.past.promotions.sort_by_key(|one| (one.0, one.1));
                }
                Note::Agreed { .. } => {}
            }
        }
        for batch in &judged.batches {
            stored.next[batch.partition as usize] = batch.progress.next_offset;
        }
        stored.past.lifts.sort_by_key(|lift| (lift.0, lift.1));
        stored.blobs.append(&mut judged.blobs);
        take_down(&mut stored.said, &judged.batches);
    }

    /// Something happens somewhere.
    fn step(&mut self, numbers: &mut Numbers, stored: &mut Stored) {
        let workers = self.scoring.len();
        let (from, to) = (numbers.below(workers), numbers.below(workers));
        let mut judged = Judged::default();
        match numbers.below(4) {
            0 => self.scoring[to].advance(&mut judged),
            1 => {
                // Directives may overtake each other.
                let waiting = &mut self.directives[from][to];
                let which = numbers.below(waiting.len().clamp(1, 3));
                if let Some(directive) = waiting.remove(which) {
                    self.scoring[to].direct(directive, |zone| worker_of(zone, workers) == to, &mut judged);
                }
            }
            2 => {
                if let Some(taught) = self.taught[from][to].pop_front() {
                    self.learn(to, taught, numbers, stored);
                }
            }
            _ => {
                if numbers.below(8) == 0 && !self.jobs.is_empty() {
                    let job = self.jobs.remove(0);
                    let model = self.trained.of(&job);
                    self.tell(0, &Directive::Model { from: job.from, model });
                }
            }
        }
        self.keep(to, judged, stored);
        let is_quiet = self.taught.iter().flatten().all(VecDeque::is_empty)
            && self.directives.iter().flatten().all(VecDeque::is_empty);
        if self.is_over && is_quiet {
            let furthest = self.baselines[0].furthest();
            let needed = furthest.saturating_sub(KNOWN_AFTER_MINUTES);
            let behind: Vec<i32> = self.baselines[0].behind(needed).map(|(partition, _)| partition).collect();
            let lift = |partition| Directive::Lift { partition, minute: needed };
            let waiting: Vec<i32> = self.scoring.iter().flat_map(ScoringState::waiting).collect();
            let at_rest = behind.into_iter().filter(|partition| !waiting.contains(partition));
            at_rest.for_each(|partition| self.tell(0, &lift(partition)));
        }
    }

    fn tell(&mut self, from: usize, directive: &Directive) {
        self.directives[from].iter_mut().for_each(|to| to.push_back(directive.clone()));
    }

    fn learn(&mut self, worker: usize, taught: Taught, numbers: &mut Numbers, stored: &mut Stored) {
        let layout = layout();
        let baselines = &mut self.baselines[worker];
        baselines.take(&taught);
        if worker == 0 {
            self.schedule.take(taught.rows);
            if let Some(blob) = self.schedule.end_snapshot(baselines.written()) {
                stored.whole_us = Some(blob.as_of_us);
                stored.blobs.push(blob);
            }
        }
        let Some(mut lesson) = baselines.close(&layout, worker) else { return };
        if worker == 0 {
            let due = self.schedule.close(lesson.after, lesson.before);
            lesson.awaited = due.iter().map(|job| job.from).collect();
            self.jobs.extend(due);
            lesson.snapshot = numbers.below(6) == 0 && self.schedule.begin_snapshot(lesson.before + 1);
        }
        self.tell(worker, &Directive::Lesson(lesson));
    }
}

/// Reads the logs in random steps by random numbers of workers, and stops at random.
fn in_pieces(seed: u64, logs: &[Vec<Row>], trained: &mut Trained) -> (Stored, usize) {
    let mut numbers = Numbers(seed);
    let mut stored = Stored::default();
    let mut from_snapshots = 0;
    let rows: usize = logs.iter().map(Vec::len).sum();
    while stored.said.len() < rows {
        let workers = 1 + numbers.below(3);
        from_snapshots += usize::from(stored.whole_us.is_some());
        let mut read = stored.next;
        let mut run = Run::begin(workers, &mut stored, logs, trained);
        let mut steps = numbers.below(4_000);
        while steps > 0 && stored.said.len() < rows {
            steps -= 1;
            let partition = numbers.below(PARTITIONS as usize);
            let worker = partition % workers;
            let waits = run.scoring[worker].waiting().any(|one| one == partition as i32);
            let log = &logs[partition];
            let next = log.partition_point(|row| row.offset < read[partition]);
            if !waits && next < log.len() && numbers.below(4) == 0 {
                let to = log.len().min(next + 1 + numbers.below(40));
                run.scoring[worker].push(batch(partition as i32, &log[next..to]));
                read[partition] = log[to - 1].offset + 1;
            }
            let at_end = |(log, read): (&Vec<Row>, &i64)| log.last().is_none_or(|last| last.offset < *read);
            run.is_over = logs.iter().zip(&read).all(at_end);
            run.step(&mut numbers, &mut stored);
        }
    }
    (stored, from_snapshots)
}

#[test]
fn the_same_log_gives_the_same_verdicts_by_any_workers_in_any_order_and_after_any_stops() {
    for seed in 0..3 {
        let logs = logs(seed);
        let mut trained = Trained::default();
        let expected = at_once(&logs, &mut trained);
        assert!(trained.0.values().flatten().count() >= 2, "models were trained");
        assert!(expected.values().any(|(_, _, version, why)| *version == 2 && why.is_some()));
        let (mut restored, mut anew) = (0, 0);
        for order in 0..4 {
            let (found, from_snapshots) = in_pieces(100 * seed + order, &logs, &mut trained);
            restored += from_snapshots;
            let partitions = found.blobs.iter().filter(|blob| blob.kind == BlobKind::Partition);
            let times: BTreeSet<(&str, i64)> =
                partitions.clone().map(|blob| (blob.key.as_str(), blob.as_of_us)).collect();
            anew += partitions.count() - times.len();
            let end = |partition: i32| logs[partition as usize].last().expect("readings").offset;
            let lifts = &found.past.lifts;
            assert!(lifts.iter().all(|lift| lift.1 > end(lift.0)), "nobody was left behind: {lifts:?}");
            assert_eq!(found.said.len(), expected.len());
            for (key, verdict) in &expected {
                assert_eq!(found.said.get(key), Some(verdict), "seed {seed}, order {order}, {key:?}");
            }
        }
        assert!(restored > 0, "no run began with a snapshot");
        assert!(anew > 0, "no partition was written down twice as of a tick");
    }
}

#[test]
fn a_partition_that_is_left_behind_is_judged_again_as_it_was() {
    let mut logs = logs(7);
    // One partition brings all that it has an hour late.
    let (late, others) = logs.split_last_mut().expect("four");
    let mut whole = detector();
    let mut trained = Trained::default();
    let mut said = Said::new();
    let mut judged_notes = Vec::new();
    let first: Vec<Row> = late.iter().take(50).cloned().collect();
    whole.push(batch(3, &first));
    for (partition, log) in others.iter().enumerate() {
        whole.push(batch(partition as i32, log));
    }
    let finish = |detector: &mut Detector, trained: &mut Trained, said: &mut Said, notes: &mut Vec<Note>| loop {
        take_down(said, &detector.settle());
        notes.append(&mut detector.notes);
        if detector.jobs.is_empty() {
            break;
        }
        for job in std::mem::take(&mut detector.jobs) {
            detector.put_in_force(job.from, trained.of(&job));
        }
    };
    finish(&mut whole, &mut trained, &mut said, &mut judged_notes);
    whole.push(batch(3, &late[50..]));
    finish(&mut whole, &mut trained, &mut said, &mut judged_notes);
    let lifts: Vec<(i32, i64, Noted)> = judged_notes
        .iter()
        .filter_map(|note| match note {
            Note::Lifted { partition, offset, minute } => Some((*partition, *offset, Noted::Lifted(*minute))),
            _ => None,
        })
        .collect();
    let last = lifts.iter().rfind(|lift| lift.1 <= late[50].offset).expect("it was left behind");
    assert_eq!((last.0, last.1), (3, late[49].offset + 1));
    assert!(matches!(last.2, Noted::Lifted(minute) if minute > 100), "{last:?}");

    let mut again = detector();
    again.recall(Past { lifts, ..Past::default() });
    logs.iter().enumerate().for_each(|(partition, log)| again.push(batch(partition as i32, log)));
    let (mut found, mut notes) = (Said::new(), Vec::new());
    finish(&mut again, &mut trained, &mut found, &mut notes);
    for (key, verdict) in &said {
        assert_eq!(found.get(key), Some(verdict), "{key:?}");
    }
}

#[test]
fn a_partition_of_dead_letters_alone_is_lifted_as_it_was_once_they_are_passed_over() {
    let logs = logs(7);
    // It was lifted behind four dead letters, and later once more.
    let lifts = vec![(3, 4, Noted::Lifted(60)), (3, 9, Noted::Lifted(1_000_000))];
    let mut again = detector();
    again.recall(Past { lifts, ..Past::default() });
    for (partition, log) in logs.iter().take(3).enumerate() {
        again.push(batch(partition as i32, log));
    }
    let mut judged = || again.run().len();
    assert_eq!(judged(), 0, "all wait for the partition");
    again.pass_over(3, 9);
    let mut trained = Trained::default();
    let mut said = Said::new();
    loop {
        take_down(&mut said, &again.run());
        if again.jobs.is_empty() {
            break;
        }
        for job in std::mem::take(&mut again.jobs) {
            again.put_in_force(job.from, trained.of(&job));
        }
    }
    assert_eq!(said.len(), logs.iter().take(3).map(Vec::len).sum::<usize>(), "it is not waited for");
}

#[test]
fn a_snapshot_of_another_program_or_domain_is_refused_with_the_reason() {
    for kind in BlobKind::ALL {
        let state = b"nothing of the kind".to_vec();
        let blob = Blob { kind, key: "0".to_owned(), as_of_us: 0, state };
        let refusal = detector().read(0, &[blob]).expect_err("it is nothing of the kind").to_string();
        assert!(refusal.contains("reading the detector's"), "{refusal}");
        assert_eq!(BlobKind::named(kind.as_str()), Some(kind));
    }
    let written = |domain: &Domain| {
        let mut schedule = Schedule::new(Arc::new(Layout::new(domain)), EVERY_US, Sample::of(domain));
        assert!(schedule.begin_snapshot(5));
        assert!(schedule.close(0, 5).is_empty());
        assert!(schedule.end_snapshot(4).is_none(), "not everybody is in it");
        schedule.end_snapshot(5).expect("it is whole")
    };
    let mut other = Domain::smart_city();
    other.metrics.remove(0);
    let refusal = detector().read(0, &[written(&other)]).expect_err("other metrics").to_string();
    assert!(refusal.contains("the domain has temperature, humidity"), "{refusal}");
    // A metric more at the end is no other domain.
    let mut fewer = Domain::smart_city();
    fewer.detector.logarithmic.clear();
    fewer.metrics.pop();
    detector().read(0, &[written(&fewer)]).expect("the first metrics are the same");
}
