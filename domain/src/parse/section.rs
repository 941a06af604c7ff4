//! One table of the file, asked for its keys. A value of the wrong type is recorded and then absent, so that the
//! caller goes on with its default and finds the next mistake.
//!
//! Each key stands once in this program, where it is read: a key of the file that has not been read when the
//! section is dropped is unknown. So ask for every key, whatever the other keys say.
//! (Why serde does not read the file: docs/decisions/0016-domain-files-key-by-key.md.)

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use chrono::NaiveDate;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::duration::parse_duration;
use super::nearest::nearest;
use super::typed::{Findings, Typed};

/// The greatest magnitude of a number in the file: readings beyond it are dead letters.
const NUMBER_MAX: f64 = 1e12;

type Value<'a> = Spanned<DeValue<'a>>;

pub struct Section<'a> {
    /// `None` where the file does not have it: then all of its keys are absent, and none is missing.
    table: Option<&'a DeTable<'a>>,
    /// `[time]`, `[[metrics]]`, `pattern`; empty for the file itself.
    label: &'static str,
    /// What a mistake of the whole section points at: its header.
    pub span: Range<usize>,
    pub findings: &'a Findings,
    known: RefCell<Vec<&'a str>>,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let known = self.known.borrow();
        for key in self.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let advice = match nearest(key.get_ref(), known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let name = self.name(&key.get_ref().escape_debug().to_string());
            self.findings.add(key.span(), format!("unknown key {name}; {advice}"));
        }
    }
}

