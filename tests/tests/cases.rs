//! What devices, gateways and people send, as they send it: `tests/cases/` holds an input each, fed as a file to
//! `citytide run`, and a test here says what the tables hold then.
//!
//! The modification time of a file stands for Kafka's timestamp.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use citytide_tests::database::Database;
use citytide_tests::process::{CommandLine, Ended, scratch};
use citytide_tests::scene::LIMIT;
use citytide_tests::services::{Services, services, unique};

/// When the readings of most cases were received.
const RECEIVED: &str = "2026-11-26T12:30:00Z";

/// A case that has been fed.
struct Fed {
    database: Database,
    /// What the run said.
    said: String,
}

/// How a case is fed.
struct Case<'a> {
    /// The file's name with its extension.
    file: &'a str,
    bytes: &'a [u8],
    received: &'a str,
    /// The domain file; smart-city without one.
    domain: Option<&'a str>,
}

impl<'a> Case<'a> {
    fn new(file: &'a str, bytes: &'a [u8]) -> Case<'a> {
        Case { file, bytes, received: RECEIVED, domain: None }
    }

    /// Feeds it to a run that has to end well.
    fn feed(&self) -> Fed {
        let (fed, ended) = self.try_to_feed();
        assert_eq!(ended, Ended::Exit(0), "{}", fed.said);
        fed
    }

    fn try_to_feed(&self) -> (Fed, Ended) {
        let services: Services = services();
        let database = Database::create(&services, "case");
        let place = scratch().join(unique("case"));
        std::fs::create_dir_all(&place).expect("a directory");
        let path = place.join(self.file);
        std::fs::write(&path, self.bytes).expect("writing the case");
        let received = DateTime::parse_from_rfc3339(self.received).expect("a time").timestamp() as u64;
        let file = std::fs::File::options().write(true).open(&path).expect("the case's file");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(received)).expect("a file's time");
        let domain = self.domain.map(|text| {
            let path = place.join("domain.toml");
            std::fs::write(&path, text).expect("writing the domain file");
            path
        });
        let (ended, said) = CommandLine::new(&services.citytide, "case")
            .args(["run", "--source", "files", "--database-url", &database.url, "--no-supervise"])
            .args(["--detector", "rules"])
            .args([&path])
            .domain(domain.as_deref())
            .finish(LIMIT);
        let _ = std::fs::remove_dir_all(&place);
        (Fed { database, said }, ended)
    }
}

impl Fed {
    /// The rows of a query, columns divided by blanks, nulls as `-`; conservation holds.
    fn rows(&self, sql: &str) -> Vec<String> {
        let session = &self.database.session;
        assert!(session.value::<bool>("select bool_and(holds) from conservation"), "{}", self.said);
        let sql = format!(
            "select (select string_agg(coalesce(value, '-'), ' ' order by number) from json_each_text(to_json(one)) \
             with ordinality as cell (key, value, number)) from ({sql}) as one"
        );
        session.query(&sql).iter().map(|row| row.get(0)).collect()
    }

    fn minutes(&self, figures: &str) -> Vec<String> {
        self.rows(&format!(
            "select zone, to_char(window_start, 'HH24:MI') as at, reading_count, {figures} from metrics_1min order by 1, 2"
        ))
    }

    fn dead(&self) -> Vec<String> {
        self.rows("select kafka_offset, reason, field from dead_letters order by kafka_offset")
    }
}

const NONE: [&str; 0] = [];

#[test]
fn times_without_colon_or_seconds_in_basic_form_and_among_blanks_are_read() {
    let fed = Case::new("a.jsonl", include_bytes!("../cases/offset-without-colon.jsonl")).feed();
    assert_eq!(
        fed.minutes("avg_temperature, min_temperature, max_temperature"),
        ["Downtown 12:00 5 11.5 11.2 11.8"]
    );
    assert_eq!(fed.dead(), NONE);
}

#[test]
fn seconds_milliseconds_microseconds_and_nanoseconds_are_told_apart_by_magnitude() {
    let fed = Case::new("a.jsonl", include_bytes!("../cases/epoch-by-magnitude.jsonl")).feed();
    assert_eq!(fed.minutes("avg_temperature"), ["Downtown 12:03 4 11.5"]);
    let times =
        fed.rows("select to_char(recorded_at, 'HH24:MI:SS.US') as at from sensor_data order by kafka_offset");
    assert_eq!(times, ["12:03:05.000000", "12:03:15.000000", "12:03:25.000000", "12:03:35.000000"]);
    assert_eq!(fed.dead(), NONE);
}

#[test]
fn a_clock_that_was_never_set_is_told_with_the_sensor() {
    let fed = Case::new("a.jsonl", include_bytes!("../cases/clock-not-set.jsonl")).feed();
    assert_eq!(fed.minutes("avg_temperature"), ["Downtown 12:04 1 10"]);
    let dead = fed.rows("select reason, field, sensor_id from dead_letters order by kafka_offset");
    let expected = ["esp-1", "esp-2", "gps-3"].map(|sensor| format!("clock_not_set timestamp {sensor}"));
    assert_eq!(dead, expected);
    let why: String =
        fed.database.session.value("select message from dead_letters where sensor_id = 'gps-3'");
    assert!(why.contains("1024 weeks behind"), "{why}");
}
