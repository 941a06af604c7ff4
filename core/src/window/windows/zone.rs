//! The panes and windows of one zone that are in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{PaneSums, ZoneFact};
use crate::floor_to;

/// End and index of a window: those that end first leave memory first.
pub(super) type WindowKey = (i64, usize);

#[derive(Debug)]
pub(super) struct Pane {
    pub(super) sums: PaneSums,
    pub(super) first_epoch: u64,
    pub(super) last_epoch: u64,
}

/// What is known of a zone.
#[derive(Debug, Default)]
pub(super) struct Zone {
    /// By start.
    pub(super) panes: BTreeMap<i64, Pane>,
    pub(super) windows: BTreeMap<WindowKey, PaneSums>,
    pub(super) last_final: Option<ZoneFact>,
    pub(super) last_recorded_us: Option<i64>,
    /// Sums that were merged into windows: what the work is counted in.
    #[cfg(test)]
    pub(super) merges: usize,
}

impl Zone {
    /// Adds what an epoch brings to a pane.
    pub(super) fn add(&mut self, epoch: u64, pane_us: i64, sums: &PaneSums) {
        match self.panes.entry(pane_us) {
            Entry::Vacant(pane) => {
                pane.insert(Pane { sums: sums.clone(), first_epoch: epoch, last_epoch: epoch });
            }
            Entry::Occupied(mut pane) => {
                pane.get_mut().sums.merge(sums);
                pane.get_mut().last_epoch = epoch;
            }
        }
    }

    /// Adds what has just been added to a pane to a window over it.
    pub(super) fn add_to_window(&mut self, key: WindowKey, start_us: i64, sums: &PaneSums) {
        match self.windows.get_mut(&key) {
            Some(window) => {
                window.merge(sums);
                #[cfg(test)]
                {
                    self.merges += 1;
                }
            }
            // The panes have it already.
            None => drop(self.window(key, start_us)),
        }
    }

    /// The sums of a window, merged from its panes unless they are in memory.
    pub(super) fn window(&mut self, key: WindowKey, start_us: i64) -> &PaneSums {
        self.windows.entry(key).or_insert_with(|| {
            let mut panes = self.panes.range(start_us..key.0).map(|(_, pane)| &pane.sums);
            let mut sums = panes.next().expect("a window that is asked for has a pane").clone();
            for pane in panes {
                sums.merge(pane);
                #[cfg(test)]
                {
                    self.merges += 1;
                }
            }
            sums
        })
    }

    /// The start of each window of a shape (size, slide) that has a pane, and whose end is above `before_us` and not
    /// above `low_us`. Stretches of time without panes are skipped.
    pub(super) fn for_each_ending(
        &self,
        (size_us, slide_us): (i64, i64),
        before_us: i64,
        low_us: i64,
        mut each: impl FnMut(i64),
    ) {
        // The first window whose end is above a time.
        let first_above = |us: i64| floor_to(us.saturating_sub(size_us), slide_us).saturating_add(slide_us);
        let mut start_us = first_above(before_us);
        while let Some((&pane_us, _)) = self.panes.range(start_us..).next() {
            start_us = start_us.max(first_above(pane_us));
            if start_us + size_us > low_us {
                break;
            }
            each(start_us);
            start_us += slide_us;
        }
    }

    /// Lets go of panes that start below `panes_below_us` and whose last change lies below the epoch `committed_below`,
    /// and of windows that end below `windows_below_us`.
    pub(super) fn evict(&mut self, panes_below_us: i64, committed_below: u64, windows_below_us: i64) {
        while let Some(oldest) = self.panes.first_entry() {
            if *oldest.key() >= panes_below_us || oldest.get().last_epoch >= committed_below {
                break;
            }
            oldest.remove();
        }
        while let Some(oldest) = self.windows.first_entry() {
            if oldest.key().0 >= windows_below_us {
                break;
            }
            oldest.remove();
        }
    }
}
