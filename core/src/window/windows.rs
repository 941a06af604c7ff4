//! Panes → tumbling and sliding windows, for the zones of one worker.
//!
//! A window is the merge of its panes. Its row is written early, in the epoch that brings its readings; made final
//! when W passes its end; and corrected when accepted readings still arrive after that. Readings are never taken back,
//! so what an epoch brings is added to each window over it: its panes are merged anew only after a restart or a
//! read-back.
//!
//! Invariants:
//! 1. after `apply(epoch, ..)`, the rows returned so far, the last one per (window, zone, start), equal a
//!    recompute from all accepted readings up to that epoch; a row exists iff its window has one;
//! 2. a row is final iff its window's end is not above W, and W never falls;
//! 3. a pane leaves memory only when every window over it is final, and the epoch that last changed it is committed; none
//!    does while panes are being read back. Until then memory holds its truth; afterwards the panes table does, and
//!    `missing` names what must be read back before `apply`. So memory is bounded by open windows, whatever
//!    `allowed_lateness` is;
//! 4. the sums of a window in memory are the merge of all of its panes, wherever those are. They leave memory when
//!    nothing can change them without a read-back.

mod zone;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use citytide_domain::Domain;
use serde::{Deserialize, Serialize};

use super::{PaneSums, Partial};
use crate::{NEVER, floor_to};
use zone::{Pane, Zone};

/// A window's row as of an epoch. The commit adds what only the database knows: the revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRow {
    /// Index of the window in the domain.
    pub window: usize,
    pub zone: Arc<str>,
    /// Start, microseconds.
    pub start_us: i64,
    /// End, microseconds.
    pub end_us: i64,
    /// Accepted readings.
    pub readings: u64,
    /// Anomalous ones among them.
    pub anomalies: u64,
    /// By metric: average, least and greatest value.
    pub figures: Vec<Option<(f64, f64, f64)>>,
    /// Whether W has passed the end.
    pub is_final: bool,
}

/// A pane as the panes table holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaneState {
    pub zone: Arc<str>,
    /// Start, microseconds.
    pub start_us: i64,
    /// What its accepted readings add up to.
    pub sums: PaneSums,
    /// First epoch that added to it.
    pub first_epoch: u64,
    /// The last one.
    pub last_epoch: u64,
}

/// How long panes are kept for late readings, microseconds: most late ones are late by moments, and later ones have their
/// panes read back. So memory does not grow with `allowed_lateness`.
const KEPT_FOR_LATE_US: i64 = 10 * 60 * 1_000_000;
/// Panes that are read back at once.
const PANES_READ_BACK_MAX: i64 = 4_096;

/// A change of what the live views know of a zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ZoneFact {
    /// Its last final row of the domain's first window. Averages are the bits of doubles, which have no order.
    Final {
        /// Start, microseconds.
        start_us: i64,
        /// Accepted readings.
        readings: u64,
        /// Anomalous ones among them.
        anomalies: u64,
        /// By metric.
        averages: Vec<Option<u64>>,
    },
    /// The latest event time of its accepted readings, microseconds.
    LastRecorded(i64),
    /// How many of its anomalies are recent.
    RecentAnomalies(u64),
}

/// Panes of a zone that must be read back, `from_us <= start < until_us`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneRange {
    pub zone: Arc<str>,
    /// First start, microseconds.
    pub from_us: i64,
    /// Bound of the starts, microseconds.
    pub until_us: i64,
}

/// What an epoch changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Rows to write.
    pub windows: Vec<WindowRow>,
    /// Panes to write.
    pub panes: Vec<PaneState>,
    /// What the live views should know: facts that hold now (+1) or no longer (−1).
    pub facts: Vec<(Arc<str>, ZoneFact, isize)>,
}

/// The panes and windows of some zones.
pub struct Windows {
    pane_us: i64,
    /// (size, slide) of each window, microseconds.
    shapes: Vec<(i64, i64)>,
    longest_us: i64,
    /// A pane is kept until W is this far past its start.
    keep_us: i64,
    zones: HashMap<Arc<str>, Zone>,
    low_us: i64,
    /// A pane that starts below this may be in the panes table only.
    evicted_below_us: i64,
    /// Whether panes are being read back: the answer may be older than a commit made meanwhile.
    awaits_panes: bool,
}

impl Windows {
    /// Windows as of the committed watermark, before any pane is loaded.
    pub fn new(domain: &Domain, low_us: i64) -> Windows {
        let pane_us = domain.pane_us();
        let longest_us = domain.longest_window_us();
        let mut windows = Windows {
            pane_us,
            shapes: domain.windows.iter().map(|window| (window.size_us, window.slide_us)).collect(),
            longest_us,
            keep_us: longest_us + domain.time.allowed_lateness_us.min(KEPT_FOR_LATE_US) + pane_us,
            zones: HashMap::new(),
            low_us,
            evicted_below_us: NEVER,
            awaits_panes: false,
        };
        windows.evicted_below_us = windows.open_from_us();
        windows
    }

