//! The strict decoder: decodes a record again that the fast path gave up on, and finds what is wrong with it, if
//! anything.
//!
//! Every field is kept as it was written, so that an integer of any length, a number beyond `f64` and Python's bare
//! `NaN` can be told apart. It allocates; a flood of garbage goes through here and still takes microseconds each.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    DecodeError, Decoder, METRICS, Reading, Reason, SENSOR, TEXT_BYTES_MAX, TIME, VALUE_MAX, ZONE, clock,
    spelled, timestamp,
};

/// How much of an offending value a message shows, in characters.
const EXCERPT_CHARS: usize = 60;

/// The reading in `payload`, or the first thing that is wrong with it.
#[cold]
pub(super) fn read<'a>(
    decoder: &Decoder,
    payload: &'a [u8],
    received_at_us: i64,
    values: &mut [f64],
) -> Result<Reading<'a>, DecodeError> {
    if payload.is_empty() {
        return Err(DecodeError::of_record(Reason::Empty, "the record has no bytes"));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        DecodeError::of_record(
            Reason::NotUtf8,
            format!("the bytes from {} on are not UTF-8", error.valid_up_to()),
        )
    })?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => DecodeError::of_record(
                Reason::WrongType,
                format!("the record is {}, a reading is a JSON object", kind(text.trim_ascii())),
            ),
            Err(error) => not_json(&error),
        });
    }
    match serde_json::from_str::<Members<'a>>(text) {
        Ok(members) => judge(decoder, &members, received_at_us, values),
        Err(error) => {
            let Some(rewritten) = without_bare_words(text) else { return Err(not_json(&error)) };
            let Ok(mut members) = serde_json::from_str::<Members<'_>>(&rewritten) else {
                return Err(not_json(&error));
            };
            for (_, value) in &mut members.0 {
                let at = value.as_ptr() as usize - rewritten.as_ptr() as usize;
                *value = &text[at..at + value.len()];
            }
            match judge(decoder, &members, received_at_us, values) {
                Err(refusal) if refusal.reason != Reason::NotJson => Err(refusal),
                _ => Err(not_json(&error)),
            }
        }
    }
}

/// The members of a JSON object in the order of the text, values as written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Members<'a>, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }
        json.deserialize_map(Object)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// What Python writes and JSON does not know.
