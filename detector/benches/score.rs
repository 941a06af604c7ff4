//! Score: what the detector costs, per reading: the forest alone, everything but the forest, and everything; fitting a
//! forest, and closing a zone's minute.
//!
//! A city of eight zones in four partitions, sensors distributed as by the generator, batches of 4,096 rows of one
//! partition, a reading a minute from each sensor, one in twenty anomalous.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use citytide_detector::forest::{Block, LANES};
use citytide_detector::{
    Layout, Model, Rows, Sample, Scorer, SensorStates, TrainingData, Verdicts, ZoneModels,
};
use citytide_domain::{DAY_US, Domain, MINUTE_US};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const ZONES: usize = 8;
const PARTITIONS: usize = 4;
const BATCH_ROWS: usize = 4096;
/// Minutes of readings before anything is measured.
const WARM_MINUTES: usize = 150;
/// Minutes of which some sensors are odd in the same way.
const ODD_MINUTES: u64 = 30;

fn score(criterion: &mut Criterion) {
    for sensors in [10_000, 400] {
        let mut city = City::new(sensors);
        city.warm_up();
        if sensors == 10_000 {
            forest(criterion, &mut city);
        }
        let mut group = criterion.benchmark_group("score");
        group.throughput(Throughput::Elements((PARTITIONS * BATCH_ROWS) as u64));
        group.bench_function(BenchmarkId::new("everything", sensors), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| city.round().scoring).sum());
        });
        let model = city.model.take();
        group.bench_function(BenchmarkId::new("everything but the forest", sensors), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| city.round().scoring).sum());
        });
        city.model = model;
        group.finish();
        criterion.bench_function(&format!("close/a zone's minute/{sensors}"), |bencher| {
            bencher.iter_custom(|minutes| city.closing(minutes));
        });
    }
}

fn forest(criterion: &mut Criterion, city: &mut City) {
    let (block, model) = (city.some_block(), city.model.clone().expect("trained"));
    let mut group = criterion.benchmark_group("forest");
    group.throughput(Throughput::Elements(LANES as u64));
    group.bench_function("score", |bencher| bencher.iter(|| model.forest().score(black_box(&block))));
    group.throughput(Throughput::Elements(1));
    group.sample_size(20);
    group.bench_function("fit", |bencher| bencher.iter(|| city.train(1)));
}

criterion_group!(benches, score);
criterion_main!(benches);

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn now() -> Instant {
    Instant::now()
}

/// What a round took.
struct Round {
    scoring: Duration,
    closing: Duration,
    /// How many zones' minutes were closed.
    minutes: u32,
}

/// The rows of a batch.
#[derive(Default)]
struct Batch {
    event_times_us: Vec<i64>,
    zones: Vec<u32>,
    sensors: Vec<u8>,
    sensor_ends: Vec<u32>,
    metrics: Vec<Vec<f64>>,
}

struct City {
    layout: Arc<Layout>,
    scorer: Scorer,
    zones: ZoneModels,
    zone_names: Vec<Arc<str>>,
    model: Option<Model>,
    training_data: TrainingData,
    sample: Sample,
    verdicts: Verdicts,
    /// By partition: sensors, their state, rows so far.
    partitions: Vec<(Vec<usize>, SensorStates, i64)>,
    /// By sensor: what lasts of its noise, and the last values.
    lasting: Vec<([f64; 5], [f64; 5])>,
    numbers: Numbers,
    batch: Batch,
    now_us: i64,
}

impl City {
    fn new(sensors: usize) -> City {
        let layout = Arc::new(Layout::new(&Domain::smart_city()));
        let mut partitions: Vec<_> =
            (0..PARTITIONS).map(|_| (Vec::new(), SensorStates::new(&layout), 0)).collect();
        for sensor in 0..sensors {
            partitions[(sensor % ZONES + sensor / ZONES) % PARTITIONS].0.push(sensor);
        }
        let sample = Sample::new(10_000, 7 * DAY_US);
        City {
            scorer: Scorer::new(layout.clone()),
            zones: ZoneModels::default(),
            zone_names: (0..ZONES).map(|zone| Arc::from(format!("Zone {zone}"))).collect(),
            model: None,
            training_data: TrainingData { chosen: sample.chosen(), ..TrainingData::default() },
            sample,
            verdicts: Verdicts::default(),
            partitions,
            lasting: vec![([0.0; 5], [0.0; 5]); sensors],
            numbers: Numbers(1),
            batch: Batch { metrics: vec![Vec::new(); layout.metrics.len()], ..Batch::default() },
            now_us: 0,
            layout,
        }
    }

    fn warm_up(&mut self) {
        let mut trained = false;
        while self.partitions[0].2 < (WARM_MINUTES * self.partitions[0].0.len()) as i64 {
            self.round();
            if !trained && self.sample.len() >= 5_000 {
                self.train(1);
                trained = true;
            }
        }
        self.train(1);
    }

    fn train(&mut self, version: i32) {
        let model = Model::train(version, &self.layout, &self.sample, self.now_us);
        self.model = Some(model.expect("rows enough"));
    }

