//! Attribution: how much of a verdict each metric accounts for, by asking again without it.

use super::{Rows, Scorer};
use crate::explain::{Cause, reasons};
use crate::forest::Block;
use crate::layout::BLOCK;
use crate::member::{Member, Surprises};
use crate::model::Model;
use crate::observe::{Observation, statistics};
use crate::zone::ZoneModel;

impl Scorer {
    /// The reasons of a flagged row as a JSON array. A metric's share is how far the surprise falls without it.
    #[expect(clippy::too_many_arguments, reason = "everything that the verdict came from")]
    pub(super) fn explain(
        &self,
        rows: &Rows<'_>,
        row: usize,
        lane: usize,
        zone: &ZoneModel,
        model: Option<&Model>,
        surprises: &Surprises,
        is_anomalous: bool,
        flagged: Option<u32>,
    ) -> String {
        let blocks = self.layout.blocks();
        let observations = &self.observations[lane * blocks..][..blocks];
        let views = &self.views[self.lanes[lane].view].blocks;
        // A move of the whole zone explains what the other members find of it.
        let is_zone = surprises[Member::Zone as usize] >= zone.threshold;
        let found_by = Member::ALL[1..]
            .iter()
            .copied()
            .max_by(|a, b| surprises[*a as usize].total_cmp(&surprises[*b as usize]))
            .map(|most| if is_zone { Member::Zone } else { most })
            .filter(|_| is_anomalous);
        let surprise = |block: usize, observation: &Observation| {
            let found = statistics(observation, &views[block]);
            let surprises = found.iter().zip(&zone.tails);
            surprises.map(|(statistic, tail)| tail.surprise(*statistic)).fold(0.0, f32::max)
        };
        let of_forest =
            model.filter(|_| found_by == Some(Member::Forest)).map(|model| self.forest_shares(lane, model));
        let mut causes = Vec::with_capacity(self.layout.metrics.len());
        for (block, observation) in observations.iter().enumerate() {
            let with_all = match found_by {
                None | Some(Member::Dropout | Member::Stuck | Member::Forest | Member::Zone) => 0.0,
                Some(_) => surprise(block, observation),
            };
            for (at, metric) in self.layout.block(block).iter().enumerate() {
                let actual = rows.metrics[block * BLOCK + at][row];
                let drop = match found_by {
                    None => 0.0,
                    Some(Member::Dropout) => f32::from(observation.missed >> at & 1),
                    Some(Member::Stuck) => observation.stuck[at],
                    Some(Member::Zone) => observation.residual[at].abs(),
                    Some(Member::Forest) => of_forest
                        .as_ref()
                        .map_or(0.0, |drops| drops.get(block * BLOCK + at).copied().unwrap_or(0.0)),
                    Some(_) => (with_all - surprise(block, &observation.without(at))).max(0.0),
                };
                let whole_zone = zone.alarm.as_ref().filter(|alarm| alarm.metric == block * BLOCK + at);
                let whole_zone = whole_zone.map(|alarm| (alarm.level, alarm.typical));
                causes.push(Cause { metric, actual, observation, lane: at, drop, whole_zone });
            }
        }
        reasons(&mut causes, found_by, flagged)
    }

    /// By metric: how far the forest's score of a row falls with that metric at its baseline.
    fn forest_shares(&self, lane: usize, model: &Model) -> Vec<f32> {
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
