//! `citytide.toml`: from its text to values by setting, or to every mistake in it at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use citytide_domain::{Mistakes, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mask::is_secret_name;
use super::setting::{Kind, Setting};

/// What the file says of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Its values, one unless it is a list.
    pub values: Vec<OsString>,
    /// Where, counted from 1.
    pub line: usize,
}

/// What a file says, by the setting's name.
pub(super) type Contents = BTreeMap<String, Written>;

/// A mistake in the making: its place, and what is wrong.
type Findings = Vec<(Range<usize>, String)>;

/// Reads the text of the file `path` for `settings`; nothing is read from `path`.
///
/// # Errors
///
/// Every mistake of the file: of syntax, keys that no setting has, wrong types, values that a setting refuses.
pub(super) fn parse(path: &Path, text: &str, settings: &[Setting]) -> Result<Contents, Mistakes> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut file = File { path, text, settings, found: Vec::new(), contents: Contents::new() };
    for (section, value) in table.get_ref().iter() {
        file.section(section, value);
    }
    let shown = path.display().to_string();
    match Mistakes::of(&shown, text, &errors, file.found) {
        None => Ok(file.contents),
        Some(mut mistakes) => {
            for mistake in &mut mistakes.list {
                // What a key that nobody knows holds is not needed to understand that.
                if mistake.sentence.starts_with("unknown") || may_hold_secret(mistake.quoted(), settings) {
                    mistake.conceal();
                }
            }
            Err(mistakes)
        }
    }
}

/// Whether a line that is shown to a person may hold a password.
fn may_hold_secret(line: &str, settings: &[Setting]) -> bool {
    let key = line.split('=').next().unwrap_or_default().trim();
    let is_known = settings.iter().any(|setting| {
        setting.is_secret && setting.key.as_ref().is_some_and(|(_, known)| key.ends_with(known))
    });
    is_known || is_secret_name(key) || line.contains("://") || line.to_lowercase().contains("pass")
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    settings: &'a [Setting],
    found: Findings,
    contents: Contents,
}

impl File<'_> {
    fn section(&mut self, section: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let typed: &str = section.get_ref();
        let sections =
            || self.settings.iter().filter_map(|setting| setting.key.as_ref().map(|(name, _)| name.as_str()));
        if !sections().any(|known| known == typed) {
            let advice = self.advice(typed, sections());
            let typed = typed.escape_debug();
            self.found.push((section.span(), format!("unknown section `{typed}`; {advice}")));
            return;
        }
        let DeValue::Table(table) = value.get_ref() else {
            self.found.push((
                value.span(),
                format!("`{typed}` must be a section, [{typed}], not {}", called(value)),
            ));
            return;
        };
        for (key, value) in table.iter() {
            self.key(typed, key, value);
        }
    }

    fn key(&mut self, section: &str, key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let typed: &str = key.get_ref();
        let with_key = |setting: &&Setting, of: Option<&str>| {
            setting.key.as_ref().is_some_and(|(s, k)| k == typed && of.is_none_or(|of| of == s))
        };
        let Some(setting) = self.settings.iter().find(|setting| with_key(setting, Some(section))) else {
            let elsewhere = self.settings.iter().find(|setting| with_key(setting, None));
            let advice = match elsewhere.and_then(|setting| setting.key.as_ref()) {
                Some((other, _)) => format!("it belongs in [{other}]"),
                None => {
                    let here = self.settings.iter().filter_map(|setting| setting.key.as_ref());
                    self.advice(typed, here.filter(|(s, _)| s == section).map(|(_, k)| k.as_str()))
                }
            };
            let typed = typed.escape_debug();
            self.found.push((key.span(), format!("unknown key `{typed}` in [{section}]; {advice}")));
            return;
        };
        let (name, is_path) = (setting.name.clone(), setting.kind == Kind::Path);
        let Some(mut values) = self.values(section, typed, setting, value) else { return };
        for (value, span) in &values {
            if let Some(why) = setting.refuses(value) {
                self.found.push((span.clone(), format!("`{typed}` in [{section}]: {why}")));
            }
        }
        if is_path {
            let beside = self.path.parent().unwrap_or(Path::new("")).to_owned();
            values.iter_mut().for_each(|(value, _)| *value = beside.join(PathBuf::from(&value)).into());
        }
        let line = self.text[..key.span().start].matches('\n').count() + 1;
        let values = values.into_iter().map(|(value, _)| value).collect();
        self.contents.insert(name, Written { values, line });
    }

    fn advice<'a>(&self, typed: &str, known: impl Iterator<Item = &'a str>) -> String {
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        known.dedup();
        match nearest(typed, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", known.join(", ")),
        }
    }

    /// The values as they would be typed, each with its place; `None` leaves a finding behind.
    fn values(
        &mut self,
        section: &str,
        key: &str,
        setting: &Setting,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Vec<(OsString, Range<usize>)>> {
        let mut values = Vec::new();
        let mut wrong = None;
        let mut take =
            |value: &Spanned<DeValue<'_>>, name: Option<&str>| match text(setting.kind, value.get_ref()) {
                Some(text) => {
                    let text = name.map_or(text.clone(), |name| format!("{name}={text}"));
                    values.push((OsString::from(text), value.span()));
                }
                None => wrong = wrong.take().or(Some((value.span(), called(value)))),
            };
        match value.get_ref() {
            DeValue::Array(array) if setting.is_list => array.iter().for_each(|item| take(item, None)),
            DeValue::Table(table) if setting.is_list && setting.kind == Kind::Text => {
                table.iter().for_each(|(name, value)| take(value, Some(name.get_ref())));
            }
            _ => take(value, None),
        }
        let Some((span, found)) = wrong else { return Some(values) };
        let expected = match setting.kind {
            Kind::Switch => "true or false",
            Kind::Whole => "a whole number",
            Kind::Decimal => "a number",
            Kind::Path | Kind::Text if setting.is_list => "a list of texts",
            Kind::Path | Kind::Text => "text",
        };
        self.found.push((span, format!("`{key}` in [{section}] must be {expected}, not {found}")));
        None
    }
}

/// A value as it would be typed, if it is of the right type.
fn text(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Text | Kind::Path, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Switch, DeValue::Boolean(is_on)) => Some(is_on.to_string()),
        (Kind::Whole | Kind::Decimal, DeValue::Integer(number)) => Some(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or(number.to_string(), |n| n.to_string()),
        ),
        (Kind::Decimal, DeValue::Float(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// What a value is, for people.
fn called(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::Array(_) => "an array",
        DeValue::Integer(_) => "a whole number",
        DeValue::String(_) => "text",
        DeValue::Table(_) => "a table",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
    }
}
