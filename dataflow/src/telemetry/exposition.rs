//! Exposition: the figures of a run as Prometheus reads them, in the OpenMetrics text format, which says types and
//! units.
//!
//! Everything is copied on request; nothing is kept for it. docs/metrics.md is the inventory, held equal to
//! this by a test. Labels are bounded: partitions, followers, and words of a short list; never zones or sensors.
//!
//! Source: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.

use std::fmt;
use std::sync::Arc;

use citytide_core::batch::Tally;
use citytide_core::position::{Activity, Counts};
use citytide_store::followers::Follower;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::latency::BOUNDS_S;
use super::{PartitionFigures, Snapshot, Stage, Telemetry};

/// What the body of an answer is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Followers that have samples of their own, the slowest ones.
const FOLLOWERS_MAX: usize = 50;

/// The metrics of a run.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// The metrics of `run`.
    pub fn new(run: Arc<Telemetry>) -> Exposition {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Figures { run }));
        Exposition { registry }
    }

    /// All of them as of now.
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to memory does not fail");
        text
    }
}

#[derive(Debug)]
struct Figures {
    run: Arc<Telemetry>,
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.run.snapshot();
        let mut page = Page { encoder };
        page.known_names(&now, &self.run)?;
        page.of_the_run(&now)?;
        page.of_partitions(&now.partitions)?;
        page.of_the_detector(&now)?;
        page.of_followers(&now.followers)?;
        page.of_this_process(&now, &self.run)
    }
}

struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

/// How many seconds a time in some fraction of a second is.
fn seconds(value: i64, per_second: f64) -> f64 {
    value as f64 / per_second
}

