//! The binary from outside, as far as it needs no broker.

mod binary;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use binary::{Record, code_and_words, file, generator, output, printed, truth};
use chrono::{DateTime, TimeDelta, Utc};

const START: &str = "--rate 0 --start 2026-11-01T05:00:00Z";

fn time(record: &Record) -> DateTime<Utc> {
    let json = record.json();
    json["timestamp"].as_str().expect("a time").parse().expect("RFC 3339")
}

#[test]
fn the_same_seed_and_start_print_the_same_lines_and_another_seed_does_not() {
    let records = printed(&format!("{START} --count 1000 --seed 7"));
    assert_eq!(records.len(), 1000);
    assert_eq!(records, printed(&format!("{START} --count 1000 --seed 7")));
    assert_ne!(records, printed(&format!("{START} --count 1000 --seed 8")));
    let fewer = printed(&format!("{START} --count 400 --seed 7"));
    assert_eq!(records[..400], fewer, "more of the same city begins with the same readings");
    let keys =
        ["aqi", "humidity", "noise_level", "sensor_id", "temperature", "timestamp", "traffic_flow", "zone"];
    for record in &records {
        let json = record.json();
        let names: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert!(names.iter().all(|name| keys.contains(name)), "nothing else is in a payload: {json}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in ["plot", "--rate 0 --stdout --count 100000"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let words: Vec<&str> = arguments.split(' ').collect();
        let mut command = generator(&words);
        command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        assert_eq!(command.status().expect("the generator").code(), Some(0), "{arguments}");
    }
}

#[test]
fn how_fast_readings_are_sent_changes_none_of_them() {
    let at_once = printed("--rate 0 --start 2026-11-01T05:00:00Z --duration 1h --count 600");
    let paced = printed("--rate 3000 --speed 18000 --start 2026-11-01T05:00:00Z --duration 1h");
    assert_eq!(at_once.len(), 600);
    assert_eq!(at_once, paced);
}

#[test]
fn a_week_in_under_a_second_ends_at_now() {
    #[expect(clippy::disallowed_methods, reason = "what is compared with the clock")]
    let before = Utc::now();
    let records = printed("--duration 7d --speed 1000000 --rate 1000 --late 0");
    assert_eq!(records.len(), 605, "604,800 s of event time in 0.6048 s at 1,000/s");
    let (first, last) = (time(&records[0]), time(&records[604]));
    #[expect(clippy::disallowed_methods, reason = "what is compared with the clock")]
    let after = Utc::now();
    let lag = TimeDelta::seconds(60);
    assert!(first >= before - TimeDelta::days(7) - lag && first <= after - TimeDelta::days(7), "{first}");
    assert!(last <= after && last >= before - TimeDelta::minutes(20) - lag, "{last}");
}

#[test]
fn a_history_comes_before_the_stream_at_a_reading_a_minute_and_without_a_seam() {
    let words = "--start 2026-11-01T05:00:00Z --sensors 20 --partitions 3 --anomalies 0 --out-of-order 0 --history 2h";
    let records = printed(&format!("{words} --rate 0 --count 3600 --duration 1h"));
    assert_eq!(records.len(), 120 * 20 + 3600);
    // In the history sixty seconds lie between two readings of a sensor; in the stream, a second and more.
    let mut last: BTreeMap<String, (DateTime<Utc>, f64)> = BTreeMap::new();
    let start: DateTime<Utc> = "2026-11-01T05:00:00Z".parse().expect("a time");
    for (number, record) in records.iter().enumerate() {
        let (at, json) = (time(record), record.json());
        let (is_history, jitter) = (number < 2400, TimeDelta::milliseconds(250));
        let (from, until) = match is_history {
            true => (start - TimeDelta::hours(2) - jitter, start),
            false => (start - jitter, start + TimeDelta::hours(1)),
        };
        assert!((from..until).contains(&at), "{number} {at}");
        let temperature = json["temperature"].as_f64().expect("a number");
        let sensor = json["sensor_id"].as_str().expect("text").to_owned();
        if let Some((before, other)) = last.insert(sensor, (at, temperature)) {
            assert!(at > before && at - before < TimeDelta::seconds(75), "{before} {at}");
            assert!((temperature - other).abs() < 4.0, "no jump at {at}: {other} {temperature}");
        }
    }
    assert_eq!(last.len(), 20);
    let other = printed(&format!("{words} --rate 0 --count 60 --duration 1h"));
    assert_eq!(other[..2400], records[..2400], "what follows does not change it");
}

#[test]
fn a_history_reaches_up_to_now_and_is_not_counted() {
    #[expect(clippy::disallowed_methods, reason = "what is compared with the clock")]
    let before = Utc::now();
    let records = printed("--history 1h --sensors 30 --rate 1000 --count 100 --out-of-order 0");
    assert!(records.len() >= 60 * 30 + 100, "{}", records.len());
    let (first, last) = (time(&records[0]), time(&records[records.len() - 101]));
    assert!(
        first <= before - TimeDelta::minutes(59) && last >= before - TimeDelta::seconds(3),
        "{first} {last}"
    );
    let times: Vec<DateTime<Utc>> = records[records.len() - 100..].iter().map(time).collect();
    assert!(times.iter().all(|at| *at >= last - TimeDelta::milliseconds(250)), "the stream follows");
}

#[test]
fn sensors_and_partitions_are_as_many_as_were_asked_for() {
    let records = printed(&format!("{START} --count 2000 --sensors 12 --partitions 3"));
    let sensors: BTreeSet<String> =
        records.iter().map(|record| record.json()["sensor_id"].as_str().expect("text").to_owned()).collect();
    assert_eq!(sensors, (1..=12).map(|sensor| sensor.to_string()).collect());
    let partitions: BTreeSet<u32> = records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions, BTreeSet::from([0, 1, 2]));
}

