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
    [Type::BOOL, Type::INT4, Type::INT8, Type::FLOAT8, Type::TIMESTAMPTZ, Type::TEXT, Type::JSONB]
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
