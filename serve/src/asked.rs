//! What a request asks for: the parameters of its query string, each at most once unless it is a list. Pure.

use chrono::DateTime;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// Parameters of a request at most.
const PARAMETERS_MAX: usize = 64;
/// Bytes of a query string at most.
const BYTES_MAX: usize = 8_192;

/// The parameters, in the order of the query string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads a query string.
    ///
    /// # Errors
    ///
    /// When it is too long, or is no UTF-8.
    pub fn parse(query: &str) -> Result<Asked, Problem> {
        if query.len() > BYTES_MAX {
            return Err(Problem::asked(format!("the query string is longer than {BYTES_MAX} bytes")));
        }
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| Problem::asked("the query string is not UTF-8"))
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decoded(name)?, decoded(value)?))
            })
            .collect::<Result<Vec<_>, Problem>>()?;
        if parameters.len() > PARAMETERS_MAX {
            return Err(Problem::asked(format!("more than {PARAMETERS_MAX} parameters")));
        }
        Ok(Asked(parameters))
    }

    /// Refuses what is not among the known names.
    ///
    /// # Errors
    ///
    /// Which one is unknown, and which are known.
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(Problem::asked(format!("unknown parameter {name}; known here: {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    /// All values of a list.
    pub fn all(&self, name: &str) -> Vec<String> {
        let of_name = self.0.iter().filter(|(given, _)| given == name);
        of_name.map(|(_, value)| value.clone()).filter(|value| !value.is_empty()).collect()
    }

    /// The one value.
    ///
    /// # Errors
    ///
    /// When it is given twice.
    pub fn one(&self, name: &str) -> Result<Option<String>, Problem> {
        match &self.all(name)[..] {
            [] => Ok(None),
            [value] => Ok(Some(value.clone())),
            _ => Err(Problem::asked(format!("{name} is given more than once"))),
        }
    }

    /// One of a few words.
    ///
    /// # Errors
    ///
    /// When it is another one.
    pub fn word(&self, name: &str, words: &[&str]) -> Result<Option<String>, Problem> {
        match self.one(name)? {
            Some(value) if !words.contains(&value.as_str()) => {
                Err(Problem::asked(format!("{name}={value} is none of {}", words.join(", "))))
            }
            value => Ok(value),
        }
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    ///
    /// When it is none, or outside of them.
    pub fn number(&self, name: &str, least: i64, greatest: i64) -> Result<Option<i64>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let number = value.parse().ok().filter(|number| (least..=greatest).contains(number));
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::asked(format!("{name}={value} is no number from {least} to {greatest}"))),
        }
    }

    /// A time: RFC 3339, or milliseconds of the Unix epoch. Microseconds of the Unix epoch.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let ms = value.parse::<i64>().ok().filter(|ms| ms.unsigned_abs() < 1 << 53);
        let us = ms.map(|ms| ms * 1000).or_else(|| {
            // A + of an offset may have become a blank.
            let text = value.replace(' ', "+");
            DateTime::parse_from_rfc3339(&text).ok().map(|at| at.timestamp_micros())
        });
        match us {
            Some(us) => Ok(Some(us)),
            None => Err(Problem::asked(format!(
                "{name}={value} is no time: give RFC 3339, as 2026-11-21T12:00:00Z, or milliseconds since 1970"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        Asked::parse(query).expect("a query")
    }

    #[test]
    fn a_query_string_is_decoded_and_a_list_keeps_its_order() {
        let query = asked("zone=Tech+Hub&zone=%D9%85%D8%AF%D9%8A%D9%86%D8%A9&limit=5&zone=");
        assert_eq!(query.all("zone"), ["Tech Hub", "مدينة"]);
        assert_eq!(query.number("limit", 1, 10), Ok(Some(5)));
        assert!(query.one("zone").is_err(), "given twice");
        assert!(Asked::parse("a=%ff").is_err(), "no UTF-8");
    }

    #[test]
    fn what_is_unknown_or_out_of_bounds_is_told_with_what_is_right() {
        let query = asked("limit=11&size=2min&from=yesterday&zon=a");
        let detail = |problem: Problem| problem.detail;
        assert_eq!(
            query.only(&["limit", "size", "from", "zone"]).map_err(detail),
            Err("unknown parameter zon; known here: limit, size, from, zone".to_owned())
        );
        assert!(
            query.number("limit", 1, 10).map_err(detail).expect_err("too great").contains("from 1 to 10")
        );
        assert!(query.word("size", &["1min"]).map_err(detail).expect_err("no size").contains("1min"));
        assert!(query.time("from").map_err(detail).expect_err("no time").contains("RFC 3339"));
    }

    #[test]
    fn a_time_is_rfc_3339_with_any_offset_or_milliseconds() {
        for text in ["2026-11-21T12:00:00Z", "2026-11-21T14:00:00+02:00", "1795262400000"] {
            assert_eq!(
                asked(&format!("from={text}")).time("from"),
                Ok(Some(1_795_262_400_000_000)),
                "{text}"
            );
        }
    }
}