    /// What closing so many minutes of zones takes.
    fn closing(&mut self, minutes: u64) -> Duration {
        let (mut took, mut closed) = (Duration::ZERO, 0);
        while closed < minutes {
            let round = self.round();
            (took, closed) = (took + round.closing, closed + u64::from(round.minutes));
        }
        took.mul_f64(minutes as f64 / closed as f64)
    }

    /// Scores a batch of each partition.
    fn round(&mut self) -> Round {
        let mut scoring = Duration::ZERO;
        let mut until = i64::MAX;
        for partition in 0..PARTITIONS {
            let last_us = self.fill(partition);
            self.now_us = self.now_us.max(last_us);
            until = until.min(self.layout.tick(last_us));
            let batch = &self.batch;
            let rows = Rows {
                event_times_us: &batch.event_times_us,
                zones: &batch.zones,
                zone_names: &self.zone_names,
                sensors: &batch.sensors,
                sensor_ends: &batch.sensor_ends,
                metrics: &batch.metrics,
                late: &[],
                passed: self.layout.tick(batch.event_times_us[0]),
                range: (0, batch.event_times_us.len()),
            };
            let states = &mut self.partitions[partition].1;
            let started = now();
            self.scorer.score(
                rows,
                &self.zones,
                self.model.as_ref(),
                states,
                &mut self.verdicts,
                &mut self.training_data,
            );
            scoring += started.elapsed();
            self.training_data.sampled.drain(..).for_each(|(hash, row)| self.sample.add(hash, row));
        }
        let closed = self.training_data.stats.take_before(until);
        let minutes = closed.by_tick.len() as u32;
        let started = now();
        self.zones.close(&self.layout, &closed);
        Round { scoring, closing: started.elapsed(), minutes }
    }

    /// The next rows of a partition; the last one's event time.
    fn fill(&mut self, partition: usize) -> i64 {
        let (sensors, _, next) = &mut self.partitions[partition];
        let batch = &mut self.batch;
        batch.event_times_us.clear();
        batch.zones.clear();
        batch.sensors.clear();
        batch.sensor_ends.clear();
        batch.metrics.iter_mut().for_each(Vec::clear);
        let count = sensors.len() as i64;
        let mut at_us = 0;
        for _ in 0..BATCH_ROWS {
            let offset = *next;
            *next += 1;
            at_us = offset / count * MINUTE_US + offset % count * MINUTE_US / count;
            let sensor = sensors[(offset % count) as usize];
            batch.event_times_us.push(at_us);
            batch.zones.push((sensor % ZONES) as u32);
            batch.sensors.extend_from_slice((sensor + 1).to_string().as_bytes());
            batch.sensor_ends.push(batch.sensors.len() as u32);
            let minute = (at_us / MINUTE_US) as u64;
            let values = values(&mut self.numbers, &mut self.lasting[sensor], sensor as u64, minute);
            for (column, value) in batch.metrics.iter_mut().zip(values) {
                column.push(value);
            }
        }
        at_us
    }

    /// Features of sixteen rows like those of the sample.
    fn some_block(&mut self) -> Block {
        let mut block = Block::default();
        for lane in 0..LANES {
            for feature in 0..self.layout.forest_features() {
                block.set(lane, feature, (self.numbers.normal() * 1.2) as f32);
            }
        }
        block
    }
}

/// Means and deviations of temperature, humidity, AQI, noise and traffic; their decimals.
const USUAL: [(f64, f64, f64); 5] =
    [(15.0, 0.6, 10.0), (58.0, 2.2, 10.0), (62.0, 6.0, 1.0), (55.0, 2.5, 10.0), (115.0, 12.0, 1.0)];

/// What a sensor reads: a level of its own, noise half of which lasts, now and then something odd for half an hour.
fn values(numbers: &mut Numbers, lasting: &mut ([f64; 5], [f64; 5]), sensor: u64, minute: u64) -> [f64; 5] {
    let mut values: [f64; 5] = std::array::from_fn(|metric| {
        let (mean, deviation, decimals) = USUAL[metric];
        lasting.0[metric] = 0.95 * lasting.0[metric] + 0.22 * numbers.normal();
        let own = Numbers(sensor * 8 + metric as u64).normal();
        let noise = own + lasting.0[metric] + 0.7 * numbers.normal();
        ((mean + deviation * noise) * decimals).round() / decimals
    });
    let mut chance = Numbers((minute + sensor * 7) / ODD_MINUTES * 100_003 + sensor);
    let metric = (chance.next() % 5) as usize;
    match chance.next() % 100 {
        0 => values[metric] += 8.0 * USUAL[metric].1,
        1 | 2 => values[metric] = lasting.1[metric],
        3 => values[metric] = f64::NAN,
        4 => values[metric] += 3.0 * USUAL[metric].1,
        _ => {}
    }
    lasting.1 = values;
    values
}

/// Random numbers: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn normal(&mut self) -> f64 {
        (0..4).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() * 1.732 - 3.464
    }
}
