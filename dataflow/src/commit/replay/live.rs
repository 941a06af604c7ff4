//! What a replay does to the live views. In the stream differential dataflow keeps them; here a page of letters changes
//! a few zones, whose rows are made anew.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::window::{RecentAnomaly, ZoneFact};
use citytide_store::ledger::Ledger;

use crate::commit::plan::{HOT_SENSORS_MAX, HotSensor, Plan, ZoneStatus};

/// Sensors with their number of recent anomalies and the last one's event time in microseconds.
type Sensors = BTreeMap<Arc<str>, (u64, i64)>;

/// The facts of each zone and its recent anomalies.
pub struct Live {
    low_us: i64,
    /// Anomalies in the five minutes before W, by zone.
    recent: BTreeMap<Arc<str>, Sensors>,
    facts: BTreeMap<Arc<str>, ZoneStatus>,
    recent_from_us: i64,
}

impl Live {
    /// As the ledger has it.
    pub fn new(ledger: &Ledger) -> Live {
        let mut live = Live {
            low_us: ledger.low_us,
            recent: BTreeMap::new(),
            facts: BTreeMap::new(),
            recent_from_us: ledger.low_us.saturating_sub(citytide_core::window::RECENT_US),
        };
        for anomaly in &ledger.anomalies {
            live.count(anomaly);
        }
        for (zone, facts) in &ledger.facts {
            let zone: Arc<str> = Arc::from(zone.as_str());
            facts.iter().for_each(|fact| live.hold(&zone, fact));
        }
        live
    }

    fn count(&mut self, anomaly: &RecentAnomaly) {
        let at_us = anomaly.recorded_us;
        if self.low_us == NEVER || at_us < self.recent_from_us || at_us >= self.low_us {
            return;
        }
        let sensors = self.recent.entry(anomaly.zone.clone()).or_default();
        let (count, last_us) = sensors.entry(anomaly.sensor.clone()).or_insert((0, at_us));
        *count += 1;
        *last_us = (*last_us).max(at_us);
    }

    fn hold(&mut self, zone: &Arc<str>, fact: &ZoneFact) {
        let status = self.facts.entry(zone.clone()).or_insert_with(|| ZoneStatus {
            zone: zone.to_string(),
            last_final: None,
            recent_anomalies: 0,
            last_recorded_us: i64::MIN,
        });
        match fact {
            ZoneFact::Final { start_us, readings, anomalies, averages } => {
                status.last_final = Some((*start_us, *readings, *anomalies, averages.clone()));
            }
            ZoneFact::LastRecorded(at_us) => status.last_recorded_us = *at_us,
            ZoneFact::RecentAnomalies(_) => {}
        }
    }

    /// Takes in what a page of letters changed, and adds the rows of the zones concerned to the plan.
    pub fn change(
        &mut self,
        facts: &[(Arc<str>, ZoneFact, isize)],
        anomalies: Vec<RecentAnomaly>,
        plan: &mut Plan,
    ) {
        let mut zones: BTreeSet<Arc<str>> = anomalies.iter().map(|anomaly| anomaly.zone.clone()).collect();
        anomalies.iter().for_each(|anomaly| self.count(anomaly));
        for (zone, fact, _) in facts.iter().filter(|(_, _, diff)| *diff > 0) {
            self.hold(zone, fact);
            zones.insert(zone.clone());
        }
        for zone in zones {
            let mut hottest: Vec<(&Arc<str>, &(u64, i64))> =
                self.recent.get(&zone).into_iter().flatten().collect();
            hottest.sort_by_key(|(sensor, (count, _))| (Reverse(*count), *sensor));
            let status = self.facts.get_mut(&zone).expect("a zone with a reading has a latest one");
            status.recent_anomalies = hottest.iter().map(|(_, (count, _))| count).sum();
            plan.status.insert(zone.to_string(), Some(status.clone()));
            for (rank, (sensor, (anomalies, last_us))) in (1..).zip(hottest.into_iter().take(HOT_SENSORS_MAX))
            {
                let row = HotSensor {
                    zone: zone.to_string(),
                    rank,
                    sensor: sensor.to_string(),
                    anomalies: *anomalies,
                    last_us: *last_us,
                };
                plan.hot.insert((zone.to_string(), rank), Some(row));
            }
        }
    }
}