#[test]
fn the_truth_names_what_the_payloads_show() {
    let path = file("truth.csv");
    let records = printed(&format!("{START} --count 20000 --truth {}", path.display()));
    let told = truth(&path);
    let anomalous = told.iter().filter(|told| told.kind != "silence").count();
    assert!((400..2000).contains(&anomalous), "{anomalous} of 20,000 are about one in twenty");
    let at = |partition: u32, offset: u64| {
        records
            .iter()
            .find(|record| (record.partition, record.offset) == (partition, offset))
            .expect("a record")
    };
    for told in &told {
        let json = at(told.partition, told.offset).json();
        let number = |metric: &str| json[metric].as_f64();
        match told.kind.as_str() {
            "range" => assert!(
                told.metrics.iter().any(|metric| match (metric.as_str(), number(metric)) {
                    ("temperature", Some(value)) => !(-5.0..=40.0).contains(&value),
                    ("aqi", Some(value)) => value > 300.0,
                    ("noise_level", Some(value)) => value > 100.0,
                    ("traffic_flow", Some(value)) => value > 500.0,
                    ("humidity", Some(value)) => !(0.0..=100.0).contains(&value),
                    _ => false,
                }),
                "{told:?} {json}"
            ),
            "dropout" => {
                assert!(told.metrics.iter().all(|metric| number(metric).is_none()), "{told:?} {json}")
            }
            "silence" => {
                assert_ne!(json["sensor_id"].as_str(), Some(told.sensor.as_str()), "{told:?} {json}")
            }
            _ => assert!(!told.metrics.is_empty(), "{told:?}"),
        }
        if told.kind != "silence" {
            assert_eq!(json["sensor_id"].as_str(), Some(told.sensor.as_str()));
        }
    }
    let again = output(&[
        "--stdout",
        "--quiet",
        "--rate",
        "0",
        "--count",
        "0",
        "--truth",
        path.to_str().expect("text"),
    ]);
    assert!(again.status.success());
    assert_eq!(truth(&path), [], "printed readings begin anew, and so does their truth");
}

#[test]
fn a_city_without_anomalies_has_nothing_to_tell() {
    let path = file("no-truth.csv");
    printed(&format!("{START} --count 3000 --anomalies 0 --truth {}", path.display()));
    assert_eq!(truth(&path), []);
}

#[test]
fn another_domain_needs_no_code() {
    let domain = file("machines.toml");
    let text = "name = \"machines\"\ntopic = \"plant\"\n\
        [fields]\nsensor = \"machine\"\ntime = \"at\"\nzone = \"hall\"\n\
        [[metrics]]\nname = \"vibration\"\nunit = \"mm/s\"\ndecimals = 2\nusual = [0, 20]\nanomalous = { above = 12 }\n\
        pattern = { mean = 4, amplitude = 1, peaks = [10], noise = 0.4 }\n\
        [[zones]]\nname = \"Hall A\"\n[[zones]]\nname = \"Hall B\"\n";
    std::fs::write(&domain, text).expect("written");
    let records = printed(&format!("{START} --count 500 --domain {}", domain.display()));
    let halls: BTreeSet<String> =
        records.iter().map(|record| record.json()["hall"].as_str().expect("text").to_owned()).collect();
    assert_eq!(halls, BTreeSet::from(["Hall A".to_owned(), "Hall B".to_owned()]));
    assert!(records.iter().all(|record| record.json()["machine"].is_string()));
    assert!(records.iter().any(|record| record.json()["vibration"].is_f64()));
}

