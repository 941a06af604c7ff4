//! Scoring a batch: rows in offset order through rules, state, members and forest to verdicts and lessons.
//!
//! ```text
//!  sixteen rows ─ observe (sensor by sensor) ─ features ─▶ forest, all at once
//!                      │                                     │
//!                      └─ statistics ─ tails ─▶ surprises ◀──┘ ─▶ the largest decides ─▶ verdict, lessons
//! ```

use std::sync::Arc;

use crate::close::surprise_bin;
use crate::explain::{Cause, reasons};
use crate::forest::{Block, LANES};
use crate::layout::{BLOCK, Lanes, Layout};
use crate::lessons::{Lessons, MOMENT_ROOTS, PAIRS, ROWS_MAX, ZoneLessons};
use crate::member::{CERTAIN, FIRST_TAILED, MEMBERS, Member, Surprises, TAILED};
use crate::model::Model;
use crate::models::ZoneModels;
use crate::observe::{LEVEL_CLIP, Scene, observe, statistics};
use crate::sample::{Sample, SampleRow};
use crate::sensors::{SensorBlock, SensorStates};
use crate::tails::{BINS, bin, chi_quantile};
use crate::verdict::{FlaggedBy, Severity, Verdict, Verdicts, score_of, severity_of};
use crate::zone::{BlockView, Level, ZoneModel, pair};

/// Rows of one partition in offset order, a struct of arrays.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The partition.
    pub partition: i32,
    /// Offsets of the rows.
    pub offsets: &'a [i64],
    /// Event times, microseconds of the Unix epoch.
    pub event_times_us: &'a [i64],
    /// Zones, as indices into `zone_names`.
    pub zones: &'a [u32],
    /// Names of the zones.
    pub zone_names: &'a [Arc<str>],
    /// Sensor ids, one after the other.
    pub sensors: &'a [u8],
    /// Where the first row's sensor id begins.
    pub sensors_from: u32,
    /// End of each row's sensor id.
    pub sensor_ends: &'a [u32],
    /// Values by metric, then row; NaN where there is none.
    pub metrics: &'a [Vec<f64>],
    /// Whether a row is late; empty where none is. Late rows do not teach.
    pub late: &'a [bool],
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.event_times_us.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.event_times_us.is_empty()
    }

    fn sensor(&self, row: usize) -> &[u8] {
        let start = if row == 0 { self.sensors_from } else { self.sensor_ends[row - 1] } as usize;
        &self.sensors[start..self.sensor_ends[row] as usize]
    }
}

/// Silence of a sensor, in ticks, after which its slow averages and runs begin anew.
const SILENCE_TICKS: i64 = 60;
/// Residuals are clipped to this for the forest.
const FOREST_CLIP: f32 = 10.0;
/// What the forest's score is turned into for its tail: from 0.3 up, forty to one.
const FOREST_SCORE: (f32, f32) = (0.3, 40.0);
/// The forest's tail is the roughest guess of all: its surprise counts for so much.
const FOREST_TRUST: f32 = 0.6;
/// Second moments are taught by residuals clipped to this, of readings whose distance is below the χ² of this chance.
const MOMENT_CLIP: f32 = 4.0;
const MOMENT_CHANCE: f64 = 0.00125;
/// Factor from a mean absolute to a standard deviation, and the clip of one reading's share in the slow scale.
const MEAN_TO_DEVIATION: f32 = 1.2533;
const SLOW_SCALE_CLIP: f32 = 4.0;

/// What readings have taught and no model knows yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learnt {
    /// For the zones' models.
    pub lessons: Lessons,
    /// For the next training.
    pub sample: Sample,
}

/// Scores batches; holds nothing that must survive a restart.
#[derive(Debug)]
pub struct Scorer {
    layout: Arc<Layout>,
    /// Squared distance up to which a reading teaches second moments.
    near: f32,
    /// Stands in for zones without a model.
    nothing: ZoneModel,
    views: Vec<ZoneView>,
    /// By zone: tick and index of its views in this batch, the last used one first.
    views_by_zone: Vec<Vec<(i64, usize)>>,
    block: Block,
    scenes: Vec<Scene>,
    /// State of the sensors of the rows under way.
    found: [Option<usize>; LANES],
    lanes: [Lane; LANES],
    muted: [bool; MEMBERS],
}

