//! What a city promises, for smart-city and for a domain with other names.

use std::collections::{HashMap, HashSet};
use std::hash::Hasher;

use citytide_domain::Domain;
use fnv::FnvHasher;

use super::City;
use crate::json::Encoder;
use crate::reading::Reading;
use crate::schedule::Schedule;
use crate::settings::{CitySettings, Disorder, SettingsError};

const PLANT: &str = r#"
name = "plant"
topic = "machines"
[fields]
sensor = "machine"
time = "at"
zone = "hall"
[time]
out_of_orderness = "2s"
[[metrics]]
name = "vibration"
unit = "mm/s"
decimals = 3
usual = [0, 30]
anomalous = { above = 12 }
[[metrics]]
name = "load"
"#;

/// A domain without anything of smart-city's.
pub(super) const PLANT_MACHINES: &str = r#"
name = "plant"
topic = "machines"
[fields]
time_zone = "UTC"
[[metrics]]
name = "load"
unit = "kW"
usual = [0, 120]
pattern = { mean = 45, amplitude = 30, hours = [-1, -1, -1, -1, -1, -0.8, 0.4, 0.9, 1, 1, 1, 0.6, 0.3, 0.8, 1, 0.9, 0.7, 0.2, -0.5, -0.8, -1, -1, -1, -1], days = [1, 1, 1, 1, 0.9, 0.2, 0.1], noise = 2, proportional = true, follows = { duty = 5 } }
[[metrics]]
name = "vibration"
unit = "mm/s"
decimals = 3
usual = [0, 30]
anomalous = { above = 12 }
[metrics.pattern]
mean = 3
amplitude = 0
peaks = [12]
noise = 0.2
offset = 0.3
trend = { by = 2, from = 2026-11-26, until = 2026-12-16 }
follows = { duty = 0.3, hall = 0.1 }
[[metrics]]
name = "pressure"
unit = "bar"
usual = [0, 10]
[[zones]]
name = "Hall A"
[[zones]]
name = "Hall B"
character = { load = 1.3 }
[[generator.factors]]
name = "duty"
shared_by = "sensor"
memory = "2h"
[[generator.factors]]
name = "hall"
shared_by = "zone"
"#;

fn settings() -> CitySettings {
    CitySettings { seed: 42, sensors: 400, partitions: 4, anomalies: 0.05, disorder: Disorder::default() }
}

fn schedule() -> Schedule {
    // 2026-11-21T05:00:00Z
    Schedule { start_us: 1_795_237_200_000_000, rate: 200.0, speed: 1.0, first_offsets: vec![0; 4] }
}

fn city() -> City {
    City::new(&Domain::smart_city(), &settings(), schedule()).expect("right")
}

fn plant() -> (Domain, City) {
    let domain = Domain::parse("plant.toml", PLANT).expect("right");
    let city = City::new(&domain, &settings(), schedule()).expect("right");
    (domain, city)
}

pub(super) fn readings(city: &City, count: i64) -> Vec<Reading> {
    (0..count)
        .map(|number| city.place_of(number))
        .map(|(partition, offset)| city.reading(partition, offset))
        .collect()
}

#[test]
fn a_reading_depends_on_seed_partition_and_offset_only() {
    let (one, other) = (city(), city());
    let forwards = readings(&one, 1_000);
    let mut backwards: Vec<Reading> = (0..1_000)
        .rev()
        .map(|number| other.place_of(number))
        .map(|(partition, offset)| other.reading(partition, offset))
        .collect();
    backwards.reverse();
    assert!(forwards == backwards, "another order, other readings");

    let another = City::new(&Domain::smart_city(), &CitySettings { seed: 43, ..settings() }, schedule())
        .expect("right");
    let same = forwards.iter().zip(readings(&another, 1_000)).filter(|(a, b)| a.values == b.values).count();
    assert!(same < 10, "{same}");
}