const BARE_WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// `text` with every bare word that is the value of a member of the outermost object replaced by as many digits, so
/// that everything keeps its place. `None` when there is no such word.
fn without_bare_words(text: &str) -> Option<String> {
    let (mut rewritten, mut copied) = (String::with_capacity(text.len()), 0);
    let (mut depth, mut in_string, mut escaped, mut after_colon) = (0_usize, false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if after_colon
            && depth == 1
            && let Some(word) = BARE_WORDS.iter().find(|word| text[at..].starts_with(**word))
        {
            rewritten.push_str(&text[copied..at]);
            rewritten.extend(std::iter::repeat_n('1', word.len()));
            copied = at + word.len();
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        after_colon = byte == b':' || (after_colon && byte.is_ascii_whitespace());
    }
    rewritten.push_str(&text[copied..]);
    (copied > 0).then_some(rewritten)
}

/// The slot that occurs twice, the sensor, and what is text of time and zone.
type Parts<'t> =
    (Option<usize>, Result<Cow<'t, str>, DecodeError>, Option<Cow<'t, str>>, Option<Cow<'t, str>>);

/// Applies the rules in their order.
fn judge<'t>(
    decoder: &Decoder,
    members: &Members<'t>,
    received_at_us: i64,
    values: &mut [f64],
) -> Result<Reading<'t>, DecodeError> {
    let mut written: Vec<Option<&'t str>> = vec![None; decoder.names.len()];
    let mut twice: Option<usize> = None;
    let mut texts: [Option<Cow<'t, str>>; METRICS] = [None, None, None];
    for (name, value) in &members.0 {
        let slot = decoder.slot(name, 0);
        // `NaN5` keeps its place too and is no word of ours: what is written must be a whole word, or JSON.
        let bare = value.starts_with(['N', 'I']) || value.starts_with("-I");
        if bare && (slot.is_none_or(|slot| slot < METRICS) || !BARE_WORDS.contains(value)) {
            return Err(DecodeError::of_record(
                Reason::NotJson,
                "the record is not JSON: it holds a bare word",
            ));
        }
        let Some(slot) = slot else { continue };
        if written[slot].replace(value).is_some() {
            twice = Some(twice.map_or(slot, |other| other.min(slot)));
        }
        if slot < METRICS && value.starts_with('"') {
            let Name(text) = serde_json::from_str(value).map_err(|error| not_json(&error))?;
            texts[slot] = Some(text);
        }
    }
    let [sensor, time, zone] = texts;
    let sensor = text_of(&decoder.names[SENSOR], written[SENSOR], sensor);
    let whose = sensor.as_deref().ok().filter(|_| twice != Some(SENSOR)).map(str::to_owned);
    let rest = || judge_rest(decoder, &written, (twice, sensor, time, zone), received_at_us, values);
    rest().map_err(|error| match whose {
        Some(sensor) => error.of_sensor(&sensor),
        None => error,
    })
}

/// Applies the rules behind the sensor's.
fn judge_rest<'t>(
    decoder: &Decoder,
    written: &[Option<&'t str>],
    (twice, sensor, time, zone): Parts<'t>,
    received_at_us: i64,
    values: &mut [f64],
) -> Result<Reading<'t>, DecodeError> {
    if let Some(slot) = twice {
        let name = &decoder.names[slot];
        return Err(DecodeError::of_field(
            Reason::DuplicateField,
            name,
            format!("the field {name:?} occurs twice"),
        ));
    }
    let sensor = sensor?;
    let event_time_us = time_of(decoder, written[TIME], time.as_deref())?;
    let zone = text_of(&decoder.names[ZONE], written[ZONE], zone)?;
    for ((name, written), value) in decoder.names[METRICS..].iter().zip(&written[METRICS..]).zip(&mut *values)
    {
        *value = value_of(name, *written)?;
    }
    if values.iter().all(|value| value.is_nan()) {
        let message = format!("none of the {} metrics has a value", values.len());
        return Err(DecodeError::of_record(Reason::NoMetric, message));
    }
    judge_clock(decoder, event_time_us, received_at_us)?;
    Ok(Reading { sensor, zone, event_time_us })
}

/// A sensor or a zone.
fn text_of<'t>(
    name: &str,
    written: Option<&'t str>,
    text: Option<Cow<'t, str>>,
) -> Result<Cow<'t, str>, DecodeError> {
    let written = required(name, written)?;
    let text = text.or_else(|| integer(written).map(Cow::Borrowed)).ok_or_else(|| {
        let message = format!("the field {name:?} is {}, expected text or an integer", excerpt(written));
        DecodeError::of_field(Reason::WrongType, name, message)
    })?;
    if text.is_empty() {
        return Err(DecodeError::of_field(
            Reason::MissingField,
            name,
            format!("the field {name:?} is empty"),
        ));
    }
    if text.len() > TEXT_BYTES_MAX {
        let message =
            format!("the field {name:?} has {} bytes, at most {TEXT_BYTES_MAX} are kept", text.len());
        return Err(DecodeError::of_field(Reason::TooLong, name, message));
    }
    if text.contains('\0') {
        let message =
            format!("the field {name:?} holds a NUL character, which PostgreSQL's text cannot hold");
        return Err(DecodeError::of_field(Reason::WrongType, name, message));
    }
    Ok(text)
}

