//! Scoring a batch: rows in offset order through rules, state, members and forest to verdicts and statistics.
//!
//! ```text
//!  a block of rows ─ observe (sensor by sensor) ─ features ─▶ forest, all at once
//!                      │                                     │
//!                      └─ statistics ─ tails ─▶ surprises ◀──┘ ─▶ the largest decides ─▶ verdict
//!                      └─ statistics
//! ```

use std::sync::Arc;

use crate::close::surprise_bin;
use crate::explain::{Cause, reasons};
use crate::forest::{Block, LANES};
use crate::layout::{BLOCK, Layout, SLOW_FEATURES};
use crate::member::{CERTAIN, FIRST_TAILED, MEMBERS, Member, Surprises, TAILED};
use crate::model::Model;
use crate::models::ZoneModels;
use crate::observe::{BlockRules, RowStats, Scene, greatest, observe, statistics};
use crate::sample::{Chosen, Sample, SampleRow};
use crate::sensors::{SensorBlock, SensorStates};
use crate::stats::{ROWS_MAX, SufficientStats, ZoneStats};
use crate::tails::chi_quantile;
use crate::teach::{MOMENT_CHANCE, MOMENT_READINGS, ZoneView};
use crate::verdict::{Beside, FlaggedBy, Severity, Verdict, Verdicts, score_of, severity_of};
use crate::zone::{BlockView, Level, ZoneModel};

/// Rows of one partition in offset order, a struct of arrays, of which a part is to be scored.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Event times, microseconds of the Unix epoch.
    pub event_times_us: &'a [i64],
    /// Zones, as indices into `zone_names`.
    pub zones: &'a [u32],
    /// Names of the zones.
    pub zone_names: &'a [Arc<str>],
    /// Sensor ids, one after the other.
    pub sensors: &'a [u8],
    /// End of each row's sensor id.
    pub sensor_ends: &'a [u32],
    /// Values by metric, then row; NaN where there is none.
    pub metrics: &'a [Vec<f64>],
    /// Whether a row is late; empty where none is. Late rows do not teach.
    pub late: &'a [bool],
    /// Ticks before this one have ended for the partition's watermark: their rows do not teach.
    pub passed: i64,
    /// The first of the rows that are meant, and the one behind the last.
    pub range: (usize, usize),
}

impl Rows<'_> {
    fn sensor(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.sensor_ends[row - 1] } as usize;
        &self.sensors[start..self.sensor_ends[row] as usize]
    }
}

/// Silence of a sensor, in ticks, after which its slow averages and runs begin anew.
const SILENCE_TICKS: i64 = 60;
/// What a run's surprise begins with: that there are values which repeat. What that of all runs together begins with,
/// for each metric: that any of them may be among those that repeat.
const RUN_FIRST: f32 = 0.7;
const RUNS_FIRST: f32 = 0.5;
/// Residuals are clipped to this for the forest.
const FOREST_CLIP: f32 = 10.0;
/// What the forest's score is turned into for its tail: from 0.3 up, forty to one.
const FOREST_SCORE: (f32, f32) = (0.3, 40.0);
/// The forest's tail is the roughest guess of all: its surprise counts for so much.
const FOREST_TRUST: f32 = 0.6;
/// Readings of a sensor with which its drift counts for half.
const DRIFT_FIRST_READINGS: f32 = 120.0;
/// A row that lies further ahead of its partition's watermark than this teaches nothing: its clock is wrong.
const AHEAD_TICKS: i64 = 60;

/// What the readings of a partition have taught and no model knows yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingData {
    /// For the zones' models.
    pub stats: SufficientStats,
    /// For the training's sample, with the hashes by which they were chosen.
    pub sampled: Vec<(u64, SampleRow)>,
    /// Which rows are chosen.
    pub chosen: Chosen,
}

