//! What is read back and replayed is, bit by bit, what a run that went on knows.

use std::collections::BTreeMap;

use citytide_detector::{Level, ZoneModels};
use citytide_domain::Domain;

use super::*;
use crate::batch::example::{Row, batch};
use crate::detect::HOLDS_AFTER_MS;

const MINUTE_US: i64 = 60_000_000;
const STEP_MS: u64 = 100;
const ZONES: [&str; 3] = ["Downtown", "Harbour", "Tech Hub"];
const WORKERS: usize = 2;

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

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() * bound as f64) as u64
    }
}

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new(&Domain::smart_city()))
}

fn sample() -> Sample {
    Sample::of(&Domain::smart_city())
}

/// A run of two workers, as the operators drive it.
struct Live {
    layout: Arc<Layout>,
    states: Vec<ScoringState>,
    baselines: Vec<Baselines>,
    past: Past,
}

fn worker_of(zone: &str) -> usize {
    zone.len() % WORKERS
}

impl Live {
    fn new() -> Live {
        let layout = layout();
        Live {
            states: (0..WORKERS).map(|_| ScoringState::new(layout.clone(), sample())).collect(),
            baselines: (0..WORKERS).map(|_| Baselines::new(&layout)).collect(),
            past: Past::default(),
            layout,
        }
    }

    /// What is written down before the first row of an epoch.
    fn remember(&mut self, epoch: u64) -> Vec<Blob> {
        let mut blobs = Vec::new();
        for (worker, scoring) in self.states.iter_mut().enumerate() {
            scoring.advance_to(epoch);
            blobs.extend(scoring.blobs(|zone| worker_of(zone) == worker));
        }
        for (worker, baselines) in self.baselines.iter_mut().enumerate() {
            baselines.advance_to(epoch);
            blobs.push(baselines.blob(&worker.to_string()));
        }
        blobs
    }

    fn epoch(&mut self, epoch: u64, batches: &[Batch], closed_before: Option<i64>) {
        for scoring in &mut self.states {
            scoring.advance_to(epoch);
        }
        for batch in batches {
            self.states[batch.partition as usize % WORKERS].score(&mut batch.clone());
        }
        for worker in 0..WORKERS {
            let (stats, _) = self.states[worker].take_training_data();
            for ((minute, zone), stats) in stats.by_tick {
                self.baselines[worker_of(&zone)].add(zone, minute, stats);
            }
        }
        if let Some(before) = closed_before {
            let closing = Closing { epoch, before, holds_from: epoch + HOLDS_AFTER_MS };
            self.past.closings.push_back(closing);
            for baselines in &mut self.baselines {
                let closed = baselines.close(closing);
                self.states.iter_mut().for_each(|scoring| {
                    scoring.expect(closing.holds_from, Change::Closed(closed.clone()));
                });
            }
        }
    }

    fn train(&mut self, epoch: u64, until_us: i64) {
        let mut rows = sample();
        self.states.iter().for_each(|scoring| rows.merge(&scoring.training_data.sample));
        let Ok(model) = Model::train(1, &self.layout, &rows, until_us) else { return };
        let (holds_from, model) = (epoch + HOLDS_AFTER_MS, Arc::new(model));
        self.past.models.push(InForce { holds_from, model: model.clone() });
        self.states.iter_mut().for_each(|scoring| scoring.expect(holds_from, Change::Model(model.clone())));
    }
}

fn zones(models: &ZoneModels) -> BTreeMap<String, Vec<u8>> {
    models.iter().map(|(zone, model)| (zone.to_string(), model.to_bytes())).collect()
}

