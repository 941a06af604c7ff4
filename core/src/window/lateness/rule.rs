//! The rule by which a reading is late, and by which a watermark follows the readings that are not.

use citytide_domain::Domain;

use super::Witness;
use crate::floor_to;
use crate::position::Position;

/// A domain's settings of lateness.
#[derive(Debug, Clone)]
pub struct LatenessRule {
    pane_us: i64,
    allowed_lateness_us: i64,
    witness: Witness,
}

impl LatenessRule {
    /// That of a domain.
    pub fn new(domain: &Domain) -> LatenessRule {
        LatenessRule {
            pane_us: domain.pane_us(),
            allowed_lateness_us: domain.time.allowed_lateness_us,
            witness: Witness::new(&domain.time),
        }
    }

    /// Whether the next reading of a partition, of event time `at_us`, is late. If it is not, the watermark of
    /// `position` follows it.
    #[inline]
    pub fn see(&self, position: &mut Position, sensor: &[u8], at_us: i64) -> bool {
        let pane_end_us = floor_to(at_us, self.pane_us) + self.pane_us;
        let is_late = pane_end_us + self.allowed_lateness_us <= position.watermark_us;
        if !is_late {
            self.witness.follow(position, sensor, at_us);
        }
        is_late
    }
}