/// What the rows of a zone and tick are held against, and what they teach.
#[derive(Debug)]
struct ZoneView {
    zone: u32,
    tick: i64,
    blocks: Vec<BlockView>,
    lessons: ZoneLessons,
}

/// One of the sixteen rows under way.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    view: usize,
    surprises: Surprises,
    statistics: [f32; TAILED],
    teaches: bool,
}

impl Scorer {
    /// A scorer for a domain.
    pub fn new(layout: Arc<Layout>) -> Scorer {
        let freedom = layout.metrics.len().min(BLOCK);
        Scorer {
            near: chi_quantile(freedom, MOMENT_CHANCE).powi(2) as f32,
            nothing: ZoneModel::new(&layout),
            views: Vec::new(),
            views_by_zone: Vec::new(),
            block: Block::default(),
            scenes: vec![Scene::EMPTY; LANES * layout.blocks()],
            found: [None; LANES],
            lanes: [Lane::default(); LANES],
            muted: [false; MEMBERS],
            layout,
        }
    }

    /// Takes a member out, to find out what it is good for.
    pub fn mute(&mut self, member: Member) {
        self.muted[member as usize] = true;
    }

    /// Scores rows of one partition, in offset order. `verdicts` is filled anew, what the rows teach is added to
    /// `learnt`. Without a model only rules speak; the rows teach all the same.
    pub fn score(
        &mut self,
        rows: Rows<'_>,
        zones: &ZoneModels,
        model: Option<&Model>,
        states: &mut SensorStates,
        verdicts: &mut Verdicts,
        learnt: &mut Learnt,
    ) {
        verdicts.clear();
        let nothing = std::mem::replace(&mut self.nothing, ZoneModel::none());
        self.views_by_zone.clear();
        self.views_by_zone.resize_with(rows.zone_names.len(), Vec::new);
        let known: Vec<&ZoneModel> =
            rows.zone_names.iter().map(|zone| zones.get(zone).map_or(&nothing, |zone| &**zone)).collect();
        let mut numbers: Vec<Option<u32>> = vec![None; rows.zone_names.len()];
        for first in (0..rows.len()).step_by(LANES) {
            let count = LANES.min(rows.len() - first);
            // All are looked up before the first is seen, so that the misses of the cache overlap.
            for lane in 0..count {
                let row = first + lane;
                let zone = rows.zones[row] as usize;
                let number = *numbers[zone].get_or_insert_with(|| states.zone(&rows.zone_names[zone]));
                self.found[lane] = states.find(number, rows.sensor(row));
            }
            for lane in 0..count {
                let row = first + lane;
                self.observe(&rows, row, lane, known[rows.zones[row] as usize], states);
            }
            let forest = model.map(|model| model.forest().score_first(&self.block, count));
            for lane in 0..count {
                let zone = known[self.views[self.lanes[lane].view].zone as usize];
                // Without a forest there is no statistic, and its tail learns nothing.
                self.lanes[lane].statistics[TAILED - 1] = forest
                    .as_ref()
                    .map_or(f32::NAN, |scores| ((scores[lane] - FOREST_SCORE.0) * FOREST_SCORE.1).max(0.0));
                self.judge(&rows, first + lane, lane, zone, model, verdicts, learnt);
            }
        }
        for view in self.views.drain(..).filter(|view| view.lessons.rows > 0) {
            learnt.lessons.add(view.tick, &rows.zone_names[view.zone as usize], view.lessons);
        }
        self.nothing = nothing;
    }

    /// The view of a zone in the tick of an event time.
    #[inline]
    fn view_of(&mut self, zone: u32, event_time_us: i64, known: &ZoneModel) -> usize {
        let tick = self.layout.tick(event_time_us);
        let views = &mut self.views_by_zone[zone as usize];
        match views.first() {
            Some(&(last, view)) if last == tick => return view,
            _ => {}
        }
        if let Some(at) = views.iter().position(|(other, _)| *other == tick) {
            views.swap(0, at);
            return views[0].1;
        }
        // A tick has one level, that of its middle.
        let middle_us = tick * self.layout.tick_us + self.layout.tick_us / 2;
        let blocks = (0..self.layout.blocks()).map(|block| known.view(&self.layout, block, middle_us));
        views.insert(0, (tick, self.views.len()));
        let lessons = ZoneLessons::new(self.layout.blocks());
        self.views.push(ZoneView { zone, tick, blocks: blocks.collect(), lessons });
        self.views.len() - 1
    }

