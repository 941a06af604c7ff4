//! The whole way of readings: scored, learnt from, explained; and what bad input may not do.

use std::sync::Arc;

use crate::forest::tests::Numbers;
use crate::*;

mod gaps;
mod slow;

const MINUTE: i64 = 60_000_000;

/// A zone of some sensors whose two metrics go up and down with the day, one reading a minute.
struct Street {
    layout: Arc<Layout>,
    scorer: Scorer,
    zones: ZoneModels,
    model: Option<Model>,
    states: SensorStates,
    training_data: TrainingData,
    sample: Sample,
    verdicts: Verdicts,
    numbers: Numbers,
    sensors: usize,
    minute: i64,
    /// Times that every sensor reads in what is a minute to the detector.
    per_minute: i64,
}

impl Street {
    fn new(sensors: usize) -> Street {
        let mut noise = MetricLayout::new("noise_level", 1, (0.0, 120.0), false);
        (noise.unit, noise.above) = ("dB".to_owned(), 110.0);
        let layout = Arc::new(Layout::of_metrics(vec![
            noise,
            MetricLayout::new("traffic_flow", 0, (0.0, 600.0), true),
        ]));
        let sample = Sample::new(10_000, 7 * 86_400_000_000);
        Street {
            scorer: Scorer::new(layout.clone()),
            zones: ZoneModels::default(),
            model: None,
            states: SensorStates::new(&layout),
            training_data: TrainingData { chosen: sample.chosen(), ..TrainingData::default() },
            sample,
            verdicts: Verdicts::default(),
            numbers: Numbers(1),
            sensors,
            minute: 0,
            per_minute: 1,
            layout,
        }
    }

    /// What the sensors would read in this minute.
    fn readings(&mut self) -> Vec<[f64; 2]> {
        let day = (self.minute as f64 / 1440.0 * std::f64::consts::TAU).sin();
        (0..self.sensors)
            .map(|_| {
                let noise = 58.0 + 6.0 * day + 2.0 * self.numbers.normal();
                let traffic = 200.0 * (0.5 * day + 0.3 * self.numbers.normal()).exp();
                [(noise * 10.0).round() / 10.0, traffic.round()]
            })
            .collect()
    }

    /// One minute of these readings.
    fn minute_of(&mut self, readings: &[[f64; 2]]) {
        self.score(readings);
        if self.minute % self.per_minute == 0 {
            self.zones.close(&self.layout, &std::mem::take(&mut self.training_data.stats));
        }
    }

    /// The same, and the minute is not closed yet.
    fn score(&mut self, readings: &[[f64; 2]]) {
        let count = readings.len();
        let times = vec![self.minute * MINUTE / self.per_minute; count];
        let (mut sensors, mut ends) = (Vec::new(), Vec::new());
        for sensor in 0..count {
            sensors.extend_from_slice(sensor.to_string().as_bytes());
            ends.push(sensors.len() as u32);
        }
        let metrics: Vec<Vec<f64>> =
            (0..2).map(|metric| readings.iter().map(|reading| reading[metric]).collect()).collect();
        let rows = Rows {
            event_times_us: &times,
            zones: &vec![0; count],
            zone_names: &[Arc::from("Downtown")],
            sensors: &sensors,
            sensor_ends: &ends,
            metrics: &metrics,
            late: &[],
            passed: times.first().map_or(0, |at_us| self.layout.tick(*at_us)),
            range: (0, count),
        };
        self.scorer.score(
            rows,
            &self.zones,
            self.model.as_ref(),
            &mut self.states,
            &mut self.verdicts,
            &mut self.training_data,
        );
        self.training_data.sampled.drain(..).for_each(|(hash, row)| self.sample.add(hash, row));
        self.minute += 1;
    }

    /// So many minutes of normal readings.
    fn pass(&mut self, minutes: usize) {
        for _ in 0..minutes {
            let readings = self.readings();
            self.minute_of(&readings);
        }
    }

