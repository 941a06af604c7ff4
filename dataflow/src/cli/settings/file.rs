//! `citytide.toml`: from its text to values by setting, or to every mistake in it at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use citytide_domain::{Mistakes, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mask::is_secret_name;
use super::setting::{NUMBER, SWITCH, Setting, TEXT, WHOLE};
use super::{Finding, OwnSection};

/// What a file says, by the setting's name: its values, one unless it is a list, and the line, counted from 1.
pub(super) type Contents = BTreeMap<String, (Vec<OsString>, usize)>;

/// The settings that may stand in the file, by section and key.
type Known<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Setting>>;

/// Reads the text of the file `path` for `settings`; nothing is read from `path`. The `sections` are somebody else's,
/// who only says what is wrong with them.
///
/// # Errors
///
/// Every mistake of the file: of syntax, keys that no setting has, wrong types, values that a setting refuses.
pub(super) fn parse(
    path: &Path,
    text: &str,
    settings: &[Setting],
    sections: &[OwnSection],
) -> Result<Contents, Mistakes> {
    let mut known = Known::new();
    for setting in settings {
        let Some((section, key)) = setting.in_file() else { continue };
        known.entry(section).or_default().insert(key, setting);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let (mut contents, mut found) = (Contents::new(), Vec::new());
    for (section, value) in table.get_ref().iter() {
        if let Some(own) = sections.iter().find(|own| own.name == &**section.get_ref()) {
            found.extend((own.check)(value, !errors.is_empty()));
            continue;
        }
        let typed = section.get_ref().escape_debug();
        match (known.get(&**section.get_ref()), value.get_ref()) {
            (None, _) => {
                let own: Vec<&str> = sections.iter().map(|own| own.name).collect();
                let advice = advice(section.get_ref(), known.keys().chain(&own));
                found.push((section.span(), format!("unknown section `{typed}`; {advice}")));
            }
            (Some(keys), DeValue::Table(table)) => {
                for (key, value) in table.iter() {
                    let in_section = format!("`{}` in [{typed}]", key.get_ref().escape_debug());
                    let Some(setting) = keys.get(&**key.get_ref()) else {
                        let other = known.iter().find(|(_, keys)| keys.contains_key(&**key.get_ref()));
                        let advice = match other {
                            Some((other, _)) => format!("it belongs in [{other}]"),
                            None => advice(key.get_ref(), keys.keys()),
                        };
                        found.push((key.span(), format!("unknown key {in_section}; {advice}")));
                        continue;
                    };
                    let values = values(path, setting, value, &in_section, &mut found);
                    let line = text[..key.span().start].matches('\n').count() + 1;
                    contents.insert(setting.name.clone(), (values, line));
                }
            }
            (Some(_), other) => {
                let other = scalar(other).0;
                found.push((value.span(), format!("`{typed}` must be a section, [{typed}], not {other}")));
            }
        }
    }
    let Some(mut mistakes) = Mistakes::of(&path.display().to_string(), text, &errors, found) else {
        return Ok(contents);
    };
    for mistake in &mut mistakes.list {
        // The value of an unknown key is not needed for that.
        if mistake.sentence.starts_with("unknown") || may_hold_secret(mistake.quoted(), settings) {
            mistake.conceal();
        }
    }
    Err(mistakes)
}

/// Whether a line that is shown to a person may hold a password.
fn may_hold_secret(line: &str, settings: &[Setting]) -> bool {
    let key = line.split('=').next().unwrap_or_default().trim();
    let mut known = settings.iter().filter(|setting| setting.is_secret).filter_map(Setting::in_file);
    known.any(|(_, known)| key.ends_with(known))
        || is_secret_name(key)
        || line.contains("://")
        || line.to_lowercase().contains("pass")
}

/// The values as they would be typed. `called` is the key, for messages.
fn values(
    path: &Path,
    setting: &Setting,
    value: &Spanned<DeValue<'_>>,
    called: &str,
    found: &mut Vec<Finding>,
) -> Vec<OsString> {
    let items: Vec<(String, &Spanned<DeValue<'_>>)> = match value.get_ref() {
        DeValue::Array(array) if setting.is_list => array.iter().map(|item| (String::new(), item)).collect(),
        DeValue::Table(table) if setting.is_list && !setting.is_path => {
            table.iter().map(|(name, item)| (format!("{}=", name.get_ref()), item)).collect()
        }
        _ => vec![(String::new(), value)],
    };
    let beside = path.parent().filter(|_| setting.is_path);
    let mut values = Vec::new();
    for (prefix, item) in items {
        let (kind, text) = scalar(item.get_ref());
        let value = OsString::from(prefix + &text);
        let fits = kind == setting.kind || setting.kind == NUMBER && kind.ends_with("number");
        if !fits {
            let expected = if setting.is_list { "a list of texts" } else { setting.kind };
            found.push((item.span(), format!("{called} must be {expected}, not {kind}")));
        } else if let Some(why) = setting.refuses(&value) {
            found.push((item.span(), format!("{called}: {why}")));
        }
        values.push(beside.map_or(value.clone(), |folder| folder.join(&value).into()));
    }
    values
}

/// What was meant, or all that is known.
fn advice<'a, 'b: 'a>(typed: &str, known: impl Iterator<Item = &'a &'b str>) -> String {
    let known: Vec<&str> = known.copied().collect();
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// What a value is, and how it would be typed if that can be.
fn scalar(value: &DeValue<'_>) -> (&'static str, String) {
    match value {
        DeValue::String(text) => (TEXT, text.to_string()),
        DeValue::Boolean(is_on) => (SWITCH, is_on.to_string()),
        DeValue::Integer(number) => {
            let decimal = i64::from_str_radix(number.as_str(), number.radix());
            (WHOLE, decimal.map_or(number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => ("a decimal number", number.to_string()),
        DeValue::Datetime(_) => ("a date", String::new()),
        DeValue::Array(_) => ("a list", String::new()),
        DeValue::Table(_) => ("a table", String::new()),
    }
}
