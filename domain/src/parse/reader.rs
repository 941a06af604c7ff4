//! One table of the file, read key by key: each value with its place, each wrong type and unknown key a finding.
//!
//! A getter returns `None` both for a key that is absent and for one whose value is of no use; the latter has
//! left a finding behind, so that the caller may go on with any default.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration::parse_duration;
use super::nearest::nearest;

/// The greatest magnitude of a number in the file: readings beyond it are dead letters.
const NUMBER_MAX: f64 = 1e12;
const DAY_US: i64 = 86_400 * 1_000_000;

/// A value and the bytes it was typed at.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// Everything found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<(Range<usize>, String)>,
    /// The file is broken as TOML: what seems to be missing may stand in what could not be read.
    pub(super) is_broken: bool,
}

impl Findings {
    pub(super) fn add(&mut self, span: &Range<usize>, sentence: impl Into<String>) {
        self.list.push((span.clone(), sentence.into()));
    }

    /// Something required is not there.
    pub(super) fn add_missing(&mut self, span: &Range<usize>, sentence: impl Into<String>) {
        if !self.is_broken {
            self.add(span, sentence);
        }
    }
}

/// One table with the name it has in messages.
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    /// `[time]`, `[[metrics]]`, `pattern`; empty for the file itself.
    label: &'static str,
    /// Where a missing key is pointed at: the header.
    pub(super) span: Range<usize>,
}

impl<'a> Section<'a> {
    /// A table in which only `known` keys may stand.
    pub(super) fn new(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        label: &'static str,
        known: &[&str],
        findings: &mut Findings,
    ) -> Section<'a> {
        let section = Section { table, label, span };
        for (key, _) in table.iter() {
            let typed: &str = key.get_ref();
            if known.contains(&typed) {
                continue;
            }
            let advice = match nearest(typed, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            findings.add(
                &key.span(),
                format!("unknown key `{}`{}; {advice}", typed.escape_debug(), section.place()),
            );
        }
        section
    }

    fn place(&self) -> String {
        if self.label.is_empty() { String::new() } else { format!(" in {}", self.label) }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, findings: &mut Findings) {
        let found = match value.get_ref() {
            DeValue::Array(_) => "an array",
            DeValue::Integer(_) => "an integer",
            DeValue::String(_) => "text",
            DeValue::Table(_) => "a table",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(typed) if typed.time.is_some() => "a time",
            DeValue::Datetime(_) => "a date",
        };
        findings.add(&value.span(), format!("`{key}`{} must be {expected}, not {found}", self.place()));
    }