    fn train(&mut self) {
        let until_us = self.minute * MINUTE / self.per_minute;
        let version = self.model.as_ref().map_or(1, |model| model.version() + 1);
        self.model = Some(Model::train(version, &self.layout, &self.sample, until_us).expect("rows enough"));
    }

    /// A street that has been watched for a day.
    fn watched() -> Street {
        let mut street = Street::new(20);
        street.pass(1500);
        street.train();
        street
    }

    fn flagged(&self, row: u32) -> Option<&Verdict> {
        self.verdicts.flagged.iter().find(|verdict| verdict.row == row)
    }

    fn level(&self) -> Level {
        self.zones.get("Downtown").map_or(Level::Rules, |zone| zone.level)
    }
}

#[test]
fn a_reading_far_from_what_is_typical_is_flagged_and_explained() {
    let mut street = Street::watched();
    let mut readings = street.readings();
    readings[3][0] = 96.0;
    street.minute_of(&readings);
    let verdict = street.flagged(3).expect("96 dB are not typical");
    assert_eq!((verdict.severity, verdict.flagged_by), (Severity::High, FlaggedBy::Model));
    let reasons: serde_json::Value = serde_json::from_str(&verdict.reasons).expect("JSON");
    assert_eq!((&reasons[0]["metric"], reasons[0]["actual"].as_f64()), (&"noise_level".into(), Some(96.0)));
    let typical = reasons[0]["typical"].as_f64().expect("a number");
    assert!((52.0..66.0).contains(&typical), "{reasons}");
    let text = reasons[0]["text"].as_str().expect("a sentence");
    assert!(text.starts_with("noise_level 96.0 dB, typical here at this hour 5"), "{text}");
    assert!(street.verdicts.scores[3] > 0.9 && street.verdicts.confidences[3] > 0.9);
}