#[test]
fn a_restart_at_later_offsets_changes_event_times_only() {
    let mut later = city();
    later.restart_at(schedule().start_us + 3_600_000_000, vec![500; 4]);
    assert_eq!(later.place_of(0), (0, 500));
    let (before, after) = (city().reading(1, 600), later.reading(1, 600));
    assert_eq!((before.sensor, before.zone), (after.sensor, after.zone));
    assert!(after.at_ms > before.at_ms);
}

#[test]
fn a_city_measures_the_same_at_another_schedule_although_the_clocks_have_changed_between() {
    // Summer time ends in Berlin between the history's start and the stream's.
    let domain =
        Domain::parse("plant.toml", &PLANT_MACHINES.replace("\"UTC\"", "\"Europe/Berlin\"")).expect("right");
    let (start_us, day_us) = (1_792_972_800_000_000, 86_400_000_000);
    let stream = Schedule { start_us, ..schedule() };
    let city = City::new(&domain, &settings(), stream.clone()).expect("right");
    let same = city.at(&domain, &settings(), stream).expect("right");
    assert!(readings(&city, 500) == readings(&same, 500));

    let history = Schedule::of_history(start_us - 3 * day_us, 400, vec![0; 4]);
    assert_eq!(history.turns_before(start_us), 3 * 1_440 * 400);
    let found = city.at(&domain, &settings(), history.clone()).expect("right");
    let mut expected =
        City::new(&domain, &settings(), Schedule { start_us, ..history.clone() }).expect("right");
    expected.restart_at(history.start_us, vec![0; 4]);
    let values =
        |city: &City| readings(city, 500).into_iter().map(|reading| reading.values).collect::<Vec<_>>();
    let bits = |city: &City| values(city).into_iter().flatten().map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&expected));
    let summer = City::new(&domain, &settings(), history).expect("right");
    assert_ne!(bits(&found), bits(&summer), "one hour of the day lies between");
}

#[test]
fn every_sensor_keeps_its_partition_and_zone_and_all_of_them_report() {
    let calm = CitySettings { anomalies: 0.0, ..settings() };
    let city = City::new(&Domain::smart_city(), &calm, schedule()).expect("right");
    let mut homes: HashMap<u32, (u32, usize)> = HashMap::new();
    let mut met: HashSet<(u32, usize)> = HashSet::new();
    for number in 0..2_000 {
        let (partition, offset) = city.place_of(number);
        let reading = city.reading(partition, offset);
        let home = *homes.entry(reading.sensor).or_insert((partition, reading.zone));
        assert_eq!(home, (partition, reading.zone));
        met.insert(home);
    }
    assert_eq!(homes.len(), 400);
    assert_eq!(met.len(), 4 * 8, "every zone has sensors in every partition");
}

#[test]
fn partitions_take_turns_without_gaps_and_those_without_sensors_are_left_out() {
    let few = CitySettings { sensors: 3, partitions: 16, ..settings() };
    let city = City::new(&Domain::smart_city(), &few, schedule()).expect("right");
    let places: Vec<_> = (0..5).map(|number| city.place_of(number)).collect();
    assert_eq!(places, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)]);
}

#[test]
fn some_readings_are_out_of_order_and_none_by_out_of_orderness() {
    let (_, plant) = plant();
    for (city, bound_ms) in [(city(), 5_000), (plant, 2_000)] {
        let mut highest: HashMap<u32, i64> = HashMap::new();
        let mut behind_a_second = 0;
        for number in 0..40_000 {
            let (partition, offset) = city.place_of(number);
            let reading = city.reading(partition, offset);
            let turn_ms = city.schedule().turn_us(number).div_euclid(1_000);
            assert!(reading.at_ms <= turn_ms && turn_ms - reading.at_ms < bound_ms);
            let highest = highest.entry(partition).or_insert(i64::MIN);
            assert!(reading.at_ms > highest.saturating_sub(bound_ms));
            behind_a_second += i64::from(reading.at_ms < highest.saturating_sub(1_000));
            *highest = reading.at_ms.max(*highest);
        }
        assert!(behind_a_second > 40, "{behind_a_second}");
    }
}