/// The digits of an integer, also where it is written as `42.0`: some languages know no others.
fn integer(written: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, zeros) = written.split_once('.').unwrap_or((written, "0"));
    let is_integer =
        digits(whole.strip_prefix('-').unwrap_or(whole)) && zeros.bytes().all(|byte| byte == b'0');
    is_integer.then_some(whole)
}

fn time_of(decoder: &Decoder, written: Option<&str>, text: Option<&str>) -> Result<i64, DecodeError> {
    let name = &decoder.names[TIME];
    let written = required(name, written)?;
    let instant = match (text, written.as_bytes()[0]) {
        (Some(text), _) => match timestamp::from_text(text, decoder.time_zone) {
            Some(at_us) => Ok(at_us),
            None => spelled::read(text, decoder.time_zone),
        },
        (None, b'-' | b'0'..=b'9') => match written.parse::<i64>() {
            Ok(number) => timestamp::from_integer(number),
            Err(_) => written.parse::<f64>().ok().and_then(timestamp::from_float),
        }
        .ok_or_else(|| {
            "no count of seconds, milliseconds, microseconds or nanoseconds is that great".to_owned()
        }),
        (None, _) => {
            let message =
                format!("the field {name:?} is {}, expected a time in text or a number", excerpt(written));
            return Err(DecodeError::of_field(Reason::WrongType, name, message));
        }
    };
    instant.map_err(|why| {
        let message = format!("the field {name:?} is {}: {}", excerpt(written), excerpt_of(&why, 200));
        DecodeError::of_field(Reason::BadTimestamp, name, message)
    })
}

fn value_of(name: &str, written: Option<&str>) -> Result<f64, DecodeError> {
    let Some(written) = written.filter(|value| *value != "null") else { return Ok(f64::NAN) };
    if BARE_WORDS.contains(&written) {
        let message = format!("the field {name:?} is {written}, expected a finite number");
        return Err(DecodeError::of_field(Reason::BadNumber, name, message));
    }
    if !matches!(written.as_bytes()[0], b'-' | b'0'..=b'9') {
        let message = format!("the field {name:?} is {}, expected a number", excerpt(written));
        return Err(DecodeError::of_field(Reason::WrongType, name, message));
    }
    match written.parse::<f64>() {
        Ok(value) if value.abs() <= VALUE_MAX => Ok(value + 0.0),
        _ => {
            let message =
                format!("the field {name:?} is {}, its magnitude is above {VALUE_MAX:e}", excerpt(written));
            Err(DecodeError::of_field(Reason::BadNumber, name, message))
        }
    }
}

fn judge_clock(decoder: &Decoder, event_time_us: i64, received_at_us: i64) -> Result<(), DecodeError> {
    if decoder.is_plausible(event_time_us, received_at_us) {
        return Ok(());
    }
    let (reason, message) = clock::what_is_wrong(decoder, event_time_us, received_at_us);
    Err(DecodeError::of_field(reason, &decoder.names[TIME], message))
}

fn required<'t>(name: &str, written: Option<&'t str>) -> Result<&'t str, DecodeError> {
    match written {
        None => {
            Err(DecodeError::of_field(Reason::MissingField, name, format!("the field {name:?} is missing")))
        }
        Some("null") => {
            Err(DecodeError::of_field(Reason::MissingField, name, format!("the field {name:?} is null")))
        }
        Some(written) => Ok(written),
    }
}

fn not_json(error: &serde_json::Error) -> DecodeError {
    DecodeError::of_record(Reason::NotJson, format!("the record is not JSON: {error}"))
}

fn kind(json: &str) -> &'static str {
    match json.as_bytes()[0] {
        b'[' => "an array",
        b'"' => "text",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}

/// The beginning of a value as it was written. JSON allows no bare control character in it, so no NUL either.
fn excerpt(written: &str) -> String {
    excerpt_of(written, EXCERPT_CHARS)
}

fn excerpt_of(text: &str, chars_max: usize) -> String {
    let mut excerpt: String = text.chars().take(chars_max).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}