#[test]
fn a_reason_says_how_many_of_the_sensors_last_eight_readings_were_flagged() {
    let mut street = Street::watched();
    let mut of_8 = |noise: &[f64]| -> Vec<Option<u64>> {
        let counts = noise.iter().map(|noise| {
            let mut readings = street.readings();
            readings[3][0] = *noise;
            street.minute_of(&readings);
            let reasons: serde_json::Value = serde_json::from_str(&street.flagged(3)?.reasons).expect("JSON");
            reasons[0]["flagged_of_8"].as_u64()
        });
        counts.collect()
    };
    assert_eq!(of_8(&[111.0; 3]), [Some(1), Some(2), Some(3)]);
    street.pass(60);
    let mut readings = street.readings();
    readings[3][0] = 111.0;
    street.minute_of(&readings);
    let reasons = &street.flagged(3).expect("a rule").reasons;
    assert!(reasons.contains(r#""flagged_of_8":1"#), "others came between: {reasons}");
    street.minute += 61;
    street.minute_of(&[[58.0, 100.0], [58.0, 100.0], [58.0, 100.0], [111.0, 100.0]]);
    let reasons = &street.flagged(3).expect("a rule").reasons;
    assert!(reasons.contains(r#""flagged_of_8":1"#), "after a long silence it begins anew: {reasons}");
    let bytes = street.states.to_bytes();
    let read = SensorStates::from_bytes(&street.layout, &bytes).expect("its own");
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn a_model_beside_says_what_it_would_say_in_force_and_changes_nothing() {
    let mut street = Street::watched();
    // The forest's tail is learnt from a model in force.
    street.pass(1500);
    let louder = [Member::Largest, Member::Together, Member::Recent, Member::Drift, Member::Against];
    louder.into_iter().for_each(|member| street.scorer.mute(member));
    let other = Model::train(2, &street.layout, &street.sample, street.minute * MINUTE).expect("rows enough");
    let mut readings = street.readings();
    for (row, reading) in readings.iter_mut().enumerate().skip(2) {
        reading[0] += row as f64 * 0.7;
    }
    readings[1][0] = 120.0;
    let (zones, states, training_data) =
        (street.zones.clone(), street.states.clone(), street.training_data.clone());
    street.minute_of(&readings);
    let alone = (street.verdicts.clone(), street.training_data.clone(), street.states.to_bytes());
    let again = |street: &mut Street, in_force: Model, beside: Option<&Model>| {
        (street.zones, street.states, street.training_data) =
            (zones.clone(), states.clone(), training_data.clone());
        street.minute -= 1;
        street.scorer.ask_beside(beside.cloned().map(Arc::new));
        street.model = Some(in_force);
        street.minute_of(&readings);
    };
    let in_force = street.model.clone().expect("it was trained");
    again(&mut street, in_force, Some(&other));
    let beside = std::mem::take(&mut street.verdicts.beside);
    assert!((street.verdicts.clone(), street.training_data.clone(), street.states.to_bytes()) == alone);
    again(&mut street, other, None);
    assert!(street.verdicts.beside.is_empty());
    let flagged: Vec<bool> = (0..20).map(|row| street.flagged(row).is_some()).collect();
    assert_eq!(beside.iter().map(|one| one.is_flagged).collect::<Vec<_>>(), flagged);
    assert_eq!(beside.iter().map(|one| one.score).collect::<Vec<_>>(), street.verdicts.scores);
    assert!(flagged[1] && flagged.contains(&false));
    assert_ne!(street.verdicts.scores, alone.0.scores, "another forest is heard");
}

#[test]
fn the_second_day_of_a_normal_street_is_rarely_flagged() {
    let mut street = Street::watched();
    let mut flagged = 0;
    for _ in 0..500 {
        street.pass(1);
        flagged += street.verdicts.flagged.len();
    }
    assert!(flagged < 200, "{flagged} of 10,000");
}

#[test]
fn a_broken_rule_is_flagged_from_the_first_reading_and_by_both_later() {
    let mut street = Street::new(20);
    street.minute_of(&[[111.0, 100.0]]);
    let verdict = street.flagged(0).expect("a rule");
    assert_eq!(verdict.flagged_by, FlaggedBy::Rules);
    let expected = r#"[{"metric":"noise_level","actual":111,"unit":"dB","rule":"> 110","flagged_of_8":1,"text":"noise_level 111 dB, above the bound of 110"}]"#;
    assert_eq!(verdict.reasons, expected, "nothing is typical yet");
    let mut street = Street::watched();
    let mut readings = street.readings();
    readings[0][0] = 111.0;
    street.minute_of(&readings);
    let verdict = street.flagged(0).expect("a rule");
    assert_eq!((verdict.flagged_by, verdict.severity), (FlaggedBy::Both, Severity::High));
    let reasons: serde_json::Value = serde_json::from_str(&verdict.reasons).expect("JSON");
    let rule = &reasons[0];
    let typical = rule["typical"].as_f64().expect("a number");
    assert!((52.0..66.0).contains(&typical) && rule["spread"].as_f64().expect("a number") > 0.0, "{rule}");
    assert_eq!((&rule["rule"], &rule["unit"]), (&"> 110".into(), &"dB".into()));
    let text = rule["text"].as_str().expect("a sentence");
    let beginning = "noise_level 111 dB, above the bound of 110, typical here at this hour 5";
    assert!(text.starts_with(beginning) && text.contains(" ± "), "{text}");
    assert_eq!(street.verdicts.scores[0], 1.0);
}

#[test]
fn without_a_model_only_rules_speak_and_a_new_zone_passes_from_rules_to_its_own_level() {
    let mut street = Street::new(20);
    street.pass(20);
    assert_eq!(street.level(), Level::Rules);
    street.pass(40);
    assert_eq!(street.level(), Level::Zone);
    let mut readings = street.readings();
    readings[3][0] = 100.0;
    street.minute_of(&readings);
    assert!(street.verdicts.flagged.is_empty(), "there is no model yet");
}

#[test]
fn a_stuck_metric_and_a_missing_one_are_flagged_with_a_sentence() {
    let mut street = Street::watched();
    for _ in 0..40 {
        let mut readings = street.readings();
        readings[5][0] = 58.3;
        street.minute_of(&readings);
    }
    let reasons = &street.flagged(5).expect("it is stuck").reasons;
    assert!(reasons.contains("noise_level 58.3 dB for 40 readings in a row"), "{reasons}");
    let mut readings = street.readings();
    readings[6][1] = f64::NAN;
    street.minute_of(&readings);
    let reasons = &street.flagged(6).expect("it is missing").reasons;
    assert!(reasons.contains("traffic_flow is missing") && reasons.contains(r#""actual":null"#), "{reasons}");
}

#[test]
fn lessons_of_two_workers_merge_in_any_order_to_the_same_bits() {
    let stats = |seed| {
        let mut street = Street::new(30);
        street.numbers = Numbers(seed);
        let readings = street.readings();
        let mut taken = SufficientStats::default();
        street.minute_of(&readings);
        std::mem::swap(&mut taken, &mut street.training_data.stats);
        let readings = street.readings();
        street.scorer.score(
            Rows {
                event_times_us: &[MINUTE; 30],
                zones: &[0; 30],
                zone_names: &[Arc::from("Downtown")],
                sensors: b"012345678901234567890123456789",
                sensor_ends: &(1..=30).collect::<Vec<u32>>(),
                metrics: &[
                    readings.iter().map(|reading| reading[0]).collect(),
                    readings.iter().map(|reading| reading[1]).collect(),
                ],
                late: &[],
                passed: 1,
                range: (0, 30),
            },
            &street.zones,
            None,
            &mut street.states,
            &mut street.verdicts,
            &mut street.training_data,
        );
        street.training_data.stats
    };
    let (a, b) = (stats(1), stats(2));
    let (mut forwards, mut backwards) = (a.clone(), b.clone());
    forwards.merge(&b);
    backwards.merge(&a);
    assert_eq!(forwards, backwards);
    assert_ne!(forwards, a);
    let text = serde_json::to_string(&forwards).expect("integers");
    assert_eq!(serde_json::from_str::<SufficientStats>(&text).expect("just written"), forwards);
}

#[test]
fn state_and_models_read_back_go_on_to_the_same_verdicts() {
    let mut street = Street::watched();
    let mut other = Street::new(20);
    other.states = SensorStates::from_bytes(&street.layout, &street.states.to_bytes()).expect("just written");
    assert_eq!(other.states.to_bytes(), street.states.to_bytes());
    let zone = street.zones.get("Downtown").expect("watched");
    let back = ZoneModel::from_bytes(&street.layout, &zone.to_bytes()).expect("just written");
    assert_eq!(back.to_bytes(), zone.to_bytes());
    other.zones.insert(Arc::from("Downtown"), back);
    (other.model, other.minute) = (street.model.clone(), street.minute);
    for _ in 0..50 {
        let mut readings = street.readings();
        readings[2][0] += 9.0;
        street.minute_of(&readings);
        other.minute_of(&readings);
        assert_eq!(street.verdicts, other.verdicts);
    }
}

#[test]
fn state_that_was_cut_short_or_is_of_another_domain_is_refused() {
    let street = Street::watched();
    let bytes = street.states.to_bytes();
    assert!(SensorStates::from_bytes(&street.layout, &bytes[..bytes.len() - 1]).is_err());
    assert!(SensorStates::from_bytes(&street.layout, b"something else").is_err());
    let nine = (0..9).map(|at| MetricLayout::new(&format!("m{at}"), 1, (0.0, 1.0), false));
    let other = Layout::of_metrics(nine.collect());
    let refusal = SensorStates::from_bytes(&other, &bytes).unwrap_err().to_string();
    assert!(refusal.contains("1 blocks of metrics, the domain 2"), "{refusal}");
}

#[test]
fn a_reading_older_than_the_sensors_last_is_judged_and_changes_nothing() {
    let mut street = Street::watched();
    let before = street.states.to_bytes();
    let readings = street.readings();
    street.minute -= 10;
    street.minute_of(&readings);
    assert_eq!(street.states.to_bytes(), before);
    assert_eq!(street.verdicts.scores.len(), 20);
}

#[test]
fn a_constant_metric_one_that_is_missing_for_days_and_a_zone_with_three_readings_do_no_harm() {
    let mut street = Street::new(20);
    for minute in 0..3000 {
        let mut readings = street.readings();
        for reading in &mut readings {
            reading[1] = if minute < 1500 { 50.0 } else { f64::NAN };
        }
        street.minute_of(&readings);
        if minute == 60 {
            street.train();
        }
        let settled = (200..1500).contains(&minute) || minute > 1700;
        assert!(
            !settled || street.verdicts.flagged.len() < 5,
            "{minute}: {:?}",
            street.verdicts.flagged.first()
        );
        assert!(street.verdicts.scores.iter().all(|score| score.is_finite()));
    }
    let mut street = Street::watched();
    street.scorer = Scorer::new(street.layout.clone());
    street.zones = ZoneModels::default();
    for _ in 0..3 {
        street.minute_of(&[[70.0, 10.0]]);
        assert!(street.verdicts.flagged.is_empty());
    }
}

#[test]
fn a_start_among_outliers_is_outgrown() {
    let mut street = Street::new(20);
    for _ in 0..10 {
        street.minute_of(&[[109.0, 5000.0]; 20]);
    }
    // Past the half-hour of the next day that is still held against them.
    street.pass(1600);
    street.train();
    let mut flagged = 0;
    for _ in 0..100 {
        street.pass(1);
        flagged += street.verdicts.flagged.len();
    }
    assert!(flagged < 100, "{flagged} of 2,000");
}

#[test]
fn a_clock_that_jumps_ahead_and_back_leaves_the_models_finite() {
    let mut street = Street::watched();
    street.minute += 100_000;
    street.pass(30);
    street.minute -= 100_030;
    street.pass(30);
    street.minute += 100_060;
    street.pass(60);
    assert!(street.verdicts.scores.iter().all(|score| score.is_finite()));
    let mut readings = street.readings();
    readings[3][0] = 100.0;
    street.minute_of(&readings);
    assert!(street.flagged(3).is_some());
}

#[test]
fn what_was_taught_long_ago_judges_nothing_and_the_first_minute_after_a_silence_says_where_the_zone_is() {
    // How many normal readings are flagged in half an hour, after three hours of silence or none.
    let flagged = |is_silent: bool| {
        let mut street = Street::watched();
        if is_silent {
            street.minute += 180;
            let readings = street.readings();
            street.minute_of(&readings);
            assert!(street.verdicts.by_rules.iter().all(|by_rules| *by_rules));
            assert_eq!(street.verdicts.flagged, []);
        } else {
            street.pass(1);
        }
        let mut flagged = 0;
        for _ in 0..30 {
            let readings = street.readings();
            street.minute_of(&readings);
            assert!(street.verdicts.by_rules.iter().all(|by_rules| !*by_rules));
            flagged += street.verdicts.flagged.len();
        }
        flagged
    };
    let (after_silence, usually) = (flagged(true), flagged(false));
    assert!(after_silence <= usually + 10, "{after_silence} of 600 after a silence, {usually} without one");
}

#[test]
fn a_backlog_whose_baselines_lag_by_hours_teaches_levels_and_is_judged_by_rules() {
    let mut street = Street::watched();
    let (mut flagged, mut by_rules, mut all) = (0, 0, 0);
    for _ in 0..8 {
        // What six hours teach is closed when they are over.
        for _ in 0..360 {
            let readings = street.readings();
            street.score(&readings);
            flagged += street.verdicts.flagged.len();
            by_rules += street.verdicts.by_rules.iter().filter(|by_rules| **by_rules).count();
            all += readings.len();
        }
        street.zones.close(&street.layout, &std::mem::take(&mut street.training_data.stats));
    }
    assert!(by_rules * 6 == all * 5, "all but the first of six hours: {by_rules} of {all}");
    assert!(flagged * 20 < all, "{flagged} of {all} are flagged");
    street.pass(10);
    let (mut flagged, mut all) = (0, 0);
    for _ in 0..60 {
        let readings = street.readings();
        street.minute_of(&readings);
        flagged += street.verdicts.flagged.len();
        all += readings.len();
    }
    assert!(flagged * 50 < all, "{flagged} of {all} are flagged");
}
