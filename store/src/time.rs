//! Converts between the core's microseconds of the Unix epoch and PostgreSQL's `timestamptz`.

use bytes::BytesMut;
use citytide_core::NEVER;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// The grid of ingest epochs, milliseconds. A run's first epoch is at least one step above the committed one.
pub const EPOCH_GRID_MS: u64 = 50;

/// Microseconds from the Unix epoch to 2000-01-01, PostgreSQL's epoch.
pub const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A `timestamptz` in microseconds of the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// A watermark as a nullable column: `None` when it is [`NEVER`].
    pub fn watermark(at_us: i64) -> Option<Timestamp> {
        (at_us != NEVER).then_some(Timestamp(at_us))
    }
}

impl ToSql for Timestamp {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&(self.0 - POSTGRES_EPOCH_US).to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// Reads a nullable `timestamptz` column as microseconds of the Unix epoch.
pub fn micros(row: &Row, column: usize) -> Option<i64> {
    struct Raw(i64);
    impl<'a> FromSql<'a> for Raw {
        fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn std::error::Error + Sync + Send>> {
            Ok(Raw(i64::from_be_bytes(raw.try_into()?)))
        }

        fn accepts(ty: &Type) -> bool {
            *ty == Type::TIMESTAMPTZ
        }
    }
    row.get::<_, Option<Raw>>(column).map(|raw| raw.0 + POSTGRES_EPOCH_US)
}