#[test]
fn the_json_says_what_the_reading_says() {
    let (domain, plant) = plant();
    for (domain, city) in [(Domain::smart_city(), city()), (domain, plant)] {
        let encoder = Encoder::new(&domain, &city);
        let mut json = Vec::new();
        for reading in readings(&city, 2_000) {
            encoder.encode(&reading, &mut json);
            let parsed: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
            let mut expected = serde_json::Map::new();
            let at = chrono::DateTime::from_timestamp_millis(reading.at_ms).expect("in range");
            expected.insert(domain.fields.sensor.clone(), reading.sensor.to_string().into());
            expected
                .insert(domain.fields.time.clone(), at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into());
            expected.insert(domain.fields.zone.clone(), city.zones()[reading.zone].clone().into());
            for (metric, value) in domain.metrics.iter().zip(&reading.values) {
                if value.is_nan() {
                    // Null in one event, left out in another.
                    let is_null = parsed.get(&metric.name).is_some_and(serde_json::Value::is_null);
                    assert_eq!(is_null, reading.truth.expect("a dropout").event & 1 == 0);
                    if is_null {
                        expected.insert(metric.name.clone(), serde_json::Value::Null);
                    }
                    continue;
                }
                let value = if metric.decimals == 0 { (*value as i64).into() } else { (*value).into() };
                expected.insert(metric.name.clone(), value);
            }
            assert_eq!(parsed, serde_json::Value::Object(expected));
        }
    }
}

#[test]
fn a_reading_of_smart_city_looks_as_in_the_design() {
    let city = city();
    let mut json = Vec::new();
    Encoder::new(&Domain::smart_city(), &city).encode(&city.reading(0, 0), &mut json);
    let text = String::from_utf8(json).expect("text");
    let start = "{\"sensor_id\":\"1\",\"timestamp\":\"2026-11-21T0";
    assert!(text.starts_with(start), "{text}");
    let order = [
        "\"zone\":\"Downtown\",\"temperature\":",
        "\"humidity\":",
        "\"aqi\":",
        "\"noise_level\":",
        "\"traffic_flow\":",
    ];
    let places: Vec<usize> =
        order.iter().map(|part| text.find(part).expect("a field of the design")).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn settings_that_make_no_city_are_refused() {
    let refused = |settings| City::new(&Domain::smart_city(), &settings, schedule()).map(|_| ());
    assert_eq!(refused(CitySettings { sensors: 0, ..settings() }), Err(SettingsError::Sensors(0)));
    assert_eq!(refused(CitySettings { partitions: 0, ..settings() }), Err(SettingsError::NoPartition));
    assert_eq!(refused(CitySettings { anomalies: 1.5, ..settings() }), Err(SettingsError::Anomalies(1.5)));
}

/// FNV-1a of the first readings of smart-city as they are sent.
fn fingerprint(city: &City) -> u64 {
    let encoder = Encoder::new(&Domain::smart_city(), city);
    let mut json = Vec::new();
    let mut hasher = FnvHasher::default();
    for number in 0..2_000 {
        let (partition, offset) = city.place_of(number);
        encoder.encode(&city.reading(partition, offset), &mut json);
        hasher.write(&json);
    }
    hasher.finish()
}

#[test]
fn a_city_of_a_version_stays_what_it_is() {
    let settings =
        CitySettings { seed: 7, sensors: 50, partitions: 4, anomalies: 0.05, disorder: Disorder::default() };
    let schedule =
        Schedule { start_us: 1_794_787_200_000_000, rate: 100.0, speed: 1.0, first_offsets: vec![0; 4] };
    let city = City::new(&Domain::smart_city(), &settings, schedule).expect("right");
    let found = (crate::MODEL, fingerprint(&city));
    assert_eq!(
        found,
        (3, 6_633_253_909_867_470_218),
        "smart-city makes other readings: raise MODEL, and put both numbers here"
    );
}