impl<'a> Section<'a> {
    /// A table that another file has: `label` is what its mistakes call it, `span` what those of the whole point at.
    pub fn of(
        table: &'a DeTable<'a>,
        label: &'static str,
        span: Range<usize>,
        findings: &'a Findings,
    ) -> Section<'a> {
        Section { table: Some(table), label, span, findings, known: RefCell::default() }
    }

    pub fn file(table: &'a DeTable<'a>, findings: &'a Findings) -> Section<'a> {
        Section { table: Some(table), label: "", span: 0..0, findings, known: RefCell::default() }
    }

    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// All keys, for a table whose keys are names of something else.
    pub fn keys(&self) -> impl Iterator<Item = &'a Spanned<DeString<'a>>> + use<'a> {
        self.table.into_iter().flat_map(|table| table.keys())
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The text of a key that was read already.
    pub fn peek(&self, key: &str) -> Option<&'a str> {
        self.table?.get(key)?.get_ref().as_str()
    }

    pub fn text(&self, key: &'a str) -> Typed<'a, String> {
        self.value(key, |value| self.text_of(key, "text", value))
    }

    pub fn required_text(&self, key: &'a str) -> Typed<'a, String> {
        self.require(key);
        self.text(key)
    }

    pub fn texts(&self, key: &'a str) -> Typed<'a, Vec<Spanned<String>>> {
        let expected = "a list of texts, as [\"traffic_flow\"]";
        self.list(key, expected, |item| self.text_of(key, expected, item))
    }

    pub fn boolean(&self, key: &'a str) -> Typed<'a, bool> {
        self.value(key, |value| {
            value.get_ref().as_bool().or_else(|| self.wrong_type(key, "true or false", value))
        })
    }

    pub fn integer(&self, key: &'a str, allowed: RangeInclusive<i64>) -> Typed<'a, i64> {
        let expected = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        self.value(key, |value| self.integer_of(key, &expected, value))
            .check(|number| allowed.contains(number), format!("must be {expected}"))
    }

    pub fn number(&self, key: &'a str) -> Typed<'a, f64> {
        self.value(key, |value| self.number_of(key, value))
    }

    pub fn required_number(&self, key: &'a str) -> Typed<'a, f64> {
        self.require(key);
        self.number(key)
    }

    pub fn numbers(&self, key: &'a str) -> Typed<'a, Vec<Spanned<f64>>> {
        self.list(key, "a list of numbers, as [8, 17.5]", |item| self.number_of(key, item))
    }

    /// `[a, b]`.
    pub fn number_pair(&self, key: &'a str) -> Typed<'a, (f64, f64)> {
        self.pair(key, "two numbers, as [0, 100]", |item| self.number_of(key, item))
    }

    /// `[a, b]`, of at most three digits each.
    pub fn integer_pair(&self, key: &'a str, expected: &str) -> Typed<'a, (i64, i64)> {
        self.pair(key, expected, |item| self.integer_of(key, expected, item)).check(
            |(first, second)| [first, second].iter().all(|number| (-999..=999).contains(*number)),
            "must lie between -999 and 999",
        )
    }

    /// The beginning of a day in UTC, in microseconds of the Unix epoch.
    pub fn required_date_us(&self, key: &'a str) -> Typed<'a, i64> {
        self.require(key);
        self.value(key, |value| {
            date_us(value.get_ref())
                .or_else(|| self.wrong_type(key, "a date without time or quotes, as 2026-11-21", value))
        })
    }

    /// Microseconds.
    pub fn duration_us(&self, key: &'a str) -> Typed<'a, i64> {
        self.value(key, |value| match value.get_ref() {
            DeValue::String(text) => self.duration_of(key, text, value.span()),
            _ => self.wrong_type(key, "a duration such as \"90s\"", value),
        })
    }

    /// Microseconds, of a setting that a bare 0 turns off.
    pub fn retention_us(&self, key: &'a str) -> Typed<'a, i64> {
        self.value(key, |value| match value.get_ref() {
            DeValue::String(text) => self.duration_of(key, text, value.span()),
            DeValue::Integer(number) if number.as_str() == "0" => Some(0),
            _ => self.wrong_type(key, "a duration such as \"7d\", or 0 to keep", value),
        })
    }

    pub fn table(&self, key: &'a str, label: &'static str) -> Section<'a> {
        let section = self.value(key, |value| self.table_of(key, label, "a table", value)).option();
        let (span, findings) = (self.span.clone(), self.findings);
        section.unwrap_or(Section { table: None, label, span, findings, known: RefCell::default() })
    }

    /// `[[key]]`.
    pub fn tables(&self, key: &'a str, label: &'static str) -> Typed<'a, Vec<Section<'a>>> {
        let expected = format!("a list of tables, each begun with {label}");
        let list = self.list(key, &expected, |item| self.table_of(key, label, &expected, item));
        let at = list.at.map(|at| {
            Spanned::new(at.span(), at.into_inner().into_iter().map(Spanned::into_inner).collect())
        });
        Typed { at, name: list.name, findings: list.findings }
    }

    /// Takes note that the key is known, though its value does not matter here.
    pub fn ignore(&self, key: &'a str) {
        self.known.borrow_mut().push(key);
    }

    /// Records that `key` is missing, if it is.
    pub fn require(&self, key: &str) {
        if self.is_present() && !self.has(key) {
            let place = if self.label.is_empty() { String::new() } else { format!(" in {}", self.label) };
            self.findings.add_missing(self.span.clone(), format!("`{key}` is missing{place}"));
        }
    }

    fn value<T>(&self, key: &'a str, read: impl FnOnce(&'a Value<'a>) -> Option<T>) -> Typed<'a, T> {
        self.known.borrow_mut().push(key);
        let value = self.table.and_then(|table| table.get(key));
        let at = value.and_then(|value| Some(Spanned::new(value.span(), read(value)?)));
        Typed { at, name: self.name(key), findings: self.findings }
    }

    fn list<T>(
        &self,
        key: &'a str,
        expected: &str,
        read: impl Fn(&'a Value<'a>) -> Option<T>,
    ) -> Typed<'a, Vec<Spanned<T>>> {
        self.value(key, |value| match value.get_ref() {
            DeValue::Array(items) => {
                let read = |item: &'a Value<'a>| Some(Spanned::new(item.span(), read(item)?));
                Some(items.iter().filter_map(read).collect())
            }
            _ => self.wrong_type(key, expected, value),
        })
    }

    fn pair<T>(
        &self,
        key: &'a str,
        expected: &str,
        read: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Typed<'a, (T, T)> {
        self.value(key, |value| match value.get_ref().as_array().map(|array| &array[..]) {
            Some([first, second]) => {
                let (first, second) = (read(first), read(second));
                Some((first?, second?))
            }
            _ => self.wrong_type(key, expected, value),
        })
    }

    fn text_of(&self, key: &str, expected: &str, value: &Value<'_>) -> Option<String> {
        value.get_ref().as_str().map(str::to_owned).or_else(|| self.wrong_type(key, expected, value))
    }

    fn integer_of(&self, key: &str, expected: &str, value: &Value<'_>) -> Option<i64> {
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(key, expected, value);
        };
        // What does not fit 64 bits is outside of every range.
        Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
    }

    /// A finite number of a magnitude that a reading may have.
    fn number_of(&self, key: &str, value: &Value<'_>) -> Option<f64> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().unwrap_or(f64::NAN),
            DeValue::Integer(_) => self.integer_of(key, "", value)? as f64,
            _ => return self.wrong_type(key, "a number", value),
        };
        if number.abs() <= NUMBER_MAX {
            return Some(number);
        }
        let name = self.name(key);
        self.findings
            .add(value.span(), format!("{name} must be a finite number, at most 10^12 in magnitude"));
        None
    }

    fn duration_of(&self, key: &str, text: &str, span: Range<usize>) -> Option<i64> {
        let add = |reason| {
            let sentence =
                format!("{}: \"{}\" is not a duration: {reason}", self.name(key), text.escape_debug());
            self.findings.add(span, sentence);
        };
        parse_duration(text).map_err(add).ok()
    }

    fn table_of(
        &self,
        key: &str,
        label: &'static str,
        expected: &str,
        value: &'a Value<'a>,
    ) -> Option<Section<'a>> {
        let DeValue::Table(table) = value.get_ref() else { return self.wrong_type(key, expected, value) };
        let (span, findings) = (value.span(), self.findings);
        Some(Section { table: Some(table), label, span, findings, known: RefCell::default() })
    }

    fn wrong_type<T>(&self, key: &str, expected: &str, value: &Value<'_>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::Array(items) => &format!("a list of {}", items.len()),
            DeValue::Integer(_) => "an integer",
            DeValue::String(_) => "text",
            DeValue::Table(_) => "a table",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(typed) if typed.time.is_some() => "a time",
            DeValue::Datetime(_) => "a date",
        };
        self.findings.add(value.span(), format!("{} must be {expected}, not {found}", self.name(key)));
        None
    }

    /// The key and where it stands.
    fn name(&self, key: &str) -> String {
        if self.label.is_empty() { format!("`{key}`") } else { format!("`{key}` in {}", self.label) }
    }
}

fn date_us(value: &DeValue<'_>) -> Option<i64> {
    let typed = value.as_datetime().filter(|typed| typed.time.is_none())?.date?;
    let date = NaiveDate::from_ymd_opt(typed.year.into(), typed.month.into(), typed.day.into())?;
    Some(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}