    #[inline]
    fn observe(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        lane: usize,
        known: &ZoneModel,
        states: &mut SensorStates,
    ) {
        let at_us = rows.event_times_us[row];
        let at_view = self.view_of(rows.zones[row], at_us, known);
        let view = &self.views[at_view];
        let blocks = self.layout.blocks();
        let found = self.found[lane];
        let mut is_old = false;
        let mut readings = 0;
        if let Some(number) = found {
            let sensor = &mut states.sensors[number];
            is_old = at_us < sensor.last_at_us;
            readings = sensor.readings;
            if !is_old {
                let silence_us = at_us.saturating_sub(sensor.last_at_us);
                if readings > 0 && silence_us > SILENCE_TICKS * self.layout.tick_us {
                    let state = &mut states.blocks[number * blocks..(number + 1) * blocks];
                    state.iter_mut().for_each(SensorBlock::after_silence);
                }
                sensor.last_at_us = at_us;
                sensor.readings = readings.saturating_add(1);
            }
        }
        let mut surprises = [0.0; MEMBERS];
        let mut largest = [0.0f32; TAILED];
        let mut is_broken = false;
        let mut values = [f64::NAN; BLOCK];
        for block in 0..blocks {
            let metrics = self.layout.block(block);
            for (value, column) in values.iter_mut().zip(&rows.metrics[block * BLOCK..]) {
                *value = column[row];
            }
            let block_view = &view.blocks[block];
            let moments = &known.blocks[block].moments[block_view.hour];
            let recent_moments = &known.blocks[block].recent_moments[block_view.hour];
            let mut apart = SensorBlock::NEW;
            let state = match found {
                Some(number) if is_old => {
                    apart = states.blocks[number * blocks + block];
                    &mut apart
                }
                Some(number) => &mut states.blocks[number * blocks + block],
                None => &mut apart,
            };
            let scene = observe(block_view, recent_moments, metrics, &values, readings, state);
            let statistics = statistics(&scene, block_view, moments, recent_moments);
            for (largest, statistic) in largest.iter_mut().zip(statistics) {
                *largest = largest.max(statistic);
            }
            is_broken |= scene.broken != 0;
            if scene.missed != 0 {
                surprises[Member::Dropout as usize] = CERTAIN;
            }
            let stuck = &mut surprises[Member::Stuck as usize];
            *stuck = scene.stuck.iter().fold(*stuck, |stuck, one| stuck.max(*one));
            for (at, residual) in scene.residual.iter().enumerate().take(metrics.len()) {
                let feature = block * BLOCK + at;
                if feature < self.layout.forest_metrics() {
                    self.block.set(lane, feature, residual.clamp(-FOREST_CLIP, FOREST_CLIP));
                }
            }
            self.scenes[lane * blocks + block] = scene;
        }
        if is_broken {
            surprises[Member::Rule as usize] = CERTAIN;
        }
        let features = self.layout.forest_metrics();
        for (at, statistic) in largest[2..TAILED - 1].iter().enumerate() {
            self.block.set(lane, features + at, statistic.min(FOREST_CLIP));
        }
        let is_late = rows.late.get(row).copied().unwrap_or(false);
        let teaches = !(is_broken || is_late || is_old) && found.is_some();
        self.lanes[lane] = Lane { view: at_view, surprises, statistics: largest, teaches };
    }