#[test]
fn a_reader_that_has_enough_ends_the_run_in_peace() {
    let mut child = generator(&["--stdout", "--rate", "0", "--quiet"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.next().expect("a line").is_ok());
    drop(lines);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_it_does_is_said_once_and_quiet_says_nothing() {
    let (code, words) = code_and_words(&["--stdout", "--rate", "0", "--count", "50", "--seed", "9"]);
    assert_eq!(code, Some(0));
    assert!(words.contains("400 sensors in 8 zones, 4 partitions, as fast as possible, seed 9"), "{words}");
    assert!(words.contains("50 readings in "), "{words}");
    let (code, words) = code_and_words(&["--stdout", "--rate", "0", "--count", "50", "--quiet"]);
    assert_eq!((code, words.as_str()), (Some(0), ""));
}

#[test]
fn a_picture_shows_each_zone_and_metric_and_is_the_same_each_time() {
    let picture = |name: &str| {
        let file = file(name);
        let words =
            ["plot", "--days", "2", "--start", "2026-11-16", "--output", file.to_str().expect("text")];
        assert_eq!(code_and_words(&words), (Some(0), String::new()));
        std::fs::read_to_string(file).expect("a picture")
    };
    let svg = picture("one.svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for words in [
        "Downtown",
        "Medical Center",
        "temperature, °C",
        "traffic flow, vehicles/min",
        "16 to 17 November 2026",
    ] {
        assert!(svg.contains(words), "{words}");
    }
    assert_eq!(svg.matches("scale(.1)").count(), 8 * 5);
    assert_eq!(svg, picture("other.svg"));
}

#[test]
fn help_tells_units_defaults_examples_and_exit_codes() {
    let output = output(&["--help"]);
    let help = String::from_utf8(output.stdout).expect("text");
    for words in [
        "[default: 200]",
        "250ms, 90s, 5m, 24h, 7d",
        "--duration 7d --speed 10000",
        "69  Kafka is away",
        "plot",
    ] {
        assert!(help.contains(words), "{words}: {help}");
    }
}

#[test]
fn what_cannot_be_done_ends_with_the_reason_and_its_code() {
    for (words, code, reason) in [
        ("--domain no-such.toml", 78, "cannot read the domain file no-such.toml"),
        ("--start 9999-01-01T00:00:00Z", 78, "is in the future"),
        ("--start tomorrow", 2, "write it as 2026-11-21T05:26:00Z"),
        ("--anomalies 2", 78, "--anomalies 2 is not a share; give a number from 0 to 1"),
        ("--late 0.6", 78, "--late 0.6 is not a share; give a number from 0 to 0.5"),
        ("--sensors 0", 78, "ask for 1 to"),
        ("--speed 60", 78, "give --duration, --count or --start"),
        ("--speed 60 --rate 0 --duration 1h", 78, "leave one of them out"),
        ("--history 400d", 78, "beyond the domain's max_age of 8784 hours"),
        ("--duration 5", 2, "its unit is missing"),
        ("--duration 0s", 2, "must be longer than 0"),
        ("--truth /no/such/place.csv", 70, "cannot write the truth to /no/such/place.csv"),
    ] {
        let (ended, said) =
            code_and_words(&["--stdout"].into_iter().chain(words.split(' ')).collect::<Vec<_>>());
        assert_eq!(ended, Some(code), "{words}: {said}");
        assert!(said.contains(reason), "{words}: {said}");
    }
    let (code, words) = code_and_words(&["--stdout", "--anomalies", "2", "--late", "0.6", "--speed", "0.1"]);
    assert_eq!((code, words.lines().count()), (Some(78), 3), "all at once: {words}");

    // Port 1 is privileged and unused: the connection is refused at once.
    let (code, words) = code_and_words(&["--brokers", "127.0.0.1:1"]);
    assert_eq!(code, Some(69));
    assert!(words.contains("no Kafka broker answers at 127.0.0.1:1"), "{words}");
}
