//! Every reason by example, and the two ways of reading against each other and against serde_json and chrono.

use chrono::{DateTime, FixedOffset, TimeZone};
use citytide_domain::{
    DetectorSettings, Domain, Fields, GeneratorSettings, IncidentRule, IncidentSettings, Limits, Metric,
    Pattern, Retention, TimeSettings, Window,
};
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;
/// 2026-11-21T05:26:00Z.
const NOON: i64 = 1_795_238_760 * SECOND;

fn domain(time_zone: Tz) -> Domain {
    let metric = |name: &str| Metric {
        name: name.to_owned(),
        unit: String::new(),
        decimals: 1,
        usual: (0.0, 1.0),
        below: None,
        above: None,
        clear: Default::default(),
        show: None,
        incidents: IncidentRule::default(),
        pattern: Pattern::default(),
    };
    Domain {
        name: "tests".to_owned(),
        topic: "tests".to_owned(),
        fields: Fields {
            sensor: "sensor_id".to_owned(),
            time: "timestamp".to_owned(),
            zone: "zone".to_owned(),
            time_zone,
        },
        time: TimeSettings {
            out_of_orderness_us: 5 * SECOND,
            allowed_lateness_us: 60 * SECOND,
            jump_max_us: 600 * SECOND,
            idle_after_us: 10 * SECOND,
            future_max_us: 60 * SECOND,
            max_age_us: 366 * 86_400 * SECOND,
        },
        limits: Limits { zones_max: 1000, sensors_max: 20_000 },
        retention: Retention { raw_us: None, windows_us: None },
        detector: DetectorSettings::default(),
        incidents: IncidentSettings::default(),
        metrics: vec![metric("temperature"), metric("aqi")],
        windows: vec![Window { name: "1min".to_owned(), size_us: 60 * SECOND, slide_us: 60 * SECOND }],
        sessions: Vec::new(),
        zones: vec![],
        generator: GeneratorSettings::default(),
    }
}

fn decode(payload: &[u8]) -> Result<(Reading<'_>, [f64; 2]), DecodeError> {
    decode_in(Tz::UTC, payload, NOON)
}

fn decode_in(
    time_zone: Tz,
    payload: &[u8],
    received_at_us: i64,
) -> Result<(Reading<'_>, [f64; 2]), DecodeError> {
    let mut values = [0.0; 2];
    let reading = Decoder::new(&domain(time_zone)).decode(payload, received_at_us, &mut values)?;
    Ok((reading, values))
}

fn refusal(payload: &str) -> (Reason, Option<String>) {
    match decode(payload.as_bytes()) {
        Err(error) => {
            assert!(!error.message.contains('\0') && !error.message.is_empty(), "{payload}: {error}");
            (error.reason, error.field)
        }
        Ok(reading) => panic!("{payload} was read as {reading:?}"),
    }
}

#[test]
fn a_reading_as_the_generator_writes_it_is_read() {
    let payload = br#"{"sensor_id":"42","timestamp":"2026-11-21T05:26:00.123Z","zone":"Downtown","temperature":24.3,"aqi":87}"#;
    let (reading, values) = decode(payload).unwrap();
    assert_eq!((&*reading.sensor, &*reading.zone, reading.event_time_us), ("42", "Downtown", NOON + 123_000));
    assert_eq!(values, [24.3, 87.0]);
    assert!(matches!((reading.sensor, reading.zone), (Cow::Borrowed(_), Cow::Borrowed(_))));
}

