//! What the page tells of itself, for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use citytide_store::clock::wall_ms;

/// Counters of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [AtomicU64; 4],
    ticks: AtomicU64,
    tick_us: AtomicU64,
    failures: AtomicU64,
    /// When the server was first found away; 0 while it answers.
    away_since_ms: AtomicI64,
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        self.requests[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a snapshot, and what it took.
    pub fn ticked(&self, took: Duration) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.tick_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.away_since_ms.store(0, Ordering::Relaxed);
    }

    /// Notes that the server does not answer.
    pub fn away(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now_ms = wall_ms() as i64;
        let _ = self.away_since_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn away_since_ms(&self) -> i64 {
        self.away_since_ms.load(Ordering::Relaxed)
    }

    /// In the format of Prometheus.
    pub fn text(&self, pages: usize) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
            text += &format!("# HELP citytide_page_{name} {help}\n# TYPE citytide_page_{name} {kind}\n");
            for (labels, value) in samples {
                text += &format!("citytide_page_{name}{labels} {value}\n");
            }
        };
        let one = |value: String| vec![(String::new(), value)];
        let by_class: Vec<(String, String)> = self
            .requests
            .iter()
            .zip(["2xx", "3xx", "4xx", "5xx"])
            .map(|(count, class)| {
                (format!("{{status=\"{class}\"}}"), count.load(Ordering::Relaxed).to_string())
            })
            .collect();
        family("requests_total", "counter", "Answered requests by class of status", &by_class);
        family("streams", "gauge", "Pages that are open", &one(pages.to_string()));
        let ticks = self.ticks.load(Ordering::Relaxed);
        family("ticks_total", "counter", "Snapshots that were read", &one(ticks.to_string()));
        let seconds = self.tick_us.load(Ordering::Relaxed) as f64 / 1e6;
        family("tick_seconds_total", "counter", "Time that they took", &one(seconds.to_string()));
        let failures = self.failures.load(Ordering::Relaxed);
        family("database_failures_total", "counter", "Snapshots that failed", &one(failures.to_string()));
        let up = i64::from(self.away_since_ms() == 0);
        family("database_up", "gauge", "Whether the last snapshot could be read", &one(up.to_string()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_in_prometheus_s_format() {
        let metrics = Metrics::default();
        metrics.answered(200);
        metrics.answered(404);
        metrics.ticked(Duration::from_millis(1500));
        let text = metrics.text(3);
        for line in [
            "citytide_page_requests_total{status=\"4xx\"} 1",
            "citytide_page_streams 3",
            "citytide_page_tick_seconds_total 1.5",
            "citytide_page_database_up 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
        }
        metrics.away();
        assert!(metrics.text(0).contains("citytide_page_database_up 0"));
    }
}