    #[expect(clippy::too_many_arguments, reason = "one row's way from what was seen to what is said")]
    #[inline]
    fn judge(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        lane: usize,
        zone: &ZoneModel,
        model: Option<&Model>,
        verdicts: &mut Verdicts,
        learnt: &mut Learnt,
    ) {
        let Lane { mut surprises, statistics, teaches, .. } = self.lanes[lane];
        if zone.level > Level::Rules {
            for (at, statistic) in statistics.iter().enumerate() {
                surprises[FIRST_TAILED + at] = zone.tails[at].surprise(*statistic);
            }
            surprises[Member::Forest as usize] *= FOREST_TRUST;
        }
        for (surprise, is_muted) in surprises.iter_mut().zip(self.muted) {
            *surprise = if is_muted { 0.0 } else { *surprise };
        }
        if teaches {
            let surprise = most(&surprises);
            self.teach(lane, surprise);
            if zone.level > Level::Rules {
                self.sample(rows, row, lane, surprise, &mut learnt.sample);
            }
        }
        if model.is_none() || zone.level == Level::Rules {
            // Nothing is known: only rules speak.
            surprises[Member::Rule as usize + 1..].fill(0.0);
        }
        let surprise = most(&surprises);
        let breaks_rule = surprises[Member::Rule as usize] > 0.0;
        let is_odd = most(&surprises[1..]) >= zone.threshold;
        verdicts.surprises.push(surprise);
        verdicts.scores.push(if breaks_rule { 1.0 } else { score_of(surprise) });
        let doubt = zone.doubt(surprise);
        verdicts.confidences.push(match (breaks_rule, is_odd) {
            (true, _) => 1.0,
            (false, true) => 1.0 - doubt,
            (false, false) => doubt,
        });
        let flagged_by = match (breaks_rule, is_odd) {
            (true, true) => FlaggedBy::Both,
            (true, false) => FlaggedBy::Rules,
            (false, true) => FlaggedBy::Model,
            (false, false) => return,
        };
        verdicts.flagged.push(Verdict {
            row: row as u32,
            severity: severity_of(surprise, breaks_rule),
            flagged_by,
            surprises,
            reasons: self.explain(rows, row, lane, zone, model, &surprises, is_odd),
        });
    }

    /// Puts a row into the training's sample, if it is chosen.
    #[inline]
    fn sample(&mut self, rows: &Rows<'_>, row: usize, lane: usize, surprise: f32, sample: &mut Sample) {
        let Some(&offset) = rows.offsets.get(row) else { return };
        let hash = Sample::hash(rows.partition, offset);
        let event_time_us = rows.event_times_us[row];
        if sample.takes(hash, event_time_us) {
            let features = 0..self.layout.forest_features();
            let is_severe = severity_of(surprise, false) == Severity::High;
            let features = features.map(|feature| self.block.get(lane, feature)).collect();
            sample.add(hash, SampleRow { event_time_us, is_severe, features });
        }
    }

    /// Asks again without each metric.
    #[expect(clippy::too_many_arguments, reason = "everything that the verdict came from")]
    fn explain(
        &self,
        rows: &Rows<'_>,
        row: usize,
        lane: usize,
        zone: &ZoneModel,
        model: Option<&Model>,
        surprises: &Surprises,
        is_odd: bool,
    ) -> String {
        let blocks = self.layout.blocks();
        let scenes = &self.scenes[lane * blocks..][..blocks];
        let views = &self.views[self.lanes[lane].view].blocks;
        let found_by = Member::ALL[1..]
            .iter()
            .copied()
            .max_by(|a, b| surprises[*a as usize].total_cmp(&surprises[*b as usize]))
            .filter(|_| is_odd);
        let surprise = |block: usize, scene: &Scene| {
            let (view, known) = (&views[block], &zone.blocks[block]);
            let found = statistics(scene, view, &known.moments[view.hour], &known.recent_moments[view.hour]);
            let surprises = found.iter().zip(&zone.tails);
            surprises.map(|(statistic, tail)| tail.surprise(*statistic)).fold(0.0, f32::max)
        };
        let isolated =
            model.filter(|_| found_by == Some(Member::Forest)).map(|model| self.isolated(lane, model));
        let mut causes = Vec::with_capacity(self.layout.metrics.len());
        for (block, scene) in scenes.iter().enumerate() {
            let with_all = match found_by {
                None | Some(Member::Dropout | Member::Stuck | Member::Forest) => 0.0,
                Some(_) => surprise(block, scene),
            };
            for (at, metric) in self.layout.block(block).iter().enumerate() {
                let actual = rows.metrics[block * BLOCK + at][row];
                let drop = match found_by {
                    None => 0.0,
                    Some(Member::Dropout) => f32::from(scene.missed >> at & 1),
                    Some(Member::Stuck) => scene.stuck[at],
                    Some(Member::Forest) => isolated
                        .as_ref()
                        .map_or(0.0, |drops| drops.get(block * BLOCK + at).copied().unwrap_or(0.0)),
                    Some(_) => (with_all - surprise(block, &scene.without(at))).max(0.0),
                };
                causes.push(Cause { metric, actual, scene, lane: at, drop });
            }
        }
        reasons(&mut causes, found_by)
    }

