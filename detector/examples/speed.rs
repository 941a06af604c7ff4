//! What a reading costs: nanoseconds each for the forest alone, for everything but the forest, and for everything.
//!
//! `speed [ROUNDS]`: a city of eight zones in four partitions, sensors dealt as the generator deals them, batches of
//! 4,096 rows of one partition, a reading a minute from each sensor, one in twenty anomalous. The machine may be busy with
//! other things: of many rounds the fastest is what the work costs, the median what this machine made of it.

use std::sync::Arc;
use std::time::Instant;

use citytide_detector::forest::{Block, LANES};
use citytide_detector::{
    Layout, Model, Rows, Sample, Scorer, SensorStates, TrainingData, Verdicts, ZoneModels,
};
use citytide_domain::Domain;

const ZONES: usize = 8;
const PARTITIONS: usize = 4;
const BATCH_ROWS: usize = 4096;
const MINUTE_US: i64 = 60_000_000;
/// Minutes of readings before anything is measured.
const WARM_MINUTES: usize = 150;
/// Minutes of which some sensors are odd in the same way.
const ODD_MINUTES: u64 = 30;

fn main() {
    let rounds = std::env::args().nth(1).map_or(60, |rounds| rounds.parse().expect("a number of rounds"));
    for sensors in [10_000, 400] {
        let mut city = City::new(sensors);
        city.warm_up();
        println!(
            "{sensors} sensors, {:.2} % flagged, ns a reading:       least  median",
            100.0 * city.flagged_share()
        );
        if sensors == 10_000 {
            let block = city.some_block();
            let model = city.model.clone().expect("trained");
            let mut times: Vec<f64> = (0..rounds * 10)
                .map(|_| {
                    let started = now();
                    for _ in 0..BATCH_ROWS / LANES {
                        std::hint::black_box(model.forest().score(std::hint::black_box(&block)));
                    }
                    nanoseconds(started) / BATCH_ROWS as f64
                })
                .collect();
            print("the forest alone", &mut times);
            let mut times: Vec<f64> = (0..20)
                .map(|version| {
                    let started = now();
                    city.train(version);
                    nanoseconds(started)
                })
                .collect();
            print("fitting it, a fit", &mut times);
        }
        let model = city.model.take();
        let (mut without, _) = city.measured(rounds);
        print("everything but the forest", &mut without);
        city.model = model;
        let (mut with, mut closing) = city.measured(rounds);
        print("everything", &mut with);
        print("closing, a zone's minute", &mut closing);
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn now() -> Instant {
    Instant::now()
}

fn nanoseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64
}

fn print(what: &str, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    println!("  {what:28} {:>20.0} {:>8.0}", times[0], times[times.len() / 2]);
}

/// The rows of a batch.
#[derive(Default)]
struct Batch {
    offsets: Vec<i64>,
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
    verdicts: Verdicts,
    /// By partition: sensors, their state, rows so far.
    partitions: Vec<(Vec<usize>, SensorStates, i64)>,
    /// By sensor: what lasts of its noise, and the last values.
    lasting: Vec<([f64; 5], [f64; 5])>,
    numbers: Numbers,
    batch: Batch,
    now_us: i64,
    rows: usize,
    flagged: usize,
}

impl City {
    fn new(sensors: usize) -> City {
        let layout = Arc::new(Layout::new(&Domain::smart_city()));
        let mut partitions: Vec<_> =
            (0..PARTITIONS).map(|_| (Vec::new(), SensorStates::new(&layout), 0)).collect();
        for sensor in 0..sensors {
            partitions[(sensor % ZONES + sensor / ZONES) % PARTITIONS].0.push(sensor);
        }
        City {
            scorer: Scorer::new(layout.clone()),
            zones: ZoneModels::default(),
            zone_names: (0..ZONES).map(|zone| Arc::from(format!("Zone {zone}"))).collect(),
            model: None,
            training_data: TrainingData {
                sample: Sample::new(10_000, 7 * 1440 * MINUTE_US),
                ..TrainingData::default()
            },
            verdicts: Verdicts::default(),
            partitions,
            lasting: vec![([0.0; 5], [0.0; 5]); sensors],
            numbers: Numbers(1),
            batch: Batch { metrics: vec![Vec::new(); layout.metrics.len()], ..Batch::default() },
            now_us: 0,
            rows: 0,
            flagged: 0,
            layout,
        }
    }

    fn warm_up(&mut self) {
        let mut trained = false;
        while self.partitions[0].2 < (WARM_MINUTES * self.partitions[0].0.len()) as i64 {
            self.round();
            if !trained && self.training_data.sample.len() >= 5_000 {
                self.train(1);
                trained = true;
            }
        }
        self.train(1);
        (self.rows, self.flagged) = (0, 0);
        self.measured(10);
    }

    fn train(&mut self, version: i32) {
        let model = Model::train(version, &self.layout, &self.training_data.sample, self.now_us);
        self.model = Some(model.expect("rows enough"));
    }

    fn flagged_share(&self) -> f64 {
        self.flagged as f64 / self.rows as f64
    }

    fn measured(&mut self, rounds: usize) -> (Vec<f64>, Vec<f64>) {
        let rounds: Vec<_> = (0..rounds).map(|_| self.round()).collect();
        let closing = rounds.iter().map(|round| round.1).filter(|time| time.is_finite());
        (rounds.iter().map(|round| round.0).collect(), closing.collect())
    }

    /// A batch of each partition; nanoseconds a reading, and for closing a zone's minute.
    fn round(&mut self) -> (f64, f64) {
        let mut spent = 0.0;
        let mut until = i64::MAX;
        for partition in 0..PARTITIONS {
            let last_us = self.fill(partition);
            self.now_us = self.now_us.max(last_us);
            until = until.min(self.layout.tick(last_us));
            let batch = &self.batch;
            let rows = Rows {
                partition: partition as i32,
                offsets: &batch.offsets,
                event_times_us: &batch.event_times_us,
                zones: &batch.zones,
                zone_names: &self.zone_names,
                sensors: &batch.sensors,
                sensors_from: 0,
                sensor_ends: &batch.sensor_ends,
                metrics: &batch.metrics,
                late: &[],
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
            spent += nanoseconds(started);
            self.rows += BATCH_ROWS;
            self.flagged += self.verdicts.flagged.len();
        }
        let closed = self.training_data.stats.take_before(until);
        let minutes = closed.by_tick.len();
        let started = now();
        self.zones.close(&self.layout, &closed);
        let closing = nanoseconds(started) / minutes as f64;
        (spent / (PARTITIONS * BATCH_ROWS) as f64, closing)
    }

    /// The next rows of a partition; the last one's event time.
    fn fill(&mut self, partition: usize) -> i64 {
        let (sensors, _, next) = &mut self.partitions[partition];
        let batch = &mut self.batch;
        batch.offsets.clear();
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
            batch.offsets.push(offset);
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
