//! The values of a row: live views emit them, the commit writes them, and the ledger reads them back.

use std::sync::Arc;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::time::{POSTGRES_EPOCH_US, Timestamp};

type Failure = Box<dyn std::error::Error + Sync + Send>;

/// A column's value. Differential dataflow requires an order and a hash, so a double is stored as its bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    Null,
    Bool(bool),
    /// An `integer` or a `bigint`.
    Integer(i64),
    /// The bits of a `double precision`.
    Float(u64),
    /// A `numeric` without decimals.
    Exact(i128),
    /// A `timestamptz`, microseconds of the Unix epoch.
    Time(i64),
    /// A `text`, or the text of a `jsonb`.
    Text(Arc<str>),
}

/// Values in the order of a table's columns.
pub type Row = Vec<Value>;

impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Value {
        Value::Text(text.clone())
    }
}

impl From<Option<Value>> for Value {
    fn from(value: Option<Value>) -> Value {
        value.unwrap_or(Value::Null)
    }
}

/// The first byte of a `jsonb` in the binary format.
const JSONB_VERSION: u8 = 1;

/// Whether a column of this type can hold a [`Value`].
fn is_supported(ty: &Type) -> bool {
    [
        Type::BOOL,
        Type::INT4,
        Type::INT8,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::JSONB,
    ]
    .contains(ty)
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Bool(value) => value.to_sql_checked(ty, out),
            Value::Integer(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Value::Integer(value) => value.to_sql_checked(ty, out),
            Value::Float(bits) => f64::from_bits(*bits).to_sql_checked(ty, out),
            Value::Exact(number) if *ty == Type::NUMERIC => {
                numeric(*number, out);
                Ok(IsNull::No)
            }
            Value::Exact(_) => Err("a number without decimals is a numeric".into()),
            Value::Time(at_us) => Timestamp(*at_us).to_sql_checked(ty, out),
            Value::Text(text) if *ty == Type::JSONB => {
                out.extend_from_slice(&[JSONB_VERSION]);
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            Value::Text(text) => (&**text).to_sql_checked(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        is_supported(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Value, Failure> {
        Ok(match *ty {
            Type::BOOL => Value::Bool(bool::from_sql(ty, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::FLOAT8 => Value::Float(f64::from_sql(ty, raw)?.to_bits()),
            Type::NUMERIC => Value::Exact(number_of(raw)?),
            Type::TIMESTAMPTZ => Value::Time(i64::from_be_bytes(raw.try_into()?) + POSTGRES_EPOCH_US),
            Type::JSONB => match raw.split_first() {
                Some((&JSONB_VERSION, text)) => Value::Text(std::str::from_utf8(text)?.into()),
                _ => return Err("a jsonb of an unknown version".into()),
            },
            _ => Value::Text(<&str>::from_sql(ty, raw)?.into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Value, Failure> {
        Ok(Value::Null)
    }

    fn accepts(ty: &Type) -> bool {
        is_supported(ty)
    }
}

/// The base of a `numeric`'s digits on the wire.
const BASE: u128 = 10_000;
/// The sign of a negative one.
const NEGATIVE: u16 = 0x4000;

/// Writes a whole number as a `numeric`: digits of base 10,000, the greatest first.
fn numeric(number: i128, out: &mut BytesMut) {
    let (mut rest, mut digits) = (number.unsigned_abs(), Vec::new());
    while rest > 0 {
        digits.push((rest % BASE) as u16);
        rest /= BASE;
    }
    let sign = if number < 0 { NEGATIVE } else { 0 };
    for word in [digits.len() as u16, (digits.len() as u16).saturating_sub(1), sign, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    digits.iter().rev().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
}

/// What a `numeric` without decimals is; the server leaves out zeros at the end.
fn number_of(raw: &[u8]) -> Result<i128, Failure> {
    let words: Vec<u16> = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let [count, weight, sign, decimals, digits @ ..] = words.as_slice() else {
        return Err("a numeric that is cut off".into());
    };
    let places = if *count == 0 { 0 } else { usize::from(*weight) + 1 };
    if *decimals > 0 || ![0, NEGATIVE].contains(sign) || digits.len() > places {
        return Err("a numeric that is no whole number".into());
    }
    let mut number: i128 = 0;
    for place in 0..places {
        let digit = i128::from(digits.get(place).copied().unwrap_or(0));
        let shifted = number.checked_mul(BASE as i128).and_then(|shifted| shifted.checked_sub(digit));
        number = shifted.ok_or("a numeric beyond 128 bits")?;
    }
    // Counted downwards: the least number has no positive counterpart.
    if *sign == NEGATIVE {
        Ok(number)
    } else {
        number.checked_neg().ok_or("a numeric beyond 128 bits".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was_written_and_in_no_column_of_another_type() {
        for (value, ty) in [
            (Value::Bool(true), Type::BOOL),
            (Value::Integer(-7), Type::INT4),
            (Value::Integer(1 << 40), Type::INT8),
            (Value::Float((-0.1_f64).to_bits()), Type::FLOAT8),
            (Value::Exact(0), Type::NUMERIC),
            (Value::Exact(-10_000), Type::NUMERIC),
            (Value::Exact(1_795_262_400_123_456_789), Type::NUMERIC),
            (Value::Exact(i128::MAX), Type::NUMERIC),
            (Value::Exact(i128::MIN), Type::NUMERIC),
            (Value::Time(1_795_262_400_123_456), Type::TIMESTAMPTZ),
            (Value::Text("Downtown".into()), Type::TEXT),
            (Value::Text(r#"["a",1]"#.into()), Type::JSONB),
        ] {
            let mut bytes = BytesMut::new();
            value.to_sql_checked(&ty, &mut bytes).expect("the type of the column");
            assert_eq!(Value::from_sql(&ty, &bytes).expect("what was written"), value);
            let is_text = matches!(value, Value::Text(_));
            let other = if is_text { Type::BOOL } else { Type::TEXT };
            assert!(value.to_sql_checked(&other, &mut bytes).is_err(), "{value:?} as {other}");
        }
        let mut bytes = BytesMut::new();
        assert!(matches!(Value::Null.to_sql_checked(&Type::TEXT, &mut bytes), Ok(IsNull::Yes)));
        assert!(Value::Integer(1 << 40).to_sql_checked(&Type::INT4, &mut bytes).is_err(), "too great");
    }
}
