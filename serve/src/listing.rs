//! A list that can be asked for: which columns of which table, in which order, restricted by which parameters. Data, from
//! which the query, the answer and the OpenAPI document follow.

use axum::http::StatusCode;
use citytide_core::NEVER;
use citytide_domain::Domain;
use serde_json::{Map, Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use crate::asked::Asked;
use crate::cell::{Cell, rfc3339};
use crate::problem::Problem;

/// Rows of an answer, unless the request wants another number.
pub const LIMIT: i64 = 1_000;
/// Rows of an answer at most.
pub const LIMIT_MAX: i64 = 10_000;
/// Seconds from one window to the next that can be asked for at most.
pub const EVERY_MAX_S: i64 = 86_400;
/// Parameters that every list takes.
const COMMON: [&str; 3] = ["limit", "cursor", "format"];

const MINUTE_US: i64 = 60_000_000;
pub const HOUR_US: i64 = 60 * MINUTE_US;
pub const DAY_US: i64 = 24 * HOUR_US;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Integer,
    Number,
    Time,
    Text,
    Json,
}

impl Kind {
    /// The type of a parameter that is compared with it.
    fn sql(self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Integer => "bigint",
            Kind::Number => "double precision",
            Kind::Time => "timestamptz",
            Kind::Text => "text",
            Kind::Json => "jsonb",
        }
    }
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// What it is selected as, where that is not its name.
    pub select: Option<&'static str>,
}

/// Columns that are the same in every domain.
pub fn columns(named: &[(&str, Kind)]) -> Vec<Column> {
    named.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind, select: None }).collect()
}

/// A parameter that restricts a list to rows with one of its values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    pub parameter: &'static str,
    pub column: &'static str,
    pub kind: Kind,
    pub about: &'static str,
}

/// A switch that restricts a list when it is `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    pub parameter: &'static str,
    pub condition: &'static str,
    pub about: &'static str,
}

/// The time that `from` and `until` are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub column: &'static str,
    /// How far back a list goes that names no `from`: from `until`, else from W.
    pub default_us: i64,
    /// From `from` to `until` at most; to what is newest, where there is no `until`.
    pub longest_us: i64,
    /// The longest where one of these parameters restricts the list.
    pub longest_with: Option<(&'static str, i64)>,
}

/// A list.
#[derive(Clone)]
pub struct Listing {
    /// Behind `/api/v1/`.
    pub name: &'static str,
    pub about: &'static str,
    /// The table or view.
    pub from: &'static str,
    pub columns: fn(&Domain) -> Vec<Column>,
    pub filters: &'static [Filter],
    pub switches: &'static [Switch],
    pub span: Option<Span>,
    /// Columns that order the rows and tell them apart.
    pub order: &'static [(&'static str, Kind)],
    pub is_descending: bool,
}

/// The state of the database that an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf {
    pub epoch: i64,
    pub watermark_us: i64,
    pub horizon: i64,
}

impl AsOf {
    pub async fn read(snapshot: &Transaction<'_>) -> Result<AsOf, Problem> {
        let as_of = citytide_store::compare::AsOf::read(snapshot).await?;
        Ok(AsOf {
            epoch: as_of.epoch.unwrap_or(0),
            watermark_us: as_of.watermark_us.unwrap_or(NEVER),
            horizon: as_of.horizon,
        })
    }
}

/// Rows that were asked for.
#[derive(Debug)]
pub struct Rows {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

impl Listing {
    /// Every parameter that it takes.
    pub fn parameters(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.filters.iter().map(|filter| filter.parameter).collect();
        names.extend(self.switches.iter().map(|switch| switch.parameter));
        if self.span.is_some() {
            names.extend(["from", "until"]);
        }
        if self.from == WINDOWS {
            names.extend(["size", "every"]);
        }
        names.extend(COMMON);
        names
    }