#[test]
fn what_is_unusual_but_right_is_read() {
    let whole = |sensor: &str, zone: &str, temperature: &str| {
        format!(
            r#"{{"sensor_id":{sensor},"timestamp":"2026-11-21T05:26:00Z","zone":{zone},"temperature":{temperature},"aqi":null}}"#
        )
    };
    let long = format!("\"{}\"", "ü".repeat(100));
    for (sensor, zone, temperature, expected) in [
        ("42", r#""A""#, "1", ("42", "A", 1.0)),
        ("-7", r#""A""#, "-1", ("-7", "A", -1.0)),
        ("-0", r#""A""#, "-0.0", ("-0", "A", 0.0)),
        ("18446744073709551616", r#""A""#, "-0", ("18446744073709551616", "A", 0.0)),
        (r#""a\"b""#, r#""\u00dcmit""#, "1e12", ("a\"b", "Ümit", 1e12)),
        (&long, r#"" ""#, "1000000000000", (&long[1..201], " ", 1e12)),
        (r#""1""#, r#""A""#, "23.456789012345678", ("1", "A", 23.456789012345678)),
        (r#""1""#, r#""A""#, "1e-999", ("1", "A", 0.0)),
        ("42.0", "7", "1", ("42", "7", 1.0)),
        ("-7.00", "-0", "1", ("-7", "-0", 1.0)),
        ("1", "18446744073709551616", "1", ("1", "18446744073709551616", 1.0)),
    ] {
        let payload = whole(sensor, zone, temperature);
        let (reading, values) = decode(payload.as_bytes()).unwrap();
        assert_eq!((&*reading.sensor, &*reading.zone, values[0]), expected, "{payload}");
        assert!(values[0].is_sign_positive() || values[0] < 0.0, "{payload}");
        assert!(values[1].is_nan());
    }
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    for payload in [
        r#"{"aqi":1,"zone":"A","timestamp":"2026-11-21T05:26:00Z","sensor_id":"1"}"#.to_owned(),
        r#" {"\u007aone":"A", "timestamp":"2026-11-21T05:26:00Z","sensor_id":"1","temp\u0065rature":null,"aqi":1 } "#
            .to_owned(),
        r#"{"x":{"zone":[1e999]},"x":2,"zone":"A","timestamp":"2026-11-21T05:26:00Z","sensor_id":"1","aqi":1}"#.to_owned(),
        format!(r#"{{"x":{nested},"zone":"A","timestamp":"2026-11-21T05:26:00Z","sensor_id":"1","aqi":1}}"#),
    ] {
        let (reading, values) = decode(payload.as_bytes()).unwrap();
        assert_eq!((&*reading.sensor, &*reading.zone, reading.event_time_us), ("1", "A", NOON), "{payload}");
        assert!(values[0].is_nan() && values[1] == 1.0, "{payload}");
    }
}

#[test]
fn every_reason_has_its_cases() {
    use Reason::*;
    let bytes = |payload: &[u8]| decode(payload).map(drop).map_err(|error| error.reason);
    assert_eq!(bytes(b""), Err(Empty));
    assert_eq!(bytes(b"\xff{}"), Err(NotUtf8));
    assert_eq!(bytes(b"{\"x\":\"\xc3\"}"), Err(NotUtf8));
    let records = [
        ("  ", NotJson),
        ("hello", NotJson),
        ("{", NotJson),
        (r#"{"sensor_id":"1""#, NotJson),
        ("NaN", NotJson),
        ("\u{feff}{}", NotJson),
        ("[1,]", NotJson),
        ("[]", WrongType),
        ("3", WrongType),
        (r#" "text" "#, WrongType),
        ("null", WrongType),
        ("true", WrongType),
    ];
    for (payload, reason) in records {
        assert_eq!(refusal(payload), (reason, None), "{payload}");
    }
    let whole = |sensor: &str, time: &str, zone: &str, metrics: &str| {
        format!(r#"{{"sensor_id":{sensor},"timestamp":{time},"zone":{zone}{metrics}}}"#)
    };
    let (s, t, z, m) = ("1", "\"2026-11-21T05:26:00Z\"", "\"A\"", ",\"aqi\":1");
    let long = format!("\"{}\"", "x".repeat(201));
    let digits = "9".repeat(201);
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    let deep = format!(",\"aqi\":{deep}");
    for (sensor, time, zone, metrics, reason, field) in [
        ("null", t, z, m, MissingField, Some("sensor_id")),
        ("\"\"", t, z, m, MissingField, Some("sensor_id")),
        ("true", t, z, m, WrongType, Some("sensor_id")),
        ("42.5", t, z, m, WrongType, Some("sensor_id")),
        ("1e3", t, z, m, WrongType, Some("sensor_id")),
        ("1e999", t, z, m, WrongType, Some("sensor_id")),
        ("[1]", t, z, m, WrongType, Some("sensor_id")),
        ("\"a\\u0000\"", t, z, m, WrongType, Some("sensor_id")),
        (&long, t, z, m, TooLong, Some("sensor_id")),
        (&digits, t, z, m, TooLong, Some("sensor_id")),
        ("01", t, z, m, NotJson, None),
        ("\"\\ud800\"", t, z, m, NotJson, None),
        (s, "null", z, m, MissingField, Some("timestamp")),
        (s, "true", z, m, WrongType, Some("timestamp")),
        (s, "{}", z, m, WrongType, Some("timestamp")),
        (s, "\"\"", z, m, BadTimestamp, Some("timestamp")),
        (s, "\"yesterday\"", z, m, BadTimestamp, Some("timestamp")),
        (s, "\"2026-02-29T00:00:00Z\"", z, m, BadTimestamp, Some("timestamp")),
        (s, "\"2026-11-21T05:26:00.Z\"", z, m, BadTimestamp, Some("timestamp")),
        (s, "1e999", z, m, BadTimestamp, Some("timestamp")),
        (s, "9223372036854775808", z, m, BadTimestamp, Some("timestamp")),
        (s, "9223372036854775807", z, m, InTheFuture, Some("timestamp")),
        (s, "-99999999999999999999", z, m, BadTimestamp, Some("timestamp")),
        (s, "NaN", z, m, NotJson, None),
        (s, t, "null", m, MissingField, Some("zone")),
        (s, t, "\"\"", m, MissingField, Some("zone")),
        (s, t, "5.5", m, WrongType, Some("zone")),
        (s, t, "\"\\u0000\"", m, WrongType, Some("zone")),
        (s, t, &long, m, TooLong, Some("zone")),
        (s, t, z, "", NoMetric, None),
        (s, t, z, ",\"aqi\":null,\"temperature\":null", NoMetric, None),
        (s, t, z, ",\"aqi\":true", WrongType, Some("aqi")),
        (s, t, z, ",\"aqi\":\"1\"", WrongType, Some("aqi")),
        (s, t, z, ",\"aqi\":[1]", WrongType, Some("aqi")),
        (s, t, z, ",\"aqi\":{}", WrongType, Some("aqi")),
        (s, t, z, &deep, WrongType, Some("aqi")),
        (s, t, z, ",\"aqi\":NaN", BadNumber, Some("aqi")),
        (s, t, z, ",\"aqi\": Infinity ,\"temperature\":1", BadNumber, Some("aqi")),
        (s, t, z, ",\"aqi\":-Infinity", BadNumber, Some("aqi")),
        (s, t, z, ",\"aqi\":1e999", BadNumber, Some("aqi")),
        (s, t, z, ",\"aqi\":1000000000000.1", BadNumber, Some("aqi")),
        (s, t, z, ",\"aqi\":-123456789012345678901234567890", BadNumber, Some("aqi")),
        (s, t, z, ",\"aqi\":NaN5", NotJson, None),
        (s, t, z, ",\"aqi\":nan", NotJson, None),
        (s, t, z, ",\"aqi\":[NaN]", NotJson, None),
        (s, t, z, ",\"aqi\":1,\"x\":NaN", NotJson, None),
        (s, t, z, ",\"aqi\":1} {", NotJson, None),
        (s, t, z, ",\"aqi\":1}x{", NotJson, None),
        (s, t, z, ",\"aqi\":1,", NotJson, None),
        (s, t, z, ",\"aqi\":1,\"aqi\":1", DuplicateField, Some("aqi")),
        (s, t, z, ",\"aqi\":null,\"aqi\":null", DuplicateField, Some("aqi")),
        (s, t, z, ",\"aqi\":1,\"zone\":\"A\"", DuplicateField, Some("zone")),
        (s, t, z, ",\"aqi\":1,\"\\u007aone\":\"A\"", DuplicateField, Some("zone")),
        (s, "\"2026-11-21T05:27:00.000001Z\"", z, m, InTheFuture, Some("timestamp")),
        (s, "\"2025-11-20T05:25:59.999999Z\"", z, m, TooOld, Some("timestamp")),
        (s, "0", z, m, ClockNotSet, Some("timestamp")),
    ] {
        let payload = whole(sensor, time, zone, metrics);
        assert_eq!(refusal(&payload), (reason, field.map(str::to_owned)), "{payload}");
    }
}

#[test]
fn of_several_faults_the_first_in_the_order_of_the_rules_is_reported() {
    use Reason::*;
    let order = [
        (r#"{"aqi":true,"aqi":1,"sensor_id":true,"zone":"""#, NotJson, None),
        (r#"{"aqi":true,"aqi":1,"timestamp":1,"timestamp":2}"#, DuplicateField, Some("timestamp")),
        (r#"{"aqi":true}"#, MissingField, Some("sensor_id")),
        (r#"{"sensor_id":1,"zone":[],"aqi":true}"#, MissingField, Some("timestamp")),
        (r#"{"sensor_id":1,"zone":[],"timestamp":"x","aqi":true}"#, BadTimestamp, Some("timestamp")),
        (r#"{"aqi":true,"sensor_id":1,"zone":[],"timestamp":0}"#, WrongType, Some("zone")),
        (
            r#"{"aqi":true,"temperature":NaN,"sensor_id":1,"zone":"A","timestamp":0}"#,
            BadNumber,
            Some("temperature"),
        ),
        (r#"{"aqi":true,"temperature":1,"sensor_id":1,"zone":"A","timestamp":0}"#, WrongType, Some("aqi")),
        (r#"{"sensor_id":1,"zone":"A","timestamp":0}"#, NoMetric, None),
        (r#"{"aqi":1,"sensor_id":1,"zone":"A","timestamp":0}"#, ClockNotSet, Some("timestamp")),
    ];
    for (payload, reason, field) in order {
        assert_eq!(refusal(payload), (reason, field.map(str::to_owned)), "{payload}");
    }
}

#[test]
fn the_bounds_of_the_clock_are_inside() {
    for at in ["2026-11-21T05:27:00Z", "2025-11-20T05:26:00Z"] {
        let payload = format!(r#"{{"sensor_id":"1","timestamp":"{at}","zone":"A","aqi":1}}"#);
        decode(payload.as_bytes()).unwrap_or_else(|error| panic!("{payload}: {error}"));
    }
}

#[test]
fn a_clock_that_is_not_set_or_a_timestamp_in_another_unit_is_told_apart_from_an_old_reading() {
    let judged = |event: &str, received_us: i64| {
        let payload = format!(r#"{{"sensor_id":"esp-1","timestamp":{event},"zone":"A","aqi":1}}"#);
        let error = decode_in(Tz::UTC, payload.as_bytes(), received_us).expect_err(event);
        assert_eq!(error.sensor.as_deref(), Some("esp-1"), "{error}");
        (error.reason, error.message)
    };
    for (event, words) in [
        ("12", "counts from 1970"),
        ("\"1969-12-31T23:00:00Z\"", "counts from 1970"),
        ("\"1970-12-31T00:00:00Z\"", "counts from 1970"),
        ("\"2000-01-01T00:00:07Z\"", "counts from 2000"),
        ("\"1999-12-31T22:00:07Z\"", "counts from 2000"),
        ("\"1980-01-06T00:00:07Z\"", "counts from 1980"),
        ("\"1900-01-01T00:00:00Z\"", "counts from 1900"),
        ("\"2007-04-07T05:26:00Z\"", "1024 weeks behind"),
        ("\"2007-04-06T12:26:00Z\"", "1024 weeks behind"),
        ("\"1987-08-22T05:26:00Z\"", "2048 weeks behind"),
    ] {
        let (reason, message) = judged(event, NOON);
        assert!(reason == Reason::ClockNotSet && message.contains(words), "{event}: {reason} {message}");
    }
    for event in
        ["\"2007-04-05T05:26:00Z\"", "\"2001-06-01T00:00:00Z\"", "\"1971-02-01T00:00:00Z\"", "1763000000"]
    {
        let (reason, message) = judged(event, NOON);
        assert!(
            reason == Reason::TooOld && message.contains("more than 366d (max_age) behind"),
            "{reason} {message}"
        );
    }
    let (reason, message) = judged("\"2026-11-21T06:26:00Z\"", NOON);
    assert!(
        reason == Reason::InTheFuture && message.contains("more than 1m (future_max) ahead"),
        "{message}"
    );
    for (received_us, words) in [
        (NOON / 1_000, "looks like seconds"),
        (NOON.saturating_mul(1_000), "looks like microseconds"),
        (0, "cannot be held against it"),
        (-1_000, "cannot be held against it"),
        (i64::MIN, "cannot be held against it"),
    ] {
        let (reason, message) = judged("\"2026-11-21T05:26:00Z\"", received_us);
        assert!(
            reason == Reason::BadRecordTimestamp && message.contains(words),
            "{received_us}: {reason} {message}"
        );
    }
}

#[test]
fn an_error_names_the_sensor_where_it_can_be_read() {
    let sensor = |payload: &str| decode(payload.as_bytes()).expect_err(payload).sensor;
    assert_eq!(sensor(r#"{"sensor_id":"s","timestamp":"x","zone":"A","aqi":1}"#).as_deref(), Some("s"));
    assert_eq!(sensor(r#"{"aqi":1,"aqi":1,"sensor_id":7}"#).as_deref(), Some("7"));
    assert_eq!(sensor(r#"{"sensor_id":"s","timestamp":0}"#).as_deref(), Some("s"));
    assert_eq!(sensor(r#"{"sensor_id":"s","sensor_id":"t"}"#), None);
    assert_eq!(sensor(r#"{"sensor_id":[],"timestamp":0}"#), None);
    assert_eq!(sensor("nothing"), None);
}

#[test]
fn times_are_text_or_counts_since_1970_by_magnitude() {
    for (written, expected) in [
        ("1795238760", NOON),
        ("1795238760123", NOON + 123_000),
        ("1795238760.1234565", NOON + 123_456),
        ("1795238760123.4567", NOON + 123_457),
        ("1.79523876e9", NOON),
        ("1795238760123456", NOON + 123_456),
        ("1795238760123456789", NOON + 123_456),
        ("1795238760123456.25", NOON + 123_456),
        ("1.7952387601234568e18", NOON + 123_457),
        ("\"2026-11-21 05:26:00\"", NOON),
        ("\"2026-11-21t05:26:00z\"", NOON),
        ("\"2026-11-21T05:26:00.1234569Z\"", NOON + 123_456),
        ("\"2026-11-21T05:25:60.5Z\"", NOON + 500_000),
        ("\"2026-11-21T06:26:00+01:00\"", NOON),
        ("\"2026-11-20T23:56:00-05:30\"", NOON),
        ("\"2026-11-21T05:26:\\u00300Z\"", NOON),
    ] {
        let payload = format!(r#"{{"sensor_id":"1","timestamp":{written},"zone":"A","aqi":1}}"#);
        let (reading, _) = decode(payload.as_bytes()).unwrap_or_else(|error| panic!("{payload}: {error}"));
        assert_eq!(reading.event_time_us, expected, "{payload}");
    }
    assert_eq!(timestamp::from_integer(99_999_999_999), Some(99_999_999_999 * SECOND));
    assert_eq!(timestamp::from_integer(100_000_000_000), Some(100_000_000_000 * 1_000));
    assert_eq!(timestamp::from_integer(99_999_999_999_999), Some(99_999_999_999_999 * 1_000));
    assert_eq!(timestamp::from_integer(100_000_000_000_000), Some(100_000_000_000_000));
    assert_eq!(timestamp::from_integer(99_999_999_999_999_999), Some(99_999_999_999_999_999));
    assert_eq!(timestamp::from_integer(100_000_000_000_000_000), Some(100_000_000_000_000));
    assert_eq!(timestamp::from_integer(-100_000_000_000_000_001), Some(-100_000_000_000_001));
    assert_eq!(timestamp::from_integer(i64::MIN), Some(i64::MIN.div_euclid(1_000)));
    assert_eq!(timestamp::from_integer(-1), Some(-SECOND));
    assert_eq!(timestamp::from_float(-0.0000005), Some(-1));
    assert_eq!(timestamp::from_float(f64::INFINITY), None);
    assert_eq!(timestamp::from_float(9.3e15), Some(9_300_000_000_000_000));
    assert_eq!(timestamp::from_float(9.3e18), None);
}

#[test]
fn times_are_read_as_devices_spell_them() {
    for written in [
        "2026-11-21T05:26:00+0000",
        "2026-11-21T06:26:00+0100",
        "2026-11-21T06:26:00+01",
        "2026-11-21T00:26:00-05",
        "2026-11-21T00:26:00\u{2212}05:00",
        "2026-11-21T05:26Z",
        "2026-11-21T05:26",
        "2026-11-21T06:26+01:00",
        "20261121T052600Z",
        "20261121T0526Z",
        "20261121T062600+0100",
        "20261121 052600",
        "20261121052600",
        "20261121T052600.000Z",
        " 2026-11-21T05:26:00Z ",
        "\u{a0}2026-11-21T05:26:00Z\t\n",
        "2026-11-21t05:26:00z",
        "2026-11-21  05:26:00",
        "2026-11-21 06:26:00 +0100",
        "2026-11-21 05:26:00 UTC",
        "2026-11-21 05:26:00 gmt",
        "2026-11-21T05:26:00,000Z",
        "2026-11-21T05:25:60Z",
        "2026-11-21T05:25:60+0000",
        "2026/11/21 05:26:00",
        "2026-11-21T06:26:00+01:00[Europe/Paris]",
        "21.11.2026 05:26:00",
        "21.11.2026 5:26",
        "2026-11-21 5:26:00 am",
        "2026-11-21 05:26 AM",
        "1795238760",
        " 1795238760 ",
        "1795238760.0",
        "1795238760000",
        "1795238760000000",
        "1795238760000000000",
        "1.79523876e9",
    ] {
        assert_eq!(timestamp::of_text(written, Tz::UTC), Some(NOON), "{written}");
        let payload =
            format!(r#"{{"sensor_id":"1","timestamp":{},"zone":"A","aqi":1}}"#, serde_json::json!(written));
        assert_eq!(decode(payload.as_bytes()).unwrap().0.event_time_us, NOON, "{written}");
    }
    let midnight = timestamp::from_text("2026-11-22T00:00:00Z", Tz::UTC);
    for written in
        ["2026-11-21T24:00:00Z", "2026-11-21T24:00Z", "20261121T240000Z", "2026-11-21T24:00:00.000Z"]
    {
        assert_eq!(timestamp::of_text(written, Tz::UTC), midnight, "{written}");
    }
    let noon = timestamp::from_text("2026-11-21T12:30:00Z", Tz::UTC);
    assert_eq!(timestamp::of_text("2026-11-21 12:30 pm", Tz::UTC), noon);
    assert_eq!(timestamp::of_text("20261121T123000.5Z", Tz::UTC), noon.map(|at| at + 500_000));
    assert_eq!(timestamp::of_text("21.11.2026 06:26:00", Tz::Europe__Berlin), Some(NOON));
    assert_eq!(timestamp::of_text("20261121062600", Tz::Europe__Berlin), Some(NOON));
}

#[test]
fn a_time_that_is_none_says_which_part_of_it_is_wrong() {
    for (written, words) in [
        ("", "it is empty"),
        ("yesterday", "does not begin with a date"),
        ("12:30:00", "does not begin with a date"),
        ("2026-11-21", "a date without a time of day"),
        ("20261121", "a date without a time of day"),
        ("2026-11-21T", "a date without a time of day"),
        ("2026-02-29T00:00:00Z", "there is no day 2026-02-29"),
        ("2026-13-01T00:00:00Z", "there is no day 2026-13-01"),
        ("20260230T000000Z", "there is no day 2026-02-30"),
        ("11/12/2026 05:26", "day and month could be either"),
        ("11-12-2026 05:26", "day and month could be either"),
        ("2026-11-21T25:00:00Z", "there is no time \"25:00:00\""),
        ("2026-11-21T24:00:01Z", "behind 24:00"),
        ("2026-11-21T05:60:00Z", "there is no time"),
        ("2026-11-21T05:26:61Z", "there is no time"),
        ("2026-11-21T05:26:00.Z", "a fraction of something else"),
        ("2026-11-21T05:26.5Z", "a fraction of something else"),
        ("2026-11-21T05:6:00Z", "no time of day"),
        ("2026-11-21T05:26:00:00Z", "no time of day"),
        ("2026-11-21Tnoon", "no time of day"),
        ("2026-11-21T05:26:00+1", "\"+1\" behind the time is no offset"),
        ("2026-11-21T05:26:00+24:00", "is no offset"),
        ("2026-11-21T05:26:00 CET", "\"CET\" behind the time is no offset"),
        ("2026-11-21T05:26:00Zx", "is no offset"),
        ("2026-11-21T05:26:00+é1", "is no offset"),
        ("2026-11-21 13:00 pm", "not one of 12"),
        ("99999999999999999999", "is that great"),
    ] {
        let why = spelled::read(written, Tz::UTC).expect_err(written);
        assert!(why.contains(words), "{written}: {why}");
        assert_eq!(timestamp::of_text(written, Tz::UTC), None, "{written}");
    }
    let skipped = spelled::read("2026-03-29T02:30:00", Tz::Europe__Berlin).expect_err("skipped");
    assert!(skipped.contains("does not exist in Europe/Berlin: clocks go forward over it"), "{skipped}");
}

#[test]
fn times_without_offset_are_local_ones_of_the_domain() {
    let berlin = |written: &str| timestamp::from_text(written, Tz::Europe__Berlin);
    assert_eq!(berlin("2026-11-21T06:26:00"), Some(NOON));
    assert_eq!(berlin("2026-11-21T06:25:60"), Some(NOON));
    assert_eq!(berlin("2026-11-21T06:26:00Z"), Some(NOON + 3_600 * SECOND));
    // 2026-10-25 02:30 happens twice: at 00:30 and at 01:30 UTC.
    assert_eq!(berlin("2026-10-25T02:30:00"), timestamp::from_text("2026-10-25T00:30:00Z", Tz::UTC));
    // 2026-03-29 02:30 does not happen.
    assert_eq!(berlin("2026-03-29T02:30:00"), None);
    let payload = br#"{"sensor_id":"1","timestamp":"2026-03-29T02:30:00","zone":"A","aqi":1}"#;
    let error = decode_in(Tz::Europe__Berlin, payload, NOON).unwrap_err();
    assert_eq!(error.reason, Reason::BadTimestamp);
}

/// Pieces from which almost-readings are made.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u0000",
        "\\ud800",
        " ",
        "null",
        "true",
        "NaN",
        "-Infinity",
        "1e999",
        "0",
        "-0",
        "1795238760",
        "3.5",
        "\"sensor_id\":",
        "\"zone\":",
        "\"timestamp\":",
        "\"aqi\":",
        "\"temperature\":",
        "\"A\"",
        "\"2026-11-21T05:26:00Z\"",
        "\"\\u007aone\":",
        "é",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Objects of known members with values right and wrong.
fn objects() -> impl Strategy<Value = Vec<u8>> {
    let name =
        prop::sample::select(vec!["sensor_id", "zone", "timestamp", "aqi", "temperature", "x", "\\u007aone"]);
    let value = prop::sample::select(vec![
        "1",
        "\"A\"",
        "\"2026-11-21T05:26:00Z\"",
        "1795238760.25",
        "null",
        "NaN",
        "1e999",
        "[{}]",
        "-0.0",
        "\"\"",
    ]);
    let right = r#""sensor_id":"1","timestamp":"2026-11-21T05:26:00Z","zone":"A","aqi":1"#;
    (prop::collection::vec((name, value), 0..5), any::<bool>()).prop_map(move |(members, whole)| {
        let mut members: Vec<String> =
            members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        if whole {
            members.push(right.to_owned());
        }
        format!("{{{}}}", members.join(",")).into_bytes()
    })
}

fn check_both_ways(payload: &[u8]) {
    let decoder = Decoder::new(&domain(Tz::UTC));
    let (mut values, mut again) = ([1.0; 2], [2.0; 2]);
    let decoded = decoder.decode(payload, NOON, &mut values);
    let strict = strict::read(&decoder, payload, NOON, &mut again);
    assert_eq!(decoded, strict);
    match decoded {
        Ok(_) => assert_eq!(values.map(f64::to_bits), again.map(f64::to_bits)),
        Err(error) => assert!(!error.message.is_empty() && !error.message.contains('\0')),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_give_a_reading_or_a_reason(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        check_both_ways(&payload);
    }

    #[test]
    fn arbitrary_almost_json_gives_a_reading_or_a_reason(payload in prop_oneof![fragments(), objects()]) {
        check_both_ways(&payload);
    }

    #[test]
    fn arbitrary_readings_come_back_as_serde_and_chrono_read_them(
        sensor in "[^\u{0}]{1,40}", zone in "[^\u{0}]{1,40}", at_us in NOON - 1_000_000 * SECOND..NOON,
        offset_minutes in -1439..1440, digits in 0..10_usize,
        temperature in prop::option::of(-1e12..1e12), aqi in any::<i32>(),
    ) {
        prop_assume!(sensor.len() <= 200 && zone.len() <= 200);
        let offset = FixedOffset::east_opt(offset_minutes * 60).unwrap();
        let at = DateTime::from_timestamp_micros(at_us).unwrap().with_timezone(&offset);
        let fraction = if digits == 0 { String::new() } else {
            format!(".{}", &format!("{:06}987", at_us.rem_euclid(SECOND))[..digits.min(9)])
        };
        let written = format!("{}{fraction}{}", at.format("%Y-%m-%dT%H:%M:%S"), at.format("%:z"));
        let value = serde_json::json!({
            "sensor_id": sensor, "timestamp": written, "zone": zone, "temperature": temperature, "aqi": aqi,
        });
        let payload = value.to_string();
        let (reading, values) = decode(payload.as_bytes()).unwrap();
        prop_assert_eq!(&*reading.sensor, &sensor);
        prop_assert_eq!(&*reading.zone, &zone);
        let oracle = DateTime::parse_from_rfc3339(&written).unwrap().timestamp_micros();
        prop_assert_eq!(reading.event_time_us, oracle);
        prop_assert_eq!(values[0].to_bits(), temperature.map_or(f64::NAN, |value| value + 0.0).to_bits());
        prop_assert_eq!(values[1], f64::from(aqi));
        check_both_ways(payload.as_bytes());
    }

    #[test]
    fn a_local_time_is_the_earliest_instant_that_shows_it(second in 1_700_000_000..1_800_000_000_i64) {
        let local = DateTime::from_timestamp(second, 0).unwrap().naive_utc();
        let instants = Tz::Europe__Berlin.from_local_datetime(&local).earliest();
        let read = timestamp::from_text(&local.format("%Y-%m-%dT%H:%M:%S").to_string(), Tz::Europe__Berlin);
        prop_assert_eq!(read, instants.map(|at| at.timestamp_micros()));
    }

    #[test]
    fn almost_timestamps_are_read_as_chrono_reads_them(
        text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])"
    ) {
        let oracle = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.timestamp_micros());
        prop_assert_eq!(timestamp::from_text(&text, Tz::UTC), oracle);
        if oracle.is_some() {
            prop_assert_eq!(spelled::read(&text, Tz::UTC).ok(), oracle);
        }
    }

    #[test]
    fn any_text_is_a_time_or_has_a_sentence_without_nul(
        text in "[0-9TtZz+ .,:/\u{0}\u{2212}apm\\[\\]é-]{0,28}"
    ) {
        for time_zone in [Tz::UTC, Tz::Europe__Berlin] {
            match spelled::read(&text, time_zone) {
                Ok(at) => prop_assert!(timestamp::from_text(&text, time_zone).is_none_or(|first| first == at)),
                Err(why) => prop_assert!(!why.is_empty() && !why.contains('\0'), "{}", why),
            }
        }
    }
}
