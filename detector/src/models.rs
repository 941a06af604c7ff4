//! The models of all zones: immutable snapshots, each replaced by the next as ticks close.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::layout::Layout;
use crate::stats::{SufficientStats, ZoneStats};
use crate::zone::{Level, ZoneModel};

/// Most zones with a model; in further ones rules alone decide.
pub const ZONES_MAX: usize = 200;

/// The models of all zones as of some epoch. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct ZoneModels {
    zones: BTreeMap<Arc<str>, Arc<ZoneModel>>,
}

impl ZoneModels {
    /// The model of a zone.
    pub fn get(&self, zone: &str) -> Option<&Arc<ZoneModel>> {
        self.zones.get(zone)
    }

    /// All zones with their models, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<ZoneModel>)> {
        self.zones.iter()
    }

    /// Replaces the model of a zone.
    pub fn insert(&mut self, zone: Arc<str>, model: ZoneModel) {
        self.zones.insert(zone, Arc::new(model));
    }

    /// Closes a tick of a zone: its model learns these statistics. Beyond [`ZONES_MAX`] a new zone is ignored.
    pub fn close_minute(&mut self, layout: &Layout, zone: &Arc<str>, tick: i64, stats: &ZoneStats) {
        if !self.zones.contains_key(zone) {
            if self.zones.len() >= ZONES_MAX {
                return;
            }
            let others: Vec<&ZoneModel> =
                self.zones.values().map(|zone| &**zone).filter(|zone| zone.level == Level::Zone).collect();
            self.zones.insert(zone.clone(), Arc::new(ZoneModel::of_type(layout, &others)));
        }
        let model = self.zones.get_mut(zone).expect("just put there");
        Arc::make_mut(model).close(layout, tick, stats);
    }

    /// Closes all ticks of the statistics, in order.
    pub fn close(&mut self, layout: &Layout, stats: &SufficientStats) {
        for ((tick, zone), stats) in &stats.by_tick {
            self.close_minute(layout, zone, *tick, stats);
        }
    }
}
