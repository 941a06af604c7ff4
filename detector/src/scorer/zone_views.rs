//! The views of zones that a batch needs, one for each zone and tick, made when the first row asks for them.

use std::sync::Arc;

use super::{Rows, Scorer, TrainingData};
use crate::stats::{ROWS_MAX, ZoneStats};
use crate::teach::{MOMENT_READINGS, ZoneView};
use crate::zone::{BlockView, ZoneModel};

impl Scorer {
    /// Index in `views` of what a row is compared with: the view of its zone in the tick of its event time.
    #[inline]
    pub(super) fn view_of(
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
}