    /// Panes that start at or above this belong in memory: after a restart they are loaded.
    pub fn open_from_us(&self) -> i64 {
        match self.low_us {
            NEVER => NEVER,
            low_us => floor_to(low_us - self.keep_us, self.pane_us),
        }
    }

    /// Takes in a pane that was read from the panes table, unless memory already holds it and knows better.
    pub fn load(&mut self, pane: PaneState) {
        let zone = self.zones.entry(pane.zone).or_default();
        zone.panes.entry(pane.start_us).or_insert(Pane {
            sums: pane.sums,
            first_epoch: pane.first_epoch,
            last_epoch: pane.last_epoch,
        });
    }

    /// Takes in what the live views last knew of a zone, and returns it as facts that hold.
    pub fn load_facts(
        &mut self,
        zone: Arc<str>,
        facts: impl IntoIterator<Item = ZoneFact>,
    ) -> Vec<(Arc<str>, ZoneFact, isize)> {
        let state = self.zones.entry(zone.clone()).or_default();
        let mut hold = Vec::new();
        for fact in facts {
            match &fact {
                ZoneFact::Final { .. } => state.last_final = Some(fact.clone()),
                ZoneFact::LastRecorded(at_us) => state.last_recorded_us = Some(*at_us),
                ZoneFact::RecentAnomalies(_) => {}
            }
            hold.push((zone.clone(), fact, 1));
        }
        hold
    }

    /// What must be loaded before `apply` of these partials, as disjoint ranges in batches of a bounded number of panes.
    /// A partial for a pane that may have left memory touches windows over its neighbours, so they come along. What
    /// memory holds when it is asked stays until that `apply`: the answers are snapshots that may not show yet what is
    /// committed meanwhile.
    pub fn missing(&mut self, partials: &[Partial]) -> Vec<Vec<PaneRange>> {
        let reach_us = self.longest_us - self.pane_us;
        let starts: BTreeSet<(&Arc<str>, i64)> = partials
            .iter()
            .filter(|partial| partial.pane_us - reach_us < self.evicted_below_us)
            .map(|partial| (&partial.zone, partial.pane_us))
            .collect();
        let mut ranges: Vec<PaneRange> = Vec::new();
        for (zone, pane_us) in starts {
            let from_us = pane_us - reach_us;
            let until_us = (pane_us + self.longest_us).min(self.evicted_below_us);
            match ranges.last_mut() {
                Some(last) if last.zone == *zone && from_us <= last.until_us => last.until_us = until_us,
                _ => ranges.push(PaneRange { zone: zone.clone(), from_us, until_us }),
            }
        }
        self.awaits_panes = !ranges.is_empty();
        self.in_batches(ranges)
    }

    /// The same ranges, none with more than [`PANES_READ_BACK_MAX`] panes, in batches that have no more together.
    fn in_batches(&self, ranges: Vec<PaneRange>) -> Vec<Vec<PaneRange>> {
        let mut batches: Vec<Vec<PaneRange>> = Vec::new();
        let mut room_us = 0;
        for PaneRange { zone, mut from_us, until_us } in ranges {
            while from_us < until_us {
                if room_us == 0 {
                    batches.push(Vec::new());
                    room_us = PANES_READ_BACK_MAX * self.pane_us;
                }
                let part_us = room_us.min(until_us - from_us);
                let batch = batches.last_mut().expect("there is room in one");
                batch.push(PaneRange { zone: zone.clone(), from_us, until_us: from_us + part_us });
                from_us += part_us;
                room_us -= part_us;
            }
        }
        batches
    }

    /// Applies an epoch: all workers' partials for these zones, and W at its end.
    pub fn apply(&mut self, epoch: u64, partials: Vec<Partial>, low_us: i64) -> Applied {
        self.awaits_panes = false;
        let mut applied = Applied::default();
        let mut dirty: BTreeSet<(usize, Arc<str>, i64)> = BTreeSet::new();
        let brought = by_pane(partials);
        for ((name, pane_us), sums) in &brought {
            let zone = self.zones.entry(name.clone()).or_default();
            zone.add(epoch, *pane_us, sums);
            for_each_window(&self.shapes, *pane_us, |window, start_us| {
                zone.add_to_window((start_us + self.shapes[window].0, window), start_us, sums);
                dirty.insert((window, name.clone(), start_us));
            });
            let recorded_us = sums.last_event_us;
            if zone.last_recorded_us.is_none_or(|last_us| recorded_us > last_us) {
                if let Some(last_us) = zone.last_recorded_us.replace(recorded_us) {
                    applied.facts.push((name.clone(), ZoneFact::LastRecorded(last_us), -1));
                }
                applied.facts.push((name.clone(), ZoneFact::LastRecorded(recorded_us), 1));
            }
        }
        self.finalize(low_us, &mut dirty);
        for (window, zone, start_us) in dirty {
            let row = self.row(window, zone, start_us);
            if window == 0 && row.is_final {
                self.became_final(&row, &mut applied.facts);
            }
            applied.windows.push(row);
        }
        for (zone, start_us) in brought.into_keys() {
            let pane = &self.zones[&zone].panes[&start_us];
            applied.panes.push(PaneState {
                start_us,
                sums: pane.sums.clone(),
                first_epoch: pane.first_epoch,
                last_epoch: pane.last_epoch,
                zone,
            });
        }
        applied
    }

