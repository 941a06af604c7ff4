//! The fast path: one pass over a valid reading, without an allocation when nothing is escaped.
//!
//! It gives up (`None`) at anything unusual and leaves the decision to [`super::strict`].

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{Decoder, METRICS, Reading, SENSOR, TEXT_BYTES_MAX, TIME, VALUE_MAX, ZONE, timestamp};

/// A NaN that only this file writes: the metric has not occurred yet. It is not what a null becomes.
const UNSEEN_BITS: u64 = 0x7ff8_0000_0000_c17e;

/// The reading in `text`, if it is plainly one. The clock is not judged.
pub(super) fn read<'a>(decoder: &Decoder, text: &'a str, values: &mut [f64]) -> Option<Reading<'a>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let reading = json.deserialize_map(Record { decoder, values }).ok()?;
    json.end().ok()?;
    Some(reading)
}

/// Any error will do: it is never shown.
#[cold]
fn give_up<E: Error>() -> E {
    E::custom("")
}

struct Record<'d, 'v> {
    decoder: &'d Decoder,
    values: &'v mut [f64],
}

impl<'de> Visitor<'de> for Record<'_, '_> {
    type Value = Reading<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a reading")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reading<'de>, A::Error> {
        let Record { decoder, values } = self;
        values.fill(f64::from_bits(UNSEEN_BITS));
        let (mut sensor, mut time, mut zone) = (None, None, None);
        let mut expected = 0;
        while let Some(slot) = map.next_key_seed(Key { decoder, expected })? {
            let Some(slot) = slot else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = slot + 1;
            let first = match slot {
                SENSOR => sensor.replace(map.next_value_seed(Text)?).is_none(),
                TIME => time.replace(map.next_value_seed(Time { decoder })?).is_none(),
                ZONE => zone.replace(map.next_value_seed(Text)?).is_none(),
                _ => {
                    let value = &mut values[slot - METRICS];
                    let first = value.to_bits() == UNSEEN_BITS;
                    *value = map.next_value_seed(Value)?;
                    first
                }
            };
            if !first {
                return Err(give_up());
            }
        }
        let mut metrics = 0;
        for value in values {
            if value.is_nan() {
                *value = f64::NAN;
            } else {
                metrics += 1;
            }
        }
        match (sensor, time, zone) {
            (Some(sensor), Some(event_time_us), Some(zone)) if metrics > 0 => {
                Ok(Reading { sensor, zone, event_time_us })
            }
            _ => Err(give_up()),
        }
    }
}

/// A JSON name → its slot.
struct Key<'d> {
    decoder: &'d Decoder,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.decoder.slot(name, self.expected))
    }
}

/// A sensor or a zone: text or an integer.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        // What is borrowed had no escape, and JSON allows no bare control character: there is no NUL in it.
        if text.is_empty() || text.len() > TEXT_BYTES_MAX { Err(give_up()) } else { Ok(Cow::Borrowed(text)) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(give_up());
        }
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(number.to_string()))
    }
}

/// An event time.
struct Time<'d> {
    decoder: &'d Decoder,
}

impl<'de> DeserializeSeed<'de> for Time<'_> {
    type Value = i64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<i64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Time<'_> {
    type Value = i64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        timestamp::of_text(text, self.decoder.time_zone).ok_or_else(give_up)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).ok().and_then(timestamp::from_integer).ok_or_else(give_up)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        timestamp::from_integer(number).ok_or_else(give_up)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        timestamp::from_float(number).ok_or_else(give_up)
    }
}

/// A metric's value; NaN for null.
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Value {
    type Value = f64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        // Adding zero turns −0 into 0.
        if value.abs() <= VALUE_MAX { Ok(value + 0.0) } else { Err(give_up()) }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        self.visit_f64(value as f64)
    }

    fn visit_unit<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }
}