/// Epochs of readings with disorder, late ones, broken rules and missing values; each with what it closes.
fn history(seed: u64) -> Vec<(u64, Vec<Batch>, Option<i64>)> {
    let mut numbers = Numbers(seed);
    let mut offsets = [0; 4];
    let mut closed = 0;
    let mut history = Vec::new();
    for step in 0..180u64 {
        // A third of a minute of event time in each epoch.
        let now_us = step as i64 * MINUTE_US / 3;
        // Some epochs have no reading, and may close a minute all the same.
        let count = if numbers.below(5) == 0 { 0 } else { 4 };
        let batches = (0..count).filter(|_| numbers.below(8) > 0).collect::<Vec<i32>>();
        let batches = batches.into_iter().map(|partition| {
            let rows: Vec<Row> = (0..12 + numbers.below(12))
                .map(|_| {
                    let mut values: Vec<f64> = [20.0, 50.0, 80.0, 60.0, 150.0]
                        .iter()
                        .map(|usual| (usual * (1.0 + 0.2 * (numbers.next() - 0.5)) * 10.0).round() / 10.0)
                        .collect();
                    if numbers.below(40) == 0 {
                        values[3] = 120.0;
                    }
                    if numbers.below(30) == 0 {
                        values[numbers.below(5) as usize] = f64::NAN;
                    }
                    let back_us = numbers.below(90) as i64 * MINUTE_US / 60;
                    let zone = ZONES[numbers.below(3) as usize].to_owned();
                    let sensor = format!("{zone}{}", partition as u64 + 4 * numbers.below(5));
                    offsets[partition as usize] += 1 + numbers.below(2) as i64;
                    Row { offset: offsets[partition as usize], at_us: now_us - back_us, zone, sensor, values }
                })
                .collect();
            let mut batch = batch(partition, &rows);
            batch.late = rows.iter().map(|_| numbers.below(25) == 0).collect();
            batch
        });
        let batches = batches.collect();
        let before = (now_us - 5_000_000).div_euclid(MINUTE_US);
        let closes = (before > closed && numbers.below(3) > 0).then_some(before);
        closed = closes.unwrap_or(closed);
        history.push(((step + 1) * STEP_MS, batches, closes));
    }
    history
}

#[test]
fn what_is_read_back_and_replayed_is_what_a_run_that_went_on_knows() {
    for (seed, remembered_at) in [(1, 20), (2, 100), (3, 120), (4, 175), (5, 0)] {
        let history = history(seed);
        let mut live = Live::new();
        let mut blobs = Vec::new();
        for (step, (epoch, batches, closed_before)) in history.iter().enumerate() {
            if step == remembered_at {
                blobs = live.remember(*epoch);
            }
            live.epoch(*epoch, batches, *closed_before);
            if step == 110 {
                live.train(*epoch, step as i64 * MINUTE_US / 3);
            }
        }

        let from = history[remembered_at].0;
        let mut memory = Memory::new(layout(), sample());
        blobs.iter().for_each(|blob| memory.read(blob).expect("just written"));
        let mut past = live.past.clone();
        past.closings.retain(|closing| closing.epoch >= from);
        memory.begin(past);
        for (epoch, batches, _) in history.iter().filter(|(epoch, ..)| *epoch >= from) {
            for batch in batches {
                memory.see(*epoch, &mut batch.clone());
            }
        }
        memory.end();

        // One more epoch lets everything hold that was decided.
        let last = history[history.len() - 1].0 + 2 * HOLDS_AFTER_MS;
        memory.scoring.advance_to(last);
        memory.baselines.advance_to(last);
        let mut known = Baselines::new(&memory.layout);
        for worker in 0..WORKERS {
            live.states[worker].advance_to(last);
            live.baselines[worker].advance_to(last);
            assert_eq!(zones(&live.states[worker].zones), zones(&memory.scoring.zones), "seed {seed}");
            assert_eq!(live.states[worker].model, memory.scoring.model, "seed {seed}");
            for (partition, states) in &live.states[worker].partitions {
                assert_eq!(states.to_bytes(), memory.scoring.partitions[partition].to_bytes(), "seed {seed}");
            }
            known.merge(live.baselines[worker].of_zones(|_| true));
        }
        assert_eq!(known.blob("").state, memory.baselines.blob("").state, "seed {seed}");
        assert!(memory.scoring.model.is_some(), "a model was trained");
        let levels: Vec<Level> = memory.scoring.zones.iter().map(|(_, zone)| zone.level).collect();
        assert_eq!(levels, [Level::Zone; 3], "the zones have warmed up");
    }
}

#[test]
fn state_of_another_program_or_domain_is_refused_with_the_reason() {
    let mut memory = Memory::new(layout(), sample());
    for kind in BlobKind::ALL {
        let blob = Blob { kind, key: "0".to_owned(), state: b"nothing of the kind".to_vec() };
        let refusal = memory.read(&blob).expect_err("it is nothing of the kind").to_string();
        assert!(refusal.contains("reading") || refusal.contains("state"), "{refusal}");
        assert_eq!(BlobKind::named(kind.as_str()), Some(kind));
    }
    let mut other = Domain::smart_city();
    other.metrics.remove(0);
    let blob = Baselines::new(&Layout::new(&other)).blob("0");
    let refusal = memory.read(&blob).expect_err("other metrics").to_string();
    assert!(refusal.contains("the domain has temperature, humidity"), "{refusal}");
    // A metric more at the end is no other domain.
    let mut fewer = Domain::smart_city();
    fewer.detector.logarithmic.clear();
    fewer.metrics.pop();
    memory.read(&Baselines::new(&Layout::new(&fewer)).blob("0")).expect("the first metrics are the same");
}
