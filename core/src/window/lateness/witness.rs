//! A jump of event time needs confirmation: one wrong clock must not make the readings of all others late.
//!
//! ```text
//!  event time ── at most jump_max ahead of wm ──▶ moves wm at once
//!       └─────── further ahead: a claim ── a second sensor claims too ────────────▶ wm follows the lower of the two
//!                                      └── the third in a row of the only sensor ─▶ wm follows the lowest of the three
//! ```
//!
//! Invariants:
//! 1. what moves a watermark is a function of the partition's accepted readings in log order, wherever batches end: the
//!    claim that is open is kept with the position ([`Claim`]);
//! 2. before the first watermark every reading is a jump: a first line that lies in the future of all later ones holds
//!    nothing back and makes nothing late;
//! 3. a sensor is the only one while no other brings an accepted reading; one whose own clock goes back has claimed
//!    nothing, and a claim lapses when the watermark has gone on by `jump_max` without it.

use citytide_domain::TimeSettings;

use crate::NEVER;
use crate::position::{Claim, Position};

/// So many claims in a row of a partition's only sensor confirm each other.
const ALONE: usize = 3;

/// Moves watermarks, by these rules.
#[derive(Debug, Clone)]
pub struct Witness {
    out_of_orderness_us: i64,
    jump_max_us: i64,
}

impl Witness {
    /// By these settings.
    pub fn new(time: &TimeSettings) -> Witness {
        Witness { out_of_orderness_us: time.out_of_orderness_us, jump_max_us: time.jump_max_us }
    }

    /// Lets the watermark follow an accepted reading.
    #[inline]
    pub fn follow(&self, position: &mut Position, sensor: &[u8], at_us: i64) {
        if !self.is_jump(position.watermark_us, at_us) {
            self.raise(position, at_us);
            if position.claim.is_some() {
                self.object(position, sensor);
            }
        } else {
            self.claim(position, sensor, at_us);
        }
    }

    fn is_jump(&self, watermark_us: i64, at_us: i64) -> bool {
        watermark_us == NEVER || at_us > watermark_us.saturating_add(self.jump_max_us)
    }

    fn raise(&self, position: &mut Position, at_us: i64) {
        position.watermark_us = position.watermark_us.max(at_us - self.out_of_orderness_us);
    }

    /// A sensor has brought a reading that is no jump.
    fn object(&self, position: &mut Position, sensor: &[u8]) {
        let watermark_us = position.watermark_us;
        position.claim = position.claim.take().and_then(|mut claim| {
            claim.alone_us.clear();
            let lasts = watermark_us.saturating_sub(claim.since_us) <= self.jump_max_us;
            let is_ahead = self.is_jump(watermark_us, claim.highest_us);
            (claim.sensor.as_bytes() != sensor && is_ahead && lasts).then_some(claim)
        });
    }

    fn claim(&self, position: &mut Position, sensor: &[u8], at_us: i64) {
        match position.claim.take() {
            None => self.open(position, sensor, &[at_us]),
            Some(claim) if claim.sensor.as_bytes() != sensor => {
                self.raise(position, at_us.min(claim.highest_us));
                if at_us > claim.highest_us {
                    self.open(position, sensor, &[at_us]);
                } else {
                    self.open(position, claim.sensor.as_bytes(), &[claim.highest_us]);
                    // It is no longer the only one.
                    position.claim.iter_mut().for_each(|claim| claim.alone_us.clear());
                }
            }
            Some(mut claim) => {
                claim.alone_us.push(at_us);
                claim.highest_us = claim.highest_us.max(at_us);
                claim.since_us = position.watermark_us;
                if claim.alone_us.len() < ALONE {
                    position.claim = Some(claim);
                    return;
                }
                claim.alone_us.sort_unstable();
                self.raise(position, claim.alone_us[0]);
                self.open(position, sensor, &claim.alone_us[1..]);
            }
        }
    }

    /// Of a sensor's event times, ascending and fewer than confirm each other, those that are no jump raise the
    /// watermark, and the others are its claim.
    fn open(&self, position: &mut Position, sensor: &[u8], times_us: &[i64]) {
        let mut alone_us = Vec::new();
        for &at_us in times_us {
            if self.is_jump(position.watermark_us, at_us) {
                alone_us.push(at_us);
            } else {
                self.raise(position, at_us);
            }
        }
        position.claim = alone_us.last().map(|highest_us| Claim {
            sensor: String::from_utf8_lossy(sensor).into(),
            highest_us: *highest_us,
            alone_us: alone_us.clone(),
            since_us: position.watermark_us,
        });
    }
}

#[cfg(test)]
mod tests;