/// Scores batches; holds nothing that must survive a restart.
#[derive(Debug)]
pub struct Scorer {
    layout: Arc<Layout>,
    /// By block.
    rules: Vec<BlockRules>,
    /// Squared distance up to which a reading teaches second moments.
    near: f32,
    /// What the surprise of all runs together begins with.
    runs_first: f32,
    /// Stands in for zones without a model.
    nothing: ZoneModel,
    views: Vec<ZoneView>,
    /// By zone: tick and index of its views in this batch, the last used one first.
    views_by_zone: Vec<Vec<(i64, usize)>>,
    block: Block,
    /// Those of its rows that the forest finds odd.
    odd: Block,
    scenes: Vec<Scene>,
    /// What the blocks of the row under way teach.
    taught: Vec<RowStats>,
    /// State of the sensors of the rows under way.
    found: [Option<usize>; LANES],
    lanes: [Lane; LANES],
    muted: [bool; MEMBERS],
    /// A model that is asked too and decides nothing.
    beside: Option<Arc<Model>>,
}

/// One of the rows under way.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    view: usize,
    surprises: Surprises,
    teaches: bool,
    /// The sensor's.
    hash: u64,
}

impl Scorer {
    /// A scorer for a domain.
    pub fn new(layout: Arc<Layout>) -> Scorer {
        let freedom = layout.metrics.len().min(BLOCK);
        Scorer {
            near: chi_quantile(freedom, MOMENT_CHANCE).powi(2) as f32,
            runs_first: RUNS_FIRST * layout.metrics.len() as f32,
            nothing: ZoneModel::new(&layout),
            views: Vec::new(),
            views_by_zone: Vec::new(),
            block: Block::default(),
            odd: Block::default(),
            scenes: vec![Scene::EMPTY; LANES * layout.blocks()],
            taught: Vec::with_capacity(layout.blocks()),
            rules: (0..layout.blocks()).map(|block| BlockRules::new(layout.block(block))).collect(),
            found: [None; LANES],
            lanes: [Lane::default(); LANES],
            muted: [false; MEMBERS],
            beside: None,
            layout,
        }
    }

    /// Takes a member out, to find out what it is good for.
    pub fn mute(&mut self, member: Member) {
        self.muted[member as usize] = true;
    }

    /// Asks another model too, from here on: what would be said with it in force is in [`Verdicts::beside`]. It decides
    /// and teaches nothing.
    pub fn ask_beside(&mut self, model: Option<Arc<Model>>) {
        self.beside = model;
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
        training_data: &mut TrainingData,
    ) {
        verdicts.clear();
        let nothing = std::mem::replace(&mut self.nothing, ZoneModel::none());
        self.views_by_zone.iter_mut().for_each(Vec::clear);
        self.views_by_zone.resize_with(rows.zone_names.len(), Vec::new);
        let known: Vec<&ZoneModel> =
            rows.zone_names.iter().map(|zone| zones.get(zone).map_or(&nothing, |zone| &**zone)).collect();
        let mut numbers: Vec<Option<u32>> = vec![None; rows.zone_names.len()];
        let (from, to) = rows.range;
        for first in (from..to).step_by(LANES) {
            let count = LANES.min(to - first);
            // All are looked up before the first is seen, so that the misses of the cache overlap.
            for lane in 0..count {
                let row = first + lane;
                let zone = rows.zones[row] as usize;
                let number = *numbers[zone].get_or_insert_with(|| states.zone(&rows.zone_names[zone]));
                self.found[lane] = states.find(number, rows.sensor(row));
            }
            for lane in 0..count {
                let row = first + lane;
                self.observe(&rows, row, lane, known[rows.zones[row] as usize], states, training_data);
            }
            let forest = model.map(|model| model.forest().score_odd(&self.block, count, &mut self.odd));
            let beside = self.beside.as_ref();
            let beside = beside.map(|model| model.forest().score_odd(&self.block, count, &mut self.odd));
            for lane in 0..count {
                let zone = known[self.views[self.lanes[lane].view].zone as usize];
                if let Some(scores) = &beside {
                    verdicts.beside.push(self.verdict_beside(lane, scores[lane], zone));
                }
                if let Some(scores) = &forest {
                    self.isolation(lane, forest_statistic(scores[lane]), zone);
                }
                self.judge(&rows, first + lane, lane, zone, model, verdicts, training_data);
            }
        }
        for mut view in self.views.drain(..).filter(|view| !view.stats.is_empty()) {
            view.teach_scales();
            training_data.stats.add(view.tick, &rows.zone_names[view.zone as usize], view.stats);
        }
        self.nothing = nothing;
    }

