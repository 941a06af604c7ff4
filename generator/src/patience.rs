//! `--patience`: how long Kafka may acknowledge nothing while readings are in flight.

/// Measures the time since the last acknowledgement.
#[derive(Debug)]
pub struct Patience {
    limit_us: i64,
    since_us: i64,
    delivered: u64,
}

impl Patience {
    pub fn new(limit_us: i64, now_us: i64) -> Patience {
        Patience { limit_us, since_us: now_us, delivered: 0 }
    }

    pub fn limit_us(&self) -> i64 {
        self.limit_us
    }

    /// Lowers the limit and restarts the measurement; a higher limit changes nothing.
    pub fn shorten(&mut self, limit_us: i64, now_us: i64) {
        if limit_us < self.limit_us {
            *self = Patience { limit_us, since_us: now_us, ..*self };
        }
    }

    /// Whether the limit is exceeded. A clock that is set back restarts the measurement.
    pub fn is_over(&mut self, now_us: i64, sent: u64, delivered: u64) -> bool {
        if delivered != self.delivered || delivered == sent || now_us < self.since_us {
            self.delivered = delivered;
            self.since_us = now_us;
        }
        now_us - self.since_us > self.limit_us
    }
}

#[cfg(test)]
mod tests {
    use super::Patience;

    #[test]
    fn it_ends_when_nothing_is_acknowledged_and_something_is_on_its_way() {
        let mut patience = Patience::new(10, 0);
        assert!(!patience.is_over(50, 0, 0), "nothing is on its way");
        assert!(!patience.is_over(60, 5, 0));
        assert!(patience.is_over(61, 5, 0));
        assert!(!patience.is_over(62, 5, 1), "one more has come");
        assert!(!patience.is_over(72, 5, 1));
        assert!(patience.is_over(73, 5, 1));
        assert!(!patience.is_over(3, 5, 1), "the clock was set back");
    }

    #[test]
    fn it_can_only_be_shortened() {
        let mut patience = Patience::new(10, 0);
        patience.shorten(20, 5);
        assert!(patience.is_over(11, 1, 0));
        patience.shorten(3, 11);
        assert!(!patience.is_over(14, 1, 0));
        assert!(patience.is_over(15, 1, 0));
    }
}
