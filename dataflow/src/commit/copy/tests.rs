//! The bytes, read back by a reader of PostgreSQL's binary COPY format that knows nothing of the encoder.

use citytide_core::batch::example::{Row as Reading, batch};
use citytide_core::batch::{Anomaly, FlaggedBy, Member, Opinion, Severity};
use citytide_core::decode::Reason;
use proptest::prelude::*;

use super::*;

/// The rows of a stream of tuples: per field its bytes, `None` for null.
fn tuples(mut bytes: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(count);
        *bytes = rest;
        taken
    }
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let fields = i16::from_be_bytes(take(&mut bytes, 2).try_into().unwrap());
        let row = (0..fields).map(|_| {
            let length = i32::from_be_bytes(take(&mut bytes, 4).try_into().unwrap());
            (length >= 0).then(|| take(&mut bytes, length as usize).to_vec())
        });
        rows.push(row.collect());
    }
    rows
}

fn int8(field: &Option<Vec<u8>>) -> i64 {
    i64::from_be_bytes(field.as_deref().expect("not null").try_into().expect("8 bytes"))
}

fn int4(field: &Option<Vec<u8>>) -> i32 {
    i32::from_be_bytes(field.as_deref().expect("not null").try_into().expect("4 bytes"))
}

fn double(field: &Option<Vec<u8>>) -> Option<f64> {
    field.as_deref().map(|bytes| f64::from_be_bytes(bytes.try_into().expect("8 bytes")))
}

fn text(field: &Option<Vec<u8>>) -> &str {
    std::str::from_utf8(field.as_deref().expect("not null")).expect("UTF-8")
}

/// PostgreSQL counts microseconds from 2000-01-01.
fn timestamp(field: &Option<Vec<u8>>) -> i64 {
    int8(field) + chrono::DateTime::parse_from_rfc3339("2000-01-01T00:00:00Z").unwrap().timestamp_micros()
}

