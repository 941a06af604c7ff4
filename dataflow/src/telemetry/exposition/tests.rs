//! The inventory in the docs, and what a scraper reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use citytide_core::NEVER;
use citytide_core::batch::{Labelled, Tally};
use citytide_core::detect::DetectorStatus;
use citytide_core::position::Mark;
use citytide_store::upkeep::Seen;

use super::*;
use crate::sources::Assigned;

const INVENTORY: &str = include_str!("../../../../docs/metrics.md");

/// A run with two partitions, one of which has readings.
fn run() -> Arc<Telemetry> {
    let run = Telemetry::new(0, Arc::default());
    let assigned = |partition| Assigned {
        partition,
        next_offset: 10,
        low_offset: 10,
        end_offset: 10,
        is_end_known: true,
    };
    run.begin(2, &[assigned(0), assigned(1)], &[], NEVER);
    let mut mark = Mark::at_start(1, 10);
    mark.position.next_offset = 40;
    mark.position.counts = Counts { accepted: 20, late: 5, dead: 2, lost: 1, gaps: 2 };
    mark.position.watermark_us = 1_500_000;
    mark.reach.end_offset = 50;
    let labelled = Labelled { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 15 };
    let tally = Tally { by_rules: 1, by_model: 2, by_both: 0, labelled };
    run.stages.add(Stage::Decode, Duration::from_millis(250));
    run.committed(1_000, Duration::from_millis(500), 1_250_000, [&mark], &BTreeMap::from([(1, tally)]));
    let status = DetectorStatus { version: 4, zones: [1, 2, 5], sensors: 40, partitions_full: 1 };
    run.set_detector_status(0, status.clone());
    run.set_detector_status(1, status);
    run.set_anomalies_ahead(0, 30);
    run.set_anomalies_ahead(1, 12);
    run.trained(Ok(()));
    run.trained(Err("too few rows".to_owned()));
    run.see(Seen::Followers(vec![Follower {
        name: "parquet".to_owned(),
        epoch: 100,
        updated_us: None,
        behind_ms: 900,
        holds_retention: true,
    }]));
    run.dropped_lines().show.store(6, Ordering::Relaxed);
    Arc::new(run)
}

fn page() -> String {
    Exposition::new(run()).text()
}

/// Name, type, labels, unit and meaning of each metric, as the table and the page say.
type Rows = BTreeSet<(String, String, String, String, String)>;

fn documented() -> Rows {
    let rows = INVENTORY.lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(|row| match &cells(row)[..] {
        [name, kind, labels, unit, meaning] => {
            (name.clone(), kind.clone(), labels.clone(), unit.clone(), meaning.clone())
        }
        other => panic!("five columns, not {other:?}"),
    })
    .collect()
}

fn served(page: &str) -> Rows {
    let of = |word: &str| -> BTreeMap<String, String> {
        let prefix = format!("# {word} ");
        let lines = page.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once(' '));
        lines.map(|(name, what)| (name.to_owned(), what.to_owned())).collect()
    };
    let (kinds, units) = (of("TYPE"), of("UNIT"));
    let row = |(name, meaning): (String, String)| {
        let kind = kinds[&name].clone();
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let unit = units.get(&name).cloned().unwrap_or_default();
        let shown = format!("{name}{suffix}");
        let sample = page.lines().find(|line| {
            let rest = line.strip_prefix(&shown).unwrap_or_default();
            rest.starts_with('{') || rest.starts_with(' ')
        });
        let labels = sample.and_then(|line| line.split_once('{')?.1.split_once('}')).map_or_else(
            String::new,
            |found| {
                found
                    .0
                    .split(',')
                    .filter_map(|label| Some(label.split_once('=')?.0))
                    .collect::<Vec<_>>()
                    .join(", ")
            },
        );
        (shown, kind, labels, unit, meaning)
    };
    of("HELP").into_iter().map(row).collect()
}

#[test]
fn the_inventory_in_the_docs_is_what_is_served() {
    let (documented, served) = (documented(), served(&page()));
    assert!(served.len() > 15, "the page was read: {served:?}");
    let missing: Vec<_> = served.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&served).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not documented: {missing:#?}\nnot served: {gone:#?}");
}

#[test]
fn the_page_tells_the_figures() {
    let page = page();
    for line in [
        "events_processed_total 25",
        "anomalies_detected_total 3",
        "model_precision 0.75",
        "model_recall 0.75",
        "kafka_consumer_lag{partition=\"0\"} 0.0",
        "kafka_consumer_lag{partition=\"1\"} 10.0",
        "citytide_commits_total 1",
        "citytide_committed_epoch 1000",
        "citytide_watermark_timestamp_seconds 1.25",
        "citytide_offsets_total{partition=\"1\",outcome=\"accepted\"} 20",
        "citytide_offsets_total{partition=\"1\",outcome=\"gap\"} 2",
        "citytide_partition_first_offset{partition=\"1\"} 10.0",
        "citytide_partition_watermark_timestamp_seconds{partition=\"1\"} 1.5",
        "citytide_watermark_held_seconds 0.0",
        "citytide_partition_holds_watermark{partition=\"1\"} 0.0",
        "citytide_partition_active{partition=\"1\"} 1.0",
        "citytide_readings_flagged_total{detector=\"model\"} 2",
        "citytide_labelled_readings_total{truth=\"anomaly\",verdict=\"anomaly\"} 3",
        "citytide_labelled_readings_total{truth=\"normal\",verdict=\"normal\"} 15",
        "citytide_model_version 4",
        "citytide_zones{level=\"rules\"} 1",
        "citytide_zones{level=\"zone\"} 5",
        "citytide_sensors 80",
        "citytide_partitions_at_sensors_max 2",
        "citytide_trainings_total{outcome=\"trained\"} 1",
        "citytide_trainings_total{outcome=\"failed\"} 1",
        "citytide_training_failed 1",
        "citytide_follower_behind_seconds{follower=\"parquet\"} 0.9",
        "citytide_follower_holds_retention{follower=\"parquet\"} 1.0",
        "citytide_stage_seconds_total{stage=\"decode\"} 0.25",
        "citytide_stage_seconds_total{stage=\"commit\"} 0.5",
        "citytide_lines_dropped_total{stream=\"log\"} 0",
        "citytide_lines_dropped_total{stream=\"show\"} 6",
        "citytide_anomalies_ahead 42",
        "citytide_workers 2",
        "processing_latency_seconds_count 0",
        "processing_latency_seconds_bucket{le=\"+Inf\"} 0",
    ] {
        assert!(page.lines().any(|one| one == line), "{line} is not in\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
    assert!(!page.contains("watermark_timestamp_seconds{partition=\"0\"}"), "what is not known is not told");
}

#[test]
fn every_sample_belongs_to_a_metric_that_is_described_before_it() {
    let page = page();
    let mut described = String::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described = rest.split_once(' ').expect("a type").0.to_owned();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&described), "{line} stands below {described}");
            let value = line.rsplit(' ').next().expect("a value");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        }
    }
}

#[test]
fn a_run_that_is_starting_can_be_scraped() {
    let page = Exposition::new(Arc::new(Telemetry::new(0, Arc::default()))).text();
    assert!(page.contains("events_processed_total 0\n") && page.contains("citytide_workers 0\n"), "{page}");
    assert!(
        !page.contains("\ncitytide_model_version ") && !page.contains("\nmodel_recall "),
        "nobody has judged"
    );
}
