//! How long to wait before the next generation: doubling, bounded, forgotten after a healthy while.

use std::time::Duration;

/// The sequence of delays between generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    healthy_after: Duration,
    next: Duration,
}

impl Default for Backoff {
    /// 100 ms doubling to 5 s, reset after 30 s of running.
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(5), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Delays from `first`, doubling up to `most`, anew after a generation that ran for `healthy_after`.
    pub fn new(first: Duration, most: Duration, healthy_after: Duration) -> Backoff {
        Backoff { first, most, healthy_after, next: first }
    }

    /// The delay after a generation that ran for `ran`.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= self.healthy_after {
            self.next = self.first;
        }
        let delay = self.next;
        self.next = (delay * 2).min(self.most);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_bound_and_start_anew_after_a_healthy_while() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..8).map(|_| backoff.after(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(backoff.after(Duration::from_secs(29)).as_millis(), 5_000);
        assert_eq!(backoff.after(Duration::from_secs(30)).as_millis(), 100);
        assert_eq!(backoff.after(Duration::from_secs(30)).as_millis(), 100);
        assert_eq!(backoff.after(Duration::ZERO).as_millis(), 200);
    }
}