    /// How much less isolated the forest finds a row with each of its metrics at the baseline.
    fn isolated(&self, lane: usize, model: &Model) -> Vec<f32> {
        let (features, metrics) = (self.layout.forest_features(), self.layout.forest_metrics());
        let mut block = Block::default();
        for other in 0..=metrics {
            for feature in (0..features).filter(|feature| feature + 1 != other) {
                block.set(other, feature, self.block.get(lane, feature));
            }
        }
        let scores = model.forest().score_first(&block, metrics + 1);
        scores[1..=metrics].iter().map(|without| (scores[0] - without).max(0.0)).collect()
    }

    /// What the row under way teaches its zone and tick.
    fn teach(&mut self, lane: usize, surprise: f32) {
        let Lane { view, statistics, .. } = self.lanes[lane];
        let ZoneView { blocks: views, lessons, .. } = &mut self.views[view];
        if lessons.rows >= ROWS_MAX {
            return;
        }
        lessons.rows += 1;
        for (at, statistic) in statistics.iter().enumerate().filter(|(_, statistic)| !statistic.is_nan()) {
            lessons.statistics.0[at * BINS + bin(*statistic)] += 1;
        }
        lessons.surprises.0[surprise_bin(surprise)] += 1;
        let is_near = statistics[1] * statistics[1] < self.near;
        let is_near_recent = statistics[2] * statistics[2] < self.near;
        let blocks = views.len();
        for (block, view) in views.iter().enumerate() {
            let scene = &self.scenes[lane * blocks + block];
            let taught = &mut lessons.blocks[block];
            let metrics = self.layout.block(block).len();
            for (at, metric) in self.layout.block(block).iter().enumerate() {
                let is = |bits: u8| u32::from(bits >> at & 1);
                if is(scene.present) == 0 {
                    continue;
                }
                taught.chances[at] += is(scene.chance);
                taught.repeated[at] += is(scene.repeated);
                taught.in_long_run[at] += is(scene.in_long_run);
                taught.present[at] += 1;
                taught.beyond[at] += is(scene.beyond);
                let off = scene.residual[at].clamp(-LEVEL_CLIP, LEVEL_CLIP) * scene.spread[at];
                let level = scene.level[at] + f64::from(off);
                taught.level[at] += quanta(level * metric.per_quantum);
            }
            if is_near {
                taught.near += 1;
                add_products(&mut taught.products, &scene.residual, metrics);
                for at in 0..metrics {
                    let slow =
                        (scene.slow[at].abs() * MEAN_TO_DEVIATION).min(SLOW_SCALE_CLIP * view.slow_scale[at]);
                    taught.slow[at] += i64::from((slow * (MOMENT_ROOTS * MOMENT_ROOTS)) as i32);
                }
                if is_near_recent {
                    taught.near_recent += 1;
                    add_products(&mut taught.recent_products, &scene.recent, metrics);
                }
            }
        }
    }
}

/// A level in whole quanta, within what a sum has room for.
#[inline]
fn quanta(level: f64) -> i64 {
    const MOST: f64 = (1i64 << 43) as f64;
    level.clamp(-MOST, MOST) as i64
}

/// Products of the first `metrics` lanes, each lane taken in roots of the moments' quantum.
#[inline]
fn add_products(sums: &mut [i64], of: &Lanes, metrics: usize) {
    let mut whole = [0i32; BLOCK];
    for lane in 0..BLOCK {
        whole[lane] = (of[lane].clamp(-MOMENT_CLIP, MOMENT_CLIP) * MOMENT_ROOTS) as i32;
    }
    let sums: &mut [i64; PAIRS] = sums.try_into().expect("a sum for each pair");
    for row in 0..metrics.min(BLOCK) {
        for column in row..metrics.min(BLOCK) {
            sums[pair(row, column)] += i64::from(whole[row] * whole[column]);
        }
    }
}

#[inline]
fn most(surprises: &[f32]) -> f32 {
    surprises.iter().fold(0.0, |most, one| most.max(*one))
}