fn reading() -> impl Strategy<Value = (Reading, bool, Option<Anomaly>)> {
    let values = prop::collection::vec(prop_oneof![4 => -1e12..1e12_f64, 1 => Just(f64::NAN)], 3);
    let severity = prop_oneof![Just(Severity::Low), Just(Severity::Medium), Just(Severity::High)];
    let flagged_by = prop_oneof![Just(FlaggedBy::Rules), Just(FlaggedBy::Model), Just(FlaggedBy::Both)];
    let anomaly = (0.0..1.0_f32, severity, flagged_by, "[a-zé]{0,20}");
    let anomaly = anomaly.prop_map(|(score, severity, flagged_by, name)| Anomaly {
        row: 0,
        score,
        severity,
        flagged_by,
        found_by: Member::Rule,
        reasons: format!(r#"[{{"metric":"{name}"}}]"#),
    });
    let row = (any::<i64>(), -1_i64 << 52..1 << 52, "[A-Zé ]{1,30}", "[0-9ß]{1,20}", values)
        .prop_map(|(offset, at_us, zone, sensor, values)| Reading { offset, at_us, zone, sensor, values });
    (row, any::<bool>(), prop::option::weighted(0.3, anomaly))
}

proptest! {
    #[test]
    fn readings_are_read_back_as_they_are_and_fit_the_buffer_that_was_reserved(
        readings in prop::collection::vec(reading(), 1..40),
        partition in 0..i32::MAX,
        epoch in 0..i64::MAX as u64,
        version in prop::option::of(0..i32::MAX),
    ) {
        // Offsets of a batch ascend; nothing here depends on it.
        let rows: Vec<Reading> = readings
            .iter()
            .map(|(row, ..)| Reading { offset: row.offset.min(i64::MAX - 1), ..row.clone() })
            .collect();
        let mut batch = batch(partition, &rows);
        let scores: Vec<f32> = (0..rows.len()).map(|row| row as f32 / 64.0).collect();
        let confidences: Vec<f32> = scores.iter().map(|score| 1.0 - score).collect();
        batch.opinion = version.map(|version| Opinion {
            scores: scores.clone(),
            confidences: confidences.clone(),
            versions: (0..rows.len()).map(|row| if row % 3 == 1 { RULES_ONLY } else { version }).collect(),
        });
        batch.late = readings.iter().map(|(_, late, _)| *late).collect();
        let judged = readings.iter().enumerate().filter_map(|(row, (.., anomaly))| {
            anomaly.clone().map(|anomaly| Anomaly { row: row as u32, ..anomaly })
        });
        batch.anomalies = judged.collect();

        let mut bytes = Vec::new();
        encode_readings(&batch, epoch, &mut bytes);
        let reserved = encoded_bytes(&batch);
        prop_assert_eq!(bytes.capacity(), reserved, "the buffer did not grow");
        let nulls = rows.iter().flat_map(|row| &row.values).filter(|value| value.is_nan()).count();
        let words = |one: &Anomaly| 11 - one.severity.as_str().len() - one.flagged_by.as_str().len();
        let shorter: usize = batch.anomalies.iter().map(words).sum();
        let unsure = if version.is_none() { 4 * rows.len() } else { 0 };
        prop_assert_eq!(bytes.len(), reserved - 8 * nulls - shorter - unsure);

        let read = tuples(&bytes);
        prop_assert_eq!(read.len(), rows.len());
        for (index, ((fields, row), (_, late, anomaly))) in read.iter().zip(&rows).zip(&readings).enumerate() {
            prop_assert_eq!(fields.len(), 17);
            prop_assert_eq!(int8(&fields[0]), epoch as i64);
            prop_assert_eq!(int4(&fields[1]), partition);
            prop_assert_eq!(int8(&fields[2]), row.offset);
            prop_assert_eq!((text(&fields[3]), text(&fields[4])), (row.sensor.as_str(), row.zone.as_str()));
            prop_assert_eq!(timestamp(&fields[5]), row.at_us);
            for (field, value) in fields[6..9].iter().zip(&row.values) {
                prop_assert_eq!(double(field).map(f64::to_bits), (!value.is_nan()).then(|| value.to_bits()));
            }
            prop_assert_eq!(fields[9].as_deref(), Some(&[u8::from(*late)][..]));
            prop_assert_eq!(fields[10].as_deref(), Some(&[u8::from(anomaly.is_some())][..]));
            let score = f32::from_be_bytes(fields[11].as_deref().unwrap().try_into().unwrap());
            let unflagged = version.map_or(0.0, |_| scores[index]);
            prop_assert_eq!(score.to_bits(), anomaly.as_ref().map_or(unflagged, |anomaly| anomaly.score).to_bits());
            match anomaly {
                None => prop_assert!(fields[12].is_none() && fields[13].is_none() && fields[16].is_none()),
                Some(anomaly) => {
                    prop_assert_eq!(text(&fields[12]), anomaly.severity.as_str());
                    let jsonb = fields[13].as_deref().expect("not null");
                    prop_assert_eq!(jsonb[0], 1, "version of jsonb");
                    prop_assert_eq!(&jsonb[1..], anomaly.reasons.as_bytes());
                    prop_assert_eq!(text(&fields[16]), anomaly.flagged_by.as_str());
                }
            }
            let judged = version.filter(|_| index % 3 != 1);
            prop_assert_eq!(int4(&fields[14]), judged.unwrap_or(0));
            let sure = fields[15].as_deref().map(|bytes| f32::from_be_bytes(bytes.try_into().unwrap()).to_bits());
            prop_assert_eq!(sure, version.map(|_| confidences[index].to_bits()));
        }
    }
}

#[test]
fn a_second_batch_is_appended_behind_the_first() {
    let batch = batch(3, &[Reading::new(7, 0, &[1.0, f64::NAN])]);
    let mut bytes = Vec::new();
    encode_readings(&batch, 50, &mut bytes);
    encode_readings(&batch, 100, &mut bytes);
    let epochs: Vec<i64> = tuples(&bytes).iter().map(|row| int8(&row[0])).collect();
    assert_eq!(epochs, [50, 100]);
}

#[test]
fn dead_letters_are_read_back_as_they_are() {
    let letter = DeadLetter {
        offset: 9,
        received_at_ms: 1_795_238_760_123,
        reason: Reason::TooManyZones,
        field: Some("zone".to_owned()),
        message: "too many – zones".to_owned(),
        payload: vec![0, 255, 10, 92],
        payload_bytes: 70_000,
        sensor: Some("s".to_owned()),
    };
    let without_field =
        DeadLetter { offset: 10, field: None, sensor: None, payload: vec![], ..letter.clone() };
    let mut bytes = Vec::new();
    encode_dead_letters(2, &[letter, without_field], 150, &mut bytes);
    let rows = tuples(&bytes);
    assert_eq!(rows.len(), 2);
    for (row, offset) in rows.iter().zip([9, 10]) {
        assert_eq!(row.len(), 10);
        assert_eq!((int8(&row[0]), int4(&row[1]), int8(&row[2])), (150, 2, offset));
        assert_eq!(timestamp(&row[3]), 1_795_238_760_123_000);
        assert_eq!(text(&row[4]), "too_many_zones");
        assert_eq!(text(&row[6]), "too many – zones");
        assert_eq!(int4(&row[8]), 70_000);
    }
    assert_eq!((text(&rows[0][5]), &rows[1][5]), ("zone", &None));
    assert_eq!((text(&rows[0][9]), &rows[1][9]), ("s", &None));
    assert_eq!(rows[0][7].as_deref(), Some(&[0, 255, 10, 92][..]));
    assert_eq!(rows[1][7].as_deref(), Some(&[][..]), "empty is not null");
}

#[test]
fn a_kafka_timestamp_beyond_what_postgres_can_count_does_not_end_the_process() {
    let letter = DeadLetter {
        offset: 0,
        received_at_ms: i64::MIN,
        reason: Reason::Empty,
        field: None,
        message: String::new(),
        payload: vec![],
        payload_bytes: 0,
        sensor: None,
    };
    let mut bytes = Vec::new();
    encode_dead_letters(0, &[letter], 50, &mut bytes);
    assert_eq!(tuples(&bytes).len(), 1);
}

#[test]
fn the_stream_opens_with_the_signature_and_closes_with_a_count_of_minus_one() {
    assert_eq!(HEADER[..11], *b"PGCOPY\n\xff\r\n\0");
    assert_eq!(HEADER[11..], [0; 8], "no flags, no extension");
    assert_eq!(TRAILER, (-1_i16).to_be_bytes());
}
