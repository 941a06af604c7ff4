//! Prints letters: a line of at most 80 columns, or everything, with bytes that are not text as hexadecimal digits.

use chrono::DateTime;
use citytide_store::follow::DeadLetter;

use crate::replay::Outcome;

/// Columns of a line.
const COLUMNS: usize = 80;
/// Bytes of a payload that is no text that are shown.
const HEX_BYTES_MAX: usize = 512;

/// What the columns of [`line`] are.
pub fn heading() -> String {
    "letter         received (UTC)       reason           payload".to_owned()
}

/// A letter on one line.
pub fn line(letter: &DeadLetter) -> String {
    let place = format!("{}:{}", letter.partition, letter.offset);
    let start = format!("{place:<14} {}  {:<16} ", when(letter.received_at_us), letter.reason);
    let room = COLUMNS.saturating_sub(start.chars().count());
    let payload: String = String::from_utf8_lossy(&letter.payload)
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .take(room + 1)
        .collect();
    match payload.chars().count() > room {
        true => format!("{start}{}…", payload.chars().take(room.saturating_sub(1)).collect::<String>()),
        false => format!("{start}{payload}").trim_end().to_owned(),
    }
}

/// A letter as one JSON object; bytes that are no UTF-8 are hexadecimal digits in `payload_hex`.
pub fn json(letter: &DeadLetter) -> serde_json::Value {
    let mut object = serde_json::json!({
        "partition": letter.partition,
        "offset": letter.offset,
        "epoch": letter.epoch,
        "received_at": DateTime::from_timestamp_micros(letter.received_at_us).map(|at| at.to_rfc3339()),
        "reason": letter.reason,
        "field": letter.field,
        "message": letter.message,
        "sensor_id": letter.sensor,
        "payload_bytes": letter.payload_bytes,
    });
    match std::str::from_utf8(&letter.payload) {
        Ok(text) => object["payload"] = text.into(),
        Err(_) => object["payload_hex"] = hex(&letter.payload).into(),
    }
    object
}

/// Everything about a letter; `now` is what decoding it again gave.
pub fn described(letter: &DeadLetter, now: &Outcome) -> String {
    let field = letter.field.as_ref().map_or(String::new(), |field| format!(" ({field})"));
    let kept = match letter.payload.len() as i64 == i64::from(letter.payload_bytes) {
        true => String::new(),
        false => format!(", the first {} kept", letter.payload.len()),
    };
    let as_of_now = if now.cut > 0 {
        "cannot be replayed: not all of its bytes are stored".to_owned()
    } else if now.expired > 0 {
        "cannot be replayed: older than what retention.windows keeps".to_owned()
    } else if let Some(reason) = now.dead.keys().next() {
        format!("still not a reading: {reason}")
    } else {
        "would be a reading now; citytide dead-letters replay makes it one".to_owned()
    };
    let payload = shown_payload(&letter.payload);
    let sensor = letter.sensor.as_ref().map_or(String::new(), |sensor| format!("sensor    {sensor}\n"));
    format!(
        "letter    {}:{}\n{sensor}received  {} UTC\nreason    {}{field}: {}\nas of now {as_of_now}\npayload   {} bytes{kept}\n{payload}\n",
        letter.partition,
        letter.offset,
        when(letter.received_at_us),
        letter.reason,
        letter.message,
        letter.payload_bytes,
    )
}

/// Bytes as text, or as hexadecimal digits.
pub fn shown_payload(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => text.to_owned(),
        Err(_) => hex(&payload[..payload.len().min(HEX_BYTES_MAX)]),
    }
}

fn when(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "unknown".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(payload: &[u8]) -> DeadLetter {
        DeadLetter {
            epoch: 1_795_262_449_200,
            partition: 3,
            offset: 1_234_567,
            received_at_us: 1_795_262_449_123_000,
            reason: "bad_number".to_owned(),
            field: Some("aqi".to_owned()),
            message: "aqi is too great".to_owned(),
            payload: payload.to_vec(),
            payload_bytes: payload.len() as i32,
            sensor: Some("42".to_owned()),
        }
    }

    #[test]
    fn a_line_fits_80_columns_and_holds_no_control_characters() {
        let line = line(&letter(format!("{{\"a\":\n{}", "ü".repeat(100)).as_bytes()));
        assert_eq!(line.chars().count(), 80);
        assert!(line.starts_with("3:1234567      2026-11-21 12:00:49  bad_number       {\"a\": ü"), "{line}");
        assert!(line.ends_with('…'));
        assert!(heading().chars().count() <= 80);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_digits() {
        let letter = letter(&[0xff, 0x00, 0x41]);
        assert!(described(&letter, &Outcome::default()).ends_with("3 bytes\nff0041\n"));
        assert_eq!(json(&letter)["payload_hex"], "ff0041");
        assert_eq!(json(&letter)["field"], "aqi");
        assert_eq!(json(&letter)["sensor_id"], "42");
        assert!(described(&letter, &Outcome::default()).contains("\nsensor    42\n"));
    }

    #[test]
    fn it_is_told_what_a_letter_would_be_now() {
        let mut now = Outcome::default();
        assert!(described(&letter(b"{}"), &now).contains("as of now would be a reading"));
        now.dead.insert("no_metric", 1);
        assert!(described(&letter(b"{}"), &now).contains("as of now still not a reading: no_metric"));
        let cut = Outcome { cut: 1, ..Outcome::default() };
        assert!(
            described(&DeadLetter { payload_bytes: 70_000, ..letter(b"{}") }, &cut)
                .contains("the first 2 kept")
        );
    }
}