    /// Reads the rows in a snapshot.
    pub async fn read(
        &self,
        snapshot: &Transaction<'_>,
        domain: &Domain,
        as_of: AsOf,
        asked: &Asked,
    ) -> Result<Rows, Problem> {
        asked.only(&self.parameters())?;
        let columns = (self.columns)(domain);
        let mut query = Query::default();
        for filter in self.filters {
            let values = asked.all(filter.parameter);
            if !values.is_empty() {
                let number = query.bind(values);
                let ty = filter.kind.sql();
                query.conditions.push(format!("{} = any (${number}::text[]::{ty}[])", filter.column));
            }
        }
        for switch in self.switches {
            if asked.word(switch.parameter, &["true", "false"])?.as_deref() == Some("true") {
                query.conditions.push(switch.condition.to_owned());
            }
        }
        if let Some(span) = self.span {
            for (comparison, at_us) in span.bounds(asked, as_of)? {
                let number = query.bind(rfc3339(at_us));
                query.conditions.push(format!("{} {comparison} ${number}::text::timestamptz", span.column));
            }
        }
        if self.from == WINDOWS
            && let Some(every) = asked.number("every", 1, EVERY_MAX_S)?
        {
            query.conditions.push(format!("extract(epoch from window_start)::bigint % {every} = 0"));
        }
        if let Some(cursor) = asked.one("cursor")? {
            self.behind(&cursor, &mut query)?;
        }
        let limit = asked.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT);
        let direction = if self.is_descending { " desc" } else { "" };
        let order: Vec<String> =
            self.order.iter().map(|(column, _)| format!("{column}{direction}")).collect();
        let from = match self.from {
            WINDOWS => window(domain, asked)?,
            from => from.to_owned(),
        };
        let select: Vec<String> = columns
            .iter()
            .map(|column| match column.select {
                Some(expression) => format!("{expression} as {}", column.name),
                None => column.name.clone(),
            })
            .collect();
        // One more than wanted tells whether there is a next page.
        let sql = format!(
            "select {} from {from}{} order by {} limit {}",
            select.join(", "),
            query.condition(),
            order.join(", "),
            limit + 1
        );
        let attempted = format!("reading {}", self.name);
        let rows = snapshot.query(&sql, &query.values()).await;
        let rows = rows.map_err(|error| Problem::of_statement(&attempted, &error))?;
        let mut rows: Vec<Vec<Cell>> =
            rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect();
        let next = (rows.len() as i64 > limit).then(|| {
            rows.truncate(limit as usize);
            self.cursor(&columns, rows.last().expect("a limit is at least 1"))
        });
        Ok(Rows { columns, rows, next })
    }

    /// Where the rows behind this one begin.
    fn cursor(&self, columns: &[Column], row: &[Cell]) -> String {
        let value = |name: &str| {
            let index = columns.iter().position(|column| column.name == name).expect("order by columns");
            row[index].clone().json()
        };
        Value::Array(self.order.iter().map(|(name, _)| value(name)).collect()).to_string()
    }

    /// Restricts a query to the rows behind a cursor.
    fn behind(&self, cursor: &str, query: &mut Query) -> Result<(), Problem> {
        let wrong = || Problem::asked("cursor is none that an answer of this list gave as next");
        let values: Vec<Value> = serde_json::from_str(cursor).map_err(|_| wrong())?;
        if values.len() != self.order.len() {
            return Err(wrong());
        }
        let mut bound = Vec::new();
        for ((_, kind), value) in self.order.iter().zip(values) {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => return Err(wrong()),
            };
            let number = query.bind(text);
            bound.push(format!("${number}::text::{}", kind.sql()));
        }
        let names: Vec<&str> = self.order.iter().map(|(name, _)| *name).collect();
        let comparison = if self.is_descending { "<" } else { ">" };
        query.conditions.push(format!("({}) {comparison} ({})", names.join(", "), bound.join(", ")));
        Ok(())
    }
}

/// Stands for the table of the window that `size` names.
pub const WINDOWS: &str = "(window)";

/// The table of the window that was asked for; by default the first one.
fn window(domain: &Domain, asked: &Asked) -> Result<String, Problem> {
    let names: Vec<&str> = domain.windows.iter().map(|window| window.name.as_str()).collect();
    let size = asked.word("size", &names)?;
    let window = domain.windows.iter().find(|window| size.as_ref().is_none_or(|size| *size == window.name));
    Ok(window.expect("one of the names").table())
}