    /// The keys of a table whose keys are names of something else, with their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (At<String>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        let table = self.table;
        table.iter().map(|(key, value)| (At { value: key.get_ref().to_string(), span: key.span() }, value))
    }

    pub(super) fn text(&self, key: &str, findings: &mut Findings) -> Option<At<String>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
            _ => {
                self.wrong_type(key, value, "text", findings);
                None
            }
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    pub(super) fn required_text(&self, key: &str, findings: &mut Findings) -> Option<At<String>> {
        self.required(key, findings);
        self.text(key, findings)
    }

    pub(super) fn integer(&self, key: &str, allowed: Range<i64>, findings: &mut Findings) -> Option<At<i64>> {
        let value = self.table.get(key)?;
        let expected = format!("a whole number from {} to {}", allowed.start, allowed.end - 1);
        self.integer_of(key, value, &expected, findings).filter(|number| {
            let is_allowed = allowed.contains(&number.value);
            if !is_allowed {
                findings.add(&number.span, format!("`{key}`{} must be {expected}", self.place()));
            }
            is_allowed
        })
    }

    fn integer_of(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        findings: &mut Findings,
    ) -> Option<At<i64>> {
        match value.get_ref() {
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Some(At { value: number, span: value.span() }),
                Err(_) => {
                    findings.add(&value.span(), format!("`{key}`{} must be {expected}", self.place()));
                    None
                }
            },
            _ => {
                self.wrong_type(key, value, expected, findings);
                None
            }
        }
    }

    pub(super) fn number(&self, key: &str, findings: &mut Findings) -> Option<At<f64>> {
        self.number_of(key, self.table.get(key)?, findings)
    }

    pub(super) fn required_number(&self, key: &str, findings: &mut Findings) -> Option<At<f64>> {
        self.required(key, findings);
        self.number(key, findings)
    }

    pub(super) fn boolean(&self, key: &str, findings: &mut Findings) -> Option<At<bool>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At { value: *flag, span: value.span() }),
            _ => {
                self.wrong_type(key, value, "true or false", findings);
                None
            }
        }
    }

    /// The beginning of a day in UTC, in microseconds of the Unix epoch.
    pub(super) fn required_date_us(&self, key: &str, findings: &mut Findings) -> Option<At<i64>> {
        self.required(key, findings);
        let value = self.table.get(key)?;
        let typed = match value.get_ref() {
            DeValue::Datetime(typed) if typed.time.is_none() => typed.date,
            _ => None,
        };
        let Some(date) = typed else {
            self.wrong_type(key, value, "a date without time or quotes, as 2026-11-21", findings);
            return None;
        };
        let at_us = days_of(i64::from(date.year), i64::from(date.month), i64::from(date.day)) * DAY_US;
        Some(At { value: at_us, span: value.span() })
    }

    fn required(&self, key: &str, findings: &mut Findings) {
        if !self.has(key) {
            findings.add_missing(&self.span, format!("`{key}` is missing{}", self.place()));
        }
    }

    /// A finite number of a magnitude that a reading may have.
    pub(super) fn number_of(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        findings: &mut Findings,
    ) -> Option<At<f64>> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse::<f64>().unwrap_or(f64::NAN),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number as f64,
                Err(_) => f64::INFINITY,
            },
            _ => {
                self.wrong_type(key, value, "a number", findings);
                return None;
            }
        };
        if number.is_finite() && number.abs() <= NUMBER_MAX {
            return Some(At { value: number, span: value.span() });
        }
        findings.add(
            &value.span(),
            format!("`{key}`{} must be a finite number, at most 10^12 in magnitude", self.place()),
        );
        None
    }

    /// `[a, b]`, both numbers.
    pub(super) fn number_pair(&self, key: &str, findings: &mut Findings) -> Option<At<(f64, f64)>> {
        let value = self.table.get(key)?;
        let Some([low, high]) = value.get_ref().as_array().map(|array| &array[..]) else {
            self.wrong_shape(key, value, "two numbers, as [0, 100]", findings);
            return None;
        };
        let (low, high) = (self.number_of(key, low, findings), self.number_of(key, high, findings));
        Some(At { value: (low?.value, high?.value), span: value.span() })
    }

    /// `[a, b]`, both integers of at most three digits.
    pub(super) fn place_on_map(&self, key: &str, findings: &mut Findings) -> Option<At<(i64, i64)>> {
        let expected = "two whole numbers, column and row, as [2, 3]";
        let value = self.table.get(key)?;
        let Some([column, row]) = value.get_ref().as_array().map(|array| &array[..]) else {
            self.wrong_shape(key, value, expected, findings);
            return None;
        };
        let column = self.integer_of(key, column, expected, findings);
        let row = self.integer_of(key, row, expected, findings);
        let at = At { value: (column?.value, row?.value), span: value.span() };
        if at.value.0.abs().max(at.value.1.abs()) < 1000 {
            return Some(at);
        }
        findings.add(&at.span, format!("`{key}`{} must lie between -999 and 999", self.place()));
        None
    }

    /// A list of numbers.
    pub(super) fn numbers(&self, key: &str, findings: &mut Findings) -> Option<At<Vec<At<f64>>>> {
        let value = self.table.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of numbers, as [8, 17.5]", findings);
            return None;
        };
        let numbers = array.iter().filter_map(|item| self.number_of(key, item, findings)).collect();
        Some(At { value: numbers, span: value.span() })
    }

    /// A list of texts; empty when the key is absent.
    pub(super) fn texts(&self, key: &str, findings: &mut Findings) -> Vec<At<String>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let expected = "a list of texts, as [\"traffic_flow\"]";
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, expected, findings);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(At { value: text.to_string(), span: item.span() }),
                _ => self.wrong_type(key, item, expected, findings),
            }
        }
        texts
    }

    fn wrong_shape(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, findings: &mut Findings) {
        match value.get_ref() {
            DeValue::Array(_) => {
                findings.add(&value.span(), format!("`{key}`{} must be {expected}", self.place()))
            }
            _ => self.wrong_type(key, value, expected, findings),
        }
    }

    /// Microseconds. A bare 0 is a duration where `zero_keeps`.
    pub(super) fn duration_us(
        &self,
        key: &str,
        zero_keeps: bool,
        findings: &mut Findings,
    ) -> Option<At<i64>> {
        let value = self.table.get(key)?;
        let expected =
            if zero_keeps { "a duration such as \"7d\", or 0 to keep" } else { "a duration such as \"90s\"" };
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if zero_keeps && number.as_str() == "0" => "0",
            _ => {
                self.wrong_type(key, value, expected, findings);
                return None;
            }
        };
        match parse_duration(text) {
            Ok(value_us) => Some(At { value: value_us, span: value.span() }),
            Err(reason) => {
                let text = text.escape_debug();
                findings.add(
                    &value.span(),
                    format!("`{key}`{}: \"{text}\" is no duration: {reason}", self.place()),
                );
                None
            }
        }
    }

    pub(super) fn table(
        &self,
        key: &str,
        label: &'static str,
        known: &[&str],
        findings: &mut Findings,
    ) -> Option<Section<'a>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(table, value.span(), label, known, findings)),
            _ => {
                self.wrong_type(key, value, "a table", findings);
                None
            }
        }
    }

    /// A table whose keys are names of something else.
    pub(super) fn open_table(
        &self,
        key: &str,
        label: &'static str,
        findings: &mut Findings,
    ) -> Option<Section<'a>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { table, label, span: value.span() }),
            _ => {
                self.wrong_type(key, value, "a table", findings);
                None
            }
        }
    }

    /// A list of tables, `[[key]]`, with the place that stands for all of it.
    pub(super) fn tables(
        &self,
        key: &str,
        label: &'static str,
        known: &[&str],
        findings: &mut Findings,
    ) -> Option<At<Vec<Section<'a>>>> {
        let value = self.table.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, &format!("a list of tables, each begun with {label}"), findings);
            return None;
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section::new(table, item.span(), label, known, findings))
                }
                _ => self.wrong_type(
                    key,
                    item,
                    &format!("a list of tables, each begun with {label}"),
                    findings,
                ),
            }
        }
        Some(At { value: sections, span: value.span() })
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    era * 146_097 + day_of_era - 719_468
}