    /// Raises W and marks the windows whose end it passes. Ends are multiples of a pane, so most steps pass none.
    fn finalize(&mut self, low_us: i64, dirty: &mut BTreeSet<(usize, Arc<str>, i64)>) {
        let before_us = self.low_us;
        let low_us = low_us.max(before_us);
        self.low_us = low_us;
        if low_us == NEVER || floor_to(before_us, self.pane_us) == floor_to(low_us, self.pane_us) {
            return;
        }
        for (name, zone) in &self.zones {
            for (window, &shape) in self.shapes.iter().enumerate() {
                zone.for_each_ending(shape, before_us, low_us, |start_us| {
                    dirty.insert((window, name.clone(), start_us));
                });
            }
        }
    }

    fn row(&mut self, window: usize, zone: Arc<str>, start_us: i64) -> WindowRow {
        let end_us = start_us + self.shapes[window].0;
        let state = self.zones.get_mut(&zone).expect("a window's zone has panes");
        let sums = state.window((end_us, window), start_us);
        WindowRow {
            window,
            start_us,
            end_us,
            readings: sums.readings,
            anomalies: sums.anomalies,
            figures: sums.metrics.iter().map(|metric| metric.figures()).collect(),
            is_final: end_us <= self.low_us,
            zone,
        }
    }

    fn became_final(&mut self, row: &WindowRow, facts: &mut Vec<(Arc<str>, ZoneFact, isize)>) {
        let zone = self.zones.get_mut(&row.zone).expect("a row's zone has panes");
        if let Some(ZoneFact::Final { start_us, .. }) = zone.last_final
            && start_us > row.start_us
        {
            return;
        }
        let averages = row.figures.iter().map(|figures| figures.map(|(average, _, _)| average.to_bits()));
        let fact = ZoneFact::Final {
            start_us: row.start_us,
            readings: row.readings,
            anomalies: row.anomalies,
            averages: averages.collect(),
        };
        if let Some(before) = zone.last_final.replace(fact.clone()) {
            facts.push((row.zone.clone(), before, -1));
        }
        facts.push((row.zone.clone(), fact, 1));
    }

    /// Lets go of panes that no open window needs and whose last change lies below `committed_below`, the first
    /// epoch that is not committed yet.
    pub fn evict(&mut self, committed_below: u64) {
        let open_from_us = self.open_from_us();
        if self.awaits_panes || open_from_us == NEVER || open_from_us < self.evicted_below_us {
            return;
        }
        for zone in self.zones.values_mut() {
            // What brings readings to the last pane of such a window reads panes back first: see `missing`.
            zone.evict(open_from_us, committed_below, open_from_us + self.longest_us);
        }
        self.evicted_below_us = open_from_us;
    }

    /// Panes in memory.
    pub fn panes(&self) -> usize {
        self.zones.values().map(|zone| zone.panes.len()).sum()
    }

    /// Windows in memory.
    pub fn windows(&self) -> usize {
        self.zones.values().map(|zone| zone.windows.len()).sum()
    }
}

/// What all workers bring to each pane.
fn by_pane(partials: Vec<Partial>) -> BTreeMap<(Arc<str>, i64), PaneSums> {
    let mut brought = BTreeMap::new();
    for Partial { zone, pane_us, sums } in partials {
        match brought.entry((zone, pane_us)) {
            Entry::Vacant(first) => drop(first.insert(sums)),
            Entry::Occupied(mut others) => others.get_mut().merge(&sums),
        }
    }
    brought
}

/// Every window over a pane, as (index, start).
fn for_each_window(shapes: &[(i64, i64)], pane_us: i64, mut each: impl FnMut(usize, i64)) {
    for (window, &(size_us, slide_us)) in shapes.iter().enumerate() {
        let mut start_us = floor_to(pane_us, slide_us);
        while start_us + size_us > pane_us {
            each(window, start_us);
            start_us -= slide_us;
        }
    }
}

#[cfg(test)]
mod tests;