    /// The view of a zone in the tick of an event time.
    #[inline]
    fn view_of(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        known: &ZoneModel,
        training_data: &TrainingData,
    ) -> usize {
        let (zone, event_time_us) = (rows.zones[row], rows.event_times_us[row]);
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
        self.new_view(zone, &rows.zone_names[zone as usize], tick, known, training_data)
    }

    #[cold]
    fn new_view(
        &mut self,
        zone: u32,
        name: &Arc<str>,
        tick: i64,
        known: &ZoneModel,
        training_data: &TrainingData,
    ) -> usize {
        // A tick has one level, that of its middle.
        let middle_us = tick * self.layout.tick_us + self.layout.tick_us / 2;
        let blocks = (0..self.layout.blocks()).map(|block| known.view(&self.layout, block, middle_us));
        let blocks: Vec<BlockView> = blocks.collect();
        let (first_us, last_us) = (tick * self.layout.tick_us, (tick + 1) * self.layout.tick_us - 1);
        self.views_by_zone[zone as usize].insert(0, (tick, self.views.len()));
        let readings = known.rows / known.ticks.max(1);
        let chosen = &training_data.chosen;
        let taught = training_data.stats.get(tick, name).map_or(0, |stats| stats.rows);
        self.views.push(ZoneView {
            zone,
            tick,
            goes_together: blocks.iter().any(|block| block.together.iter().any(|share| *share > 0.0)),
            blocks,
            moments_skip: ((readings / MOMENT_READINGS + 1).next_power_of_two() - 1) as u32,
            sample_until: chosen.greatest(first_us).max(chosen.greatest(last_us)),
            room: ROWS_MAX.saturating_sub(taught),
            is_stale: known.is_stale(tick),
            stats: ZoneStats::new(self.layout.blocks()),
        });
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
        training_data: &TrainingData,
    ) {
        let at_us = rows.event_times_us[row];
        let at_view = self.view_of(rows, row, known, training_data);
        let view = &mut self.views[at_view];
        let blocks = self.layout.blocks();
        let found = self.found[lane];
        let mut is_old = false;
        let mut readings = 0;
        let mut hash = 0;
        if let Some(number) = found {
            let sensor = &mut states.sensors[number];
            is_old = at_us < sensor.last_at_us;
            readings = sensor.readings;
            hash = sensor.hash;
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
        let mut largest = [0.0f32; TAILED - 1];
        let mut is_broken = false;
        let (mut longest, mut runs) = (0.0f32, 0.0f32);
        let mut values = [f64::NAN; BLOCK];
        self.taught.clear();
        for block in 0..blocks {
            for (value, column) in values.iter_mut().zip(&rows.metrics[block * BLOCK..]) {
                *value = column[row];
            }
            let block_view = &view.blocks[block];
            let mut apart = SensorBlock::NEW;
            let state = match found {
                Some(number) if is_old => {
                    apart = states.blocks[number * blocks + block];
                    &mut apart
                }
                Some(number) => &mut states.blocks[number * blocks + block],
                None => &mut apart,
            };
            let scene = &mut self.scenes[lane * blocks + block];
            self.taught.push(observe(block_view, &self.rules[block], &values, readings, state, scene));
            for (largest, statistic) in largest.iter_mut().zip(statistics(scene, block_view)) {
                *largest = if statistic > *largest { statistic } else { *largest };
            }
            is_broken |= scene.broken != 0;
            if scene.missed != 0 {
                surprises[Member::Dropout as usize] = CERTAIN;
            }
            longest = longest.max(greatest(scene.stuck));
            runs += scene.stuck.iter().sum::<f32>();
            let features = self.layout.forest_metrics().saturating_sub(block * BLOCK).min(BLOCK);
            for (at, residual) in scene.residual.iter().enumerate().take(features) {
                self.block.set(lane, block * BLOCK + at, stepped(residual.clamp(-FOREST_CLIP, FOREST_CLIP)));
            }
            if let Some(alarm) = &known.alarm {
                let surprise = alarm.surprise_of(block, &scene.residual, &scene.spread);
                surprises[Member::Zone as usize] = surprises[Member::Zone as usize].max(surprise);
            }
            values = [f64::NAN; BLOCK];
        }
        surprises[Member::Stuck as usize] = (longest - RUN_FIRST).max(runs - self.runs_first).max(0.0);
        if is_broken {
            surprises[Member::Rule as usize] = CERTAIN;
        }
        let features = self.layout.forest_metrics();
        for (at, statistic) in largest[2..2 + SLOW_FEATURES].iter().enumerate() {
            self.block.set(lane, features + at, statistic.min(FOREST_CLIP));
        }
        if known.level > Level::Rules && !view.is_stale {
            let tailed = surprises[FIRST_TAILED..].iter_mut().zip(&known.tails);
            for ((surprise, tail), statistic) in tailed.zip(largest) {
                *surprise = tail.surprise(statistic);
            }
        }
        surprises[Member::Drift as usize] *= known_for(readings);
        let is_late = rows.late.get(row).copied().unwrap_or(false);
        let is_of_now = (rows.passed..=rows.passed.saturating_add(AHEAD_TICKS)).contains(&view.tick);
        let mut teaches = !(is_broken || is_late || is_old) && is_of_now && view.stats.rows < view.room;
        match found {
            Some(_) if teaches && view.is_stale => {
                view.teach_level(&self.taught);
                teaches = false;
            }
            Some(_) if teaches => {
                let teaches_moments = (hash as u32).wrapping_add(readings) & view.moments_skip == 0;
                let scenes = &self.scenes[lane * blocks..][..blocks];
                view.teach(scenes, &self.taught, &self.rules, &largest, teaches_moments, self.near);
            }
            _ => teaches = false,
        }
        self.lanes[lane] = Lane { view: at_view, surprises, teaches, hash };
    }

    /// What the forest's statistic of a row says, and teaches.
    #[inline]
    fn isolation(&mut self, lane: usize, statistic: f32, zone: &ZoneModel) {
        let Lane { view, surprises, teaches, .. } = &mut self.lanes[lane];
        if zone.level > Level::Rules {
            let surprise = zone.tails[TAILED - 1].surprise(statistic);
            surprises[Member::Forest as usize] = FOREST_TRUST * surprise;
        }
        if *teaches {
            self.views[*view].stats.count(TAILED - 1, statistic);
        }
    }

    /// What would be said of a row with another forest, of this score, in force; all else is as it is, the forest's
    /// tail too.
    fn verdict_beside(&self, lane: usize, score: f32, zone: &ZoneModel) -> Beside {
        let Lane { view, mut surprises, .. } = self.lanes[lane];
        if zone.level > Level::Rules && !self.views[view].is_stale {
            let surprise = zone.tails[TAILED - 1].surprise(forest_statistic(score));
            surprises[Member::Forest as usize] = FOREST_TRUST * surprise;
        } else {
            surprises[Member::Rule as usize + 1..].fill(0.0);
        }
        for (surprise, is_muted) in surprises.iter_mut().zip(self.muted) {
            *surprise = if is_muted { 0.0 } else { *surprise };
        }
        let breaks_rule = surprises[Member::Rule as usize] > 0.0;
        Beside {
            score: if breaks_rule { 1.0 } else { score_of(most(&surprises)) },
            is_flagged: breaks_rule || most(&surprises[1..]) >= zone.threshold,
        }
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
        training_data: &mut TrainingData,
    ) {
        let Lane { view, mut surprises, teaches, hash } = self.lanes[lane];
        for (surprise, is_muted) in surprises.iter_mut().zip(self.muted) {
            *surprise = if is_muted { 0.0 } else { *surprise };
        }
        if teaches {
            let surprise = most(&surprises);
            let view = &mut self.views[view];
            view.stats.surprises.0[surprise_bin(surprise)] += 1;
            if zone.level > Level::Rules
                && let hash = Sample::hash(hash, rows.event_times_us[row])
                && hash <= view.sample_until
            {
                self.sample(hash, rows.event_times_us[row], lane, surprise, training_data);
            }
        }
        let by_rules = model.is_none() || zone.level == Level::Rules || self.views[view].is_stale;
        verdicts.by_rules.push(by_rules);
        if by_rules {
            // Nothing is known, or of long ago: only rules speak.
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
    #[cold]
    fn sample(
        &self,
        hash: u64,
        event_time_us: i64,
        lane: usize,
        surprise: f32,
        training_data: &mut TrainingData,
    ) {
        if training_data.chosen.choose(hash, event_time_us) {
            let features = 0..self.layout.forest_features();
            let is_severe = severity_of(surprise, false) == Severity::High;
            let features = features.map(|feature| self.block.get(lane, feature)).collect();
            training_data.sampled.push((hash, SampleRow { event_time_us, is_severe, features }));
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
        // That the whole zone has moved explains what the other members see of it.
        let is_zone = surprises[Member::Zone as usize] >= zone.threshold;
        let found_by = Member::ALL[1..]
            .iter()
            .copied()
            .max_by(|a, b| surprises[*a as usize].total_cmp(&surprises[*b as usize]))
            .map(|most| if is_zone { Member::Zone } else { most })
            .filter(|_| is_odd);
        let surprise = |block: usize, scene: &Scene| {
            let found = statistics(scene, &views[block]);
            let surprises = found.iter().zip(&zone.tails);
            surprises.map(|(statistic, tail)| tail.surprise(*statistic)).fold(0.0, f32::max)
        };
        let isolated =
            model.filter(|_| found_by == Some(Member::Forest)).map(|model| self.isolated(lane, model));
        let mut causes = Vec::with_capacity(self.layout.metrics.len());
        for (block, scene) in scenes.iter().enumerate() {
            let with_all = match found_by {
                None | Some(Member::Dropout | Member::Stuck | Member::Forest | Member::Zone) => 0.0,
                Some(_) => surprise(block, scene),
            };
            for (at, metric) in self.layout.block(block).iter().enumerate() {
                let actual = rows.metrics[block * BLOCK + at][row];
                let drop = match found_by {
                    None => 0.0,
                    Some(Member::Dropout) => f32::from(scene.missed >> at & 1),
                    Some(Member::Stuck) => scene.stuck[at],
                    Some(Member::Zone) => scene.residual[at].abs(),
                    Some(Member::Forest) => isolated
                        .as_ref()
                        .map_or(0.0, |drops| drops.get(block * BLOCK + at).copied().unwrap_or(0.0)),
                    Some(_) => (with_all - surprise(block, &scene.without(at))).max(0.0),
                };
                let whole_zone = zone.alarm.as_ref().filter(|alarm| alarm.metric == block * BLOCK + at);
                let whole_zone = whole_zone.map(|alarm| (alarm.level, alarm.typical));
                causes.push(Cause { metric, actual, scene, lane: at, drop, whole_zone });
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
}

/// A feature in sixteenths of a deviation: a metric that stands still has residuals that differ in the eighth decimal,
/// and a forest would split on those. By adding a number so large that its last bit is worth that much.
#[inline]
fn stepped(feature: f32) -> f32 {
    const LARGE: f32 = (3 << 18) as f32;
    (feature + LARGE) - LARGE
}

/// What a forest's score is held against its tail as.
#[inline]
fn forest_statistic(score: f32) -> f32 {
    ((score - FOREST_SCORE.0) * FOREST_SCORE.1).max(0.0)
}

/// How far a drift of a sensor is believed that has sent so many readings: where it belongs is a mean of these.
#[inline]
fn known_for(readings: u32) -> f32 {
    let readings = readings as f32;
    readings / (readings + DRIFT_FIRST_READINGS)
}

#[inline]
fn most(surprises: &[f32]) -> f32 {
    surprises.iter().fold(0.0, |most, one| if *one > most { *one } else { most })
}

#[cfg(test)]
mod tests {
    use super::stepped;

    #[test]
    fn features_are_taken_in_sixteenths() {
        let steps = [2.3e-8, -0.03, 0.04, 9.99, -10.0].map(stepped);
        assert_eq!(steps, [0.0, 0.0, 0.0625, 10.0, -10.0]);
    }
}