impl Page<'_> {
    /// What users of such pipelines look for first.
    fn known_names(&mut self, now: &Snapshot, run: &Telemetry) -> fmt::Result {
        let counts: Counts = now.partitions.iter().map(|one| one.counts).sum();
        self.counter(
            "events_processed",
            "Readings committed, accepted and late, since the first offset; continues after a restart",
            counts.readings() as u64,
        )?;
        self.counter(
            "anomalies_detected",
            "Accepted anomalous readings committed since this process began",
            now.tally.anomalies() as u64,
        )?;
        let latency = run.latency.observed();
        let bounds = BOUNDS_S.into_iter().chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
        self.encoder
            .encode_descriptor(
                "processing_latency",
                "From Kafka's timestamp of a record to its commit, for the partitions that process 0 reads",
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(latency.sum_s, latency.count, &buckets, None)?;
        self.by_partition(
            "kafka_consumer_lag",
            "Offsets that are not committed yet",
            None,
            &now.partitions,
            |one| Some(one.lag() as f64),
        )?;
        self.gauge(
            "model_precision",
            "Share of the flagged readings of the last hour that are anomalous, if the stream carries labels",
            None,
            now.last_hour.precision(),
        )?;
        self.gauge(
            "model_recall",
            "Share of the anomalous readings of the last hour that were flagged, if the stream carries labels",
            None,
            now.last_hour.recall(),
        )
    }

    fn of_the_run(&mut self, now: &Snapshot) -> fmt::Result {
        self.counter("citytide_commits", "Transactions committed since this process began", now.commits)?;
        self.gauge(
            "citytide_committed_epoch",
            "Epoch of the last commit of this process, as in the table commits; milliseconds",
            None,
            now.last_commit.map(|last| last.epoch as i64),
        )?;
        self.gauge(
            "citytide_last_commit_timestamp",
            "When the last commit of this process was",
            Some(&Unit::Seconds),
            now.last_commit.map(|last| seconds(now.now_ms as i64 - last.ago_ms as i64, 1e3)),
        )?;
        self.gauge(
            "citytide_watermark_timestamp",
            "W: event time up to which windows are final",
            Some(&Unit::Seconds),
            now.low_us.map(|us| seconds(us, 1e6)),
        )?;
        self.gauge(
            "citytide_watermark_held",
            "How long W has stood still while readings were accepted; 0 when it moves or nothing is accepted",
            Some(&Unit::Seconds),
            Some(seconds(now.low_held_ms as i64, 1e3)),
        )?;
        self.by_partition(
            "citytide_partition_holds_watermark",
            "1 for the partition that has held W back for more than two minutes while readings were accepted",
            None,
            &now.partitions,
            |one| {
                let holder = now.holder().map(|holder| holder.partition);
                Some(f64::from(u8::from(holder == Some(one.partition))))
            },
        )?;
        self.gauge(
            "citytide_frontier_standing",
            "How long the committed frontier has stood still; more than a second is unusual",
            Some(&Unit::Seconds),
            Some(seconds(now.standing_ms as i64, 1e3)),
        )
    }

    fn of_partitions(&mut self, partitions: &[PartitionFigures]) -> fmt::Result {
        let mut records = self.encoder.encode_descriptor(
            "citytide_offsets",
            "Offsets of a partition by outcome, since its first; they add up to its committed offset less its first",
            None,
            MetricType::Counter,
        )?;
        for one in partitions {
            let Counts { accepted, late, dead, lost, gaps } = one.counts;
            let outcomes = [accepted, late, dead, lost, gaps];
            for (outcome, count) in ["accepted", "late", "dead", "lost", "gap"].into_iter().zip(outcomes) {
                let labels = [("partition", one.partition.to_string()), ("outcome", outcome.to_owned())];
                let mut sample = records.encode_family(&labels)?;
                sample.encode_counter::<NoLabelSet, u64, f64>(&(count.max(0) as u64), None)?;
            }
        }
        self.by_partition(
            "citytide_partition_first_offset",
            "The first offset that was ever asked of the source",
            None,
            partitions,
            |one| Some(one.first_offset as f64),
        )?;
        self.by_partition(
            "citytide_partition_committed_offset",
            "The next offset to read; everything below it is visible",
            None,
            partitions,
            |one| Some(one.next_offset as f64),
        )?;
        self.by_partition(
            "citytide_partition_end_offset",
            "The partition's end as far as the source knows",
            None,
            partitions,
            |one| Some(one.end_offset as f64),
        )?;
        self.by_partition(
            "citytide_partition_watermark_timestamp",
            "The partition's watermark",
            Some(&Unit::Seconds),
            partitions,
            |one| one.watermark_us.map(|us| seconds(us, 1e6)),
        )?;
        self.by_partition(
            "citytide_partition_active",
            "1 when the partition counts for W, 0 when it is idle or has never held a record",
            None,
            partitions,
            |one| Some(f64::from(u8::from(one.activity == Activity::Active))),
        )
    }

    fn of_the_detector(&mut self, now: &Snapshot) -> fmt::Result {
        let Tally { by_rules, by_model, by_both, labelled } = now.tally;
        self.counters(
            "citytide_readings_flagged",
            "Accepted readings flagged since this process began, by what flagged them",
            &[
                ([("detector", "rules")], by_rules),
                ([("detector", "model")], by_model),
                ([("detector", "both")], by_both),
            ],
        )?;
        let cell = |truth, verdict| [("truth", truth), ("verdict", verdict)];
        self.counters(
            "citytide_labelled_readings",
            "Accepted readings with a label since this process began, by truth and verdict",
            &[
                (cell("anomaly", "anomaly"), labelled.true_positives),
                (cell("normal", "anomaly"), labelled.false_positives),
                (cell("anomaly", "normal"), labelled.false_negatives),
                (cell("normal", "normal"), labelled.true_negatives),
            ],
        )?;
        let detector = now.detector.as_ref();
        self.gauge(
            "citytide_model_version",
            "Version of the model in force; 0 while there is none",
            None,
            detector.map(|one| i64::from(one.version)),
        )?;
        let mut zones = self.encoder.encode_descriptor(
            "citytide_zones",
            "Zones by what judges them: rules alone, what other zones have taught, what they have taught themselves",
            None,
            MetricType::Gauge,
        )?;
        if let Some(one) = detector {
            for (level, count) in ["rules", "type", "zone"].into_iter().zip(one.zones) {
                zones.encode_family(&[("level", level)])?.encode_gauge(&(count as i64))?;
            }
        }
        self.gauge(
            "citytide_sensors",
            "Sensors with state in process 0, for the partitions that it reads",
            None,
            detector.map(|one| one.sensors as i64),
        )?;
        self.gauge(
            "citytide_partitions_at_sensors_max",
            "Partitions of process 0 with as many sensors as limits.sensors_max: further ones are judged without state",
            None,
            detector.map(|one| one.partitions_full as i64),
        )?;
        let outcomes = detector.map(|one| [("trained", one.trainings), ("failed", one.trainings_failed)]);
        let outcomes = outcomes.into_iter().flatten();
        self.counters(
            "citytide_trainings",
            "Trainings that ended since this process began",
            &outcomes.map(|(outcome, count)| ([("outcome", outcome)], count as i64)).collect::<Vec<_>>(),
        )?;
        self.gauge(
            "citytide_training_failed",
            "1 when the last training failed; the model in force stays",
            None,
            detector.map(|one| i64::from(one.training_failure.is_some())),
        )
    }

    fn of_followers(&mut self, followers: &[Follower]) -> fmt::Result {
        self.by_follower(
            "citytide_follower_behind",
            "From the epoch of a registered follower to the last committed one",
            Some(&Unit::Seconds),
            followers,
            |one| seconds(one.behind_ms, 1e3),
        )?;
        self.by_follower(
            "citytide_follower_holds_retention",
            "1 when readings older than retention.raw are kept for this follower",
            None,
            followers,
            |one| f64::from(u8::from(one.holds_retention)),
        )
    }

    fn by_follower(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        followers: &[Follower],
        value: impl Fn(&Follower) -> f64,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for one in followers.iter().take(FOLLOWERS_MAX) {
            metric.encode_family(&[("follower", one.name.as_str())])?.encode_gauge(&value(one))?;
        }
        Ok(())
    }

    fn of_this_process(&mut self, now: &Snapshot, run: &Telemetry) -> fmt::Result {
        let dropped = run.dropped_lines().counts();
        let streams = ["log", "show"].into_iter().zip(dropped);
        self.counters(
            "citytide_lines_dropped",
            "Lines of the log and of --show that process 0 dropped because they were read too slowly",
            &streams.map(|(stream, lines)| ([("stream", stream)], lines as i64)).collect::<Vec<_>>(),
        )?;
        let mut stages = self.encoder.encode_descriptor(
            "citytide_stage",
            "Time that the workers of process 0 spent in a stage; for commit, time in transactions",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        for stage in Stage::ALL {
            let labels = [("stage", stage.name())];
            let spent_s = now.stages.of(stage).as_secs_f64();
            stages.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&spent_s, None)?;
        }
        self.gauge(
            "citytide_anomalies_ahead",
            "Anomalies ahead of W that process 0 keeps for the live views; beyond a bound they wait in the database",
            None,
            Some(now.anomalies_ahead as i64),
        )?;
        self.gauge("citytide_workers", "Worker threads of process 0", None, Some(now.workers as i64))?;
        let mut build = self.encoder.encode_descriptor(
            "citytide_build",
            "Version of the running citytide",
            None,
            MetricType::Info,
        )?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        self.gauge(
            "process_start_time",
            "When this process began",
            Some(&Unit::Seconds),
            Some(seconds(now.now_ms as i64 - now.uptime_ms as i64, 1e3)),
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// A counter with labels.
    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        counts: &[([(&str, &str); N], i64)],
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in counts {
            let mut sample = metric.encode_family(labels)?;
            sample.encode_counter::<NoLabelSet, u64, f64>(&((*count).max(0) as u64), None)?;
        }
        Ok(())
    }

    /// A gauge; without a value it is described only.
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: Option<impl EncodeGaugeValue>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| metric.encode_gauge(&value))
    }

    fn by_partition(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        partitions: &[PartitionFigures],
        value: impl Fn(&PartitionFigures) -> Option<f64>,
    ) -> fmt::Result {
        let mut metric: MetricEncoder<'_> =
            self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for one in partitions {
            if let Some(value) = value(one) {
                let labels = [("partition", one.partition.to_string())];
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