impl Span {
    /// What the time is compared with.
    fn bounds(&self, asked: &Asked, as_of: AsOf) -> Result<Vec<(&'static str, i64)>, Problem> {
        let (from, until) = (asked.time("from")?, asked.time("until")?);
        let newest = (as_of.watermark_us != NEVER).then_some(as_of.watermark_us);
        let Some(end) = until.or(newest) else {
            // Nothing is there yet.
            return Ok(from.map(|from| (">=", from)).into_iter().collect());
        };
        let from = from.unwrap_or(end.saturating_sub(self.default_us));
        let with = self.longest_with.filter(|(parameter, _)| !asked.all(parameter).is_empty());
        let longest_us = with.map_or(self.longest_us, |(_, longest_us)| longest_us);
        if end.saturating_sub(from) > longest_us {
            let hours = longest_us / HOUR_US;
            let narrower = match (self.longest_with, with) {
                (Some((parameter, more_us)), None) => {
                    format!(", with {parameter} {}", hours_shown(more_us / HOUR_US))
                }
                _ => String::new(),
            };
            let detail = format!(
                "from and until are more than {} apart{narrower}; ask for a shorter range, several times",
                hours_shown(hours)
            );
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let mut bounds = vec![(">=", from)];
        bounds.extend(until.map(|until| ("<", until)));
        Ok(bounds)
    }
}

fn hours_shown(hours: i64) -> String {
    match hours {
        48.. => format!("{} days", hours / 24),
        1 => "1 hour".to_owned(),
        _ => format!("{hours} hours"),
    }
}

impl Rows {
    /// As JSON.
    pub fn json(self, as_of: AsOf) -> Value {
        let names: Vec<String> = self.columns.into_iter().map(|column| column.name).collect();
        let object = |row: Vec<Cell>| {
            Value::Object(names.iter().cloned().zip(row.into_iter().map(Cell::json)).collect::<Map<_, _>>())
        };
        let rows: Vec<Value> = self.rows.into_iter().map(object).collect();
        json!({ "as_of": as_of.epoch, "watermark": watermark(as_of), "rows": rows, "next": self.next })
    }

    /// As CSV with a header.
    pub fn csv(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let mut text = names.join(",") + "\r\n";
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                cell.csv(&mut text);
            }
            text += "\r\n";
        }
        text
    }
}

/// W; null before the first reading.
pub fn watermark(as_of: AsOf) -> Option<String> {
    (as_of.watermark_us != NEVER).then(|| rfc3339(as_of.watermark_us))
}

/// A query's conditions and values.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    bound: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Query {
    /// Adds a value; returns the number of its parameter.
    fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> usize {
        self.bound.push(Box::new(value));
        self.bound.len()
    }

    fn condition(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" where {}", self.conditions.join(" and "))
        }
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.bound.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        column: "recorded_at",
        default_us: HOUR_US,
        longest_us: DAY_US,
        longest_with: Some(("sensor", 7 * DAY_US)),
    };
    const AS_OF: AsOf = AsOf { epoch: 50, watermark_us: 1_795_262_400_000_000, horizon: 0 };

    fn bounds(query: &str, as_of: AsOf) -> Result<Vec<(&'static str, i64)>, String> {
        SPAN.bounds(&Asked::parse(query).expect("a query"), as_of).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_range_ends_at_w_where_nothing_is_said_and_has_a_bound() {
        let w = AS_OF.watermark_us;
        assert_eq!(bounds("", AS_OF), Ok(vec![(">=", w - HOUR_US)]));
        assert_eq!(
            bounds("from=1795262300000&until=1795262400000", AS_OF),
            Ok(vec![(">=", w - 100_000_000), ("<", w)])
        );
        let long = bounds("from=1795000000000", AS_OF).expect_err("three days");
        assert!(long.contains("more than 24 hours apart, with sensor 7 days"), "{long}");
        assert!(bounds("from=1795000000000&sensor=7", AS_OF).is_ok());
        assert_eq!(bounds("", AsOf { watermark_us: NEVER, ..AS_OF }), Ok(vec![]));
    }
}
