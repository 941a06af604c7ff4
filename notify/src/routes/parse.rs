//! Parses the section `[routes]` of the configuration file, a table per route, and reports all mistakes with their
//! place.

use std::path::Path;
use std::time::Duration;

use chrono_tz::Tz;
use citytide_core::incidents::Kind;
use citytide_domain::{Findings, Mistakes, Section, Typed, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    Email, Encryption, Hours, Pace, Place, Receiver, Route, SEVERITIES, Secret, Sms, Template, Wants,
};

/// The section's name.
pub const SECTION: &str = "routes";
/// The name of a route's table in messages.
const LABEL: &str = "a route";
const KINDS: [&str; 4] = ["webhook", "chat", "email", "sms"];
/// The upper limit of `group_max`.
const GROUP_MAX: i64 = 1_000;
const TRIES_MAX: i64 = 50;
/// The upper limit of `text_max`, characters: ten parts of a concatenated SMS.
const TEXT_MAX: i64 = 1_530;

/// Returns the mistakes of the section.
pub fn check(section: &Spanned<DeValue<'_>>, is_broken: bool) -> Vec<(std::ops::Range<usize>, String)> {
    let findings = Findings { is_broken, ..Findings::default() };
    routes(section, "", Path::new(""), &findings);
    findings.list.into_inner()
}

/// Parses the routes of the configuration file `path` with the content `text`. Ignores other sections.
///
/// # Errors
///
/// Lists every mistake in the section.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Route>, Mistakes> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let findings = Findings { is_broken: !errors.is_empty(), ..Findings::default() };
    let routes = table
        .get_ref()
        .get(SECTION)
        .map(|section| routes(section, text, path, &findings))
        .unwrap_or_default();
    match Mistakes::of(&path.display().to_string(), text, &errors, findings.list.into_inner()) {
        None => Ok(routes),
        Some(mistakes) => Err(mistakes),
    }
}

fn routes(section: &Spanned<DeValue<'_>>, text: &str, path: &Path, findings: &Findings) -> Vec<Route> {
    let DeValue::Table(table) = section.get_ref() else {
        findings.add(section.span(), format!("`{SECTION}` must be a table of routes, [{SECTION}.duty]"));
        return Vec::new();
    };
    let mut routes = Vec::new();
    for (name, value) in table.iter() {
        let (span, name) = (name.span(), name.get_ref().to_string());
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            let rule = "a route's name has letters, digits, - and _, and at most 64 of them";
            findings.add(span.clone(), rule);
        }
        let DeValue::Table(table) = value.get_ref() else {
            let name = name.escape_debug();
            findings
                .add(value.span(), format!("`{name}` in [{SECTION}] must be a table, [{SECTION}.{name}]"));
            continue;
        };
        let line = text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
        let folder = path.parent().unwrap_or(Path::new(""));
        let section = Section::of(table, LABEL, span, findings);
        routes.extend(route(&section, name, line, folder));
    }
    routes
}

/// Parses a route; `None` when something is missing.
fn route(section: &Section<'_>, name: String, line: usize, folder: &Path) -> Option<Route> {
    let wants = wants(section);
    let pace = pace(section);
    section.require("kind");
    let kind = one_of(section, section.text("kind"), &KINDS, None);
    let ca_file = section.text("ca_file").option().map(|file| folder.join(file));
    let receiver = match kind.as_deref() {
        Some("webhook") => {
            let url = address(section, folder);
            let secret = secret(section, ["secret_env", "secret_file"], folder);
            Receiver::Webhook { url: url?, secret, ca_file }
        }
        Some("chat") => Receiver::Chat { url: address(section, folder)?, ca_file },
        Some("email") => Receiver::Email(Box::new(email(section, folder, ca_file)?)),
        Some("sms") => Receiver::Sms(Box::new(sms(section, folder, ca_file)?)),
        _ => {
            // Without a kind the other keys cannot be checked; reporting them would be a second mistake.
            ignore_all(section);
            return None;
        }
    };
    Some(Route { name, line, wants, pace, receiver })
}

fn ignore_all(section: &Section<'_>) {
    const ALL: [&str; 23] = [
        "url",
        "url_env",
        "url_file",
        "secret_env",
        "secret_file",
        "server",
        "port",
        "encryption",
        "user",
        "password_env",
        "password_file",
        "from",
        "to",
        "method",
        "headers",
        "body",
        "text_max",
        "ca_file",
        "zones",
        "kinds",
        "patterns",
        "hours",
        "time_zone",
    ];
    ALL.iter().for_each(|key| section.ignore(key));
}

fn wants(section: &Section<'_>) -> Wants {
    let severity = one_of(section, section.text("severity"), &SEVERITIES, Some("low"));
    let texts = |key| -> Vec<String> {
        section.texts(key).option().into_iter().flatten().map(Spanned::into_inner).collect()
    };
    let kinds = section.texts("kinds");
    for kind in kinds.as_ref().into_iter().flatten() {
        let known = Kind::ALL.map(Kind::as_str);
        section.findings.index_of(
            kind,
            known.into_iter(),
            "there is no kind of incident",
            '`',
            Some(&known.join(", ")),
        );
    }
    let kinds = kinds.option().into_iter().flatten().map(Spanned::into_inner).collect();
    let zone = section.text("time_zone");
    let mut time_zone = Tz::UTC;
    let named = zone.as_ref().map(|name| name.parse::<Tz>());
    match named {
        Some(Ok(found)) => time_zone = found,
        Some(Err(_)) => drop(zone.check(|_| false, "is not a time zone; write it like Europe/Berlin")),
        None => {}
    }
    let hours = section.texts("hours");
    let mut parsed = None;
    if let Some(spans) = hours.as_ref() {
        for span in spans {
            if let Err(why) = Hours::parse([span.get_ref().as_str()].into_iter(), time_zone) {
                section.findings.add(span.span(), format!("`hours` in {LABEL}: {why}"));
            }
        }
        parsed = Hours::parse(spans.iter().map(|span| span.get_ref().as_str()), time_zone).ok();
        if spans.is_empty() {
            hours.check(|_| false, "has no hours: leave it out for all hours");
            parsed = None;
        }
    }
    Wants {
        severity: severity.unwrap_or_else(|| "low".to_owned()),
        zones: texts("zones"),
        kinds,
        patterns: texts("patterns"),
        hours: parsed,
    }
}

fn pace(section: &Section<'_>) -> Pace {
    let duration = |key, default: Duration, least: Duration, most: Duration| {
        let complaint = format!("must be from {} s to {} s", least.as_secs(), most.as_secs());
        let read = |us: i64| Duration::from_micros(us.unsigned_abs());
        let typed = section.duration_us(key).check(|us| (least..=most).contains(&read(*us)), complaint);
        typed.option().map_or(default, read)
    };
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let group_wait = duration("group_wait", 10 * second, Duration::ZERO, 3600 * second);
    let timeout = duration("timeout", 10 * second, second, 300 * second);
    let repeat_every =
        section.has("repeat_every").then(|| duration("repeat_every", day, 60 * second, 31 * day));
    if repeat_every.is_none() {
        section.ignore("repeat_every");
    }
    Pace {
        group_wait,
        group_max: section.integer("group_max", 1..=GROUP_MAX).or(100),
        repeat_every,
        timeout,
        tries_max: section.integer("tries_max", 1..=TRIES_MAX).or(10) as i32,
    }
}

fn email(section: &Section<'_>, folder: &Path, ca_file: Option<std::path::PathBuf>) -> Option<Email> {
    let encryption =
        one_of(section, section.text("encryption"), &["starttls", "tls", "none"], Some("starttls"));
    let encryption = match encryption.as_deref() {
        Some("tls") => Encryption::Tls,
        Some("none") => Encryption::None,
        _ => Encryption::StartTls,
    };
    let usual = match encryption {
        Encryption::Tls => 465,
        Encryption::StartTls => 587,
        Encryption::None => 25,
    };
    let mailbox = |text: &str| text.parse::<lettre::message::Mailbox>().is_ok();
    let server = section.required_text("server");
    let port = section.integer("port", 1..=65_535).or(usual) as u16;
    let user = section.text("user").option();
    let password = secret(section, ["password_env", "password_file"], folder);
    if user.is_some() != password.is_some() {
        let why = format!("`user` and `password_env` or `password_file` belong together in {LABEL}");
        section.findings.add(section.span.clone(), why);
    }
    let from = section.required_text("from").check(|text| mailbox(text), "is not a mail address");
    section.require("to");
    let to = section.texts("to");
    for one in to.as_ref().into_iter().flatten().filter(|one| !mailbox(one.get_ref())) {
        section.findings.add(one.span(), format!("`to` in {LABEL}: this is not a mail address"));
    }
    let to = to.check(|list| !list.is_empty(), "names nobody").option();
    Some(Email {
        server: server.option()?,
        port,
        encryption,
        user,
        password,
        from: from.option()?,
        to: to?.into_iter().map(Spanned::into_inner).collect(),
        ca_file,
    })
}

fn sms(section: &Section<'_>, folder: &Path, ca_file: Option<std::path::PathBuf>) -> Option<Sms> {
    let secret_ = secret(section, ["secret_env", "secret_file"], folder);
    let user = section.text("user").option();
    let password = secret(section, ["password_env", "password_file"], folder);
    if user.is_some() != password.is_some() {
        let why = format!("`user` and `password_env` or `password_file` belong together in {LABEL}");
        section.findings.add(section.span.clone(), why);
    }
    let mut templates = Vec::new();
    let url = section.required_text("url");
    let url = template(section, url, Place::Url).filter(|_| true);
    if let Some(template) = &url {
        let filled = template.fill(|_| "x");
        if let Err(why) = web_address(&filled) {
            section.findings.add(section.span.clone(), format!("`url` in {LABEL} {why}"));
        }
    }
    templates.extend(url.clone());
    let method = one_of(section, section.text("method"), &["POST", "GET", "PUT"], Some("POST"));
    let table = section.table("headers", "`headers`");
    let (mut headers, mut body_place) = (Vec::new(), None);
    for key in table.keys() {
        let name: &str = key.get_ref();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            section.findings.add(key.span(), "this is not the name of a header");
        }
        let value = table.text(name);
        if name.eq_ignore_ascii_case("content-type") {
            body_place = value.as_ref().map(|value| Place::of_content_type(value));
        }
        if let Some(template) = template(section, value, Place::Header) {
            headers.push((name.to_owned(), template));
        }
    }
    let body = section.text("body");
    if body.as_ref().is_some() && body_place.is_none() {
        let why =
            format!("`headers` in {LABEL} needs Content-Type, which says how values are escaped in `body`");
        section.findings.add_missing(section.span.clone(), why);
    }
    let body = template(section, body, body_place.unwrap_or(Place::Text));
    templates.extend(headers.iter().map(|(_, value)| value.clone()).chain(body.clone()));
    if templates.iter().any(|template| template.names("secret")) != secret_.is_some() {
        let why = format!(
            "the placeholder {{secret}} and `secret_env` or `secret_file` belong together in {LABEL}"
        );
        section.findings.add(section.span.clone(), why);
    }
    if !templates.is_empty() && !templates.iter().any(|template| template.names("text")) {
        let why =
            format!("`url`, `headers` and `body` of {LABEL} have no {{text}}: the message would be empty");
        section.findings.add(section.span.clone(), why);
    }
    Some(Sms {
        url: url?,
        method: method.unwrap_or_else(|| "POST".to_owned()),
        headers,
        body,
        user,
        password,
        secret: secret_,
        text_max: section.integer("text_max", 20..=TEXT_MAX).or(160) as usize,
        ca_file,
    })
}

/// Parses a template.
fn template(section: &Section<'_>, typed: Typed<'_, String>, place: Place) -> Option<Template> {
    let parsed = typed.as_ref().map(|text| Template::parse(text, place));
    match parsed? {
        Ok(template) => Some(template),
        Err(why) => {
            let name = typed.name.clone();
            let span = typed.at.as_ref().map_or(section.span.clone(), Spanned::span);
            section.findings.add(span, format!("{name}: {why}"));
            None
        }
    }
}

/// Parses the address of a webhook. It may contain a token, so it can come from a variable or a file.
fn address(section: &Section<'_>, folder: &Path) -> Option<Secret> {
    let plain = section
        .text("url")
        .refuse_if(|text| web_address(text).err().map(|why| format!("`url` in {LABEL} {why}")));
    let elsewhere = secret(section, ["url_env", "url_file"], folder);
    match (plain.option(), elsewhere) {
        (Some(_), Some(_)) => {
            let why =
                format!("`url` and `url_env` or `url_file` are both set in {LABEL}: set only one of them");
            section.findings.add(section.span.clone(), why);
            None
        }
        (Some(url), None) => Some(Secret::Plain(url)),
        (None, Some(secret)) => Some(secret),
        (None, None) => {
            if !["url", "url_env", "url_file"].iter().any(|key| section.has(key)) {
                let why = format!("`url` is missing in {LABEL}; or give `url_env` or `url_file`");
                section.findings.add_missing(section.span.clone(), why);
            }
            None
        }
    }
}

/// Parses an HTTP address.
pub(crate) fn web_address(text: &str) -> Result<reqwest::Url, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err("must begin with https:// or http:// and name a host".to_owned()),
        Err(why) => Err(format!("is not an address: {why}")),
    }
}

/// Parses the place of a secret: an environment variable or a file.
fn secret<'a>(section: &Section<'a>, [variable, file]: [&'a str; 2], folder: &Path) -> Option<Secret> {
    let by_variable = section.text(variable).option().map(Secret::Variable);
    let by_file = section.text(file).option().map(|file| Secret::File(folder.join(file)));
    if by_variable.is_some() && by_file.is_some() {
        let why = format!("`{variable}` and `{file}` are both set in {LABEL}: set only one of them");
        section.findings.add(section.span.clone(), why);
    }
    by_variable.or(by_file)
}

/// Parses a text that must be one of `words`.
fn one_of(
    section: &Section<'_>,
    typed: Typed<'_, String>,
    words: &[&str],
    default: Option<&str>,
) -> Option<String> {
    let Some(at) = &typed.at else { return default.map(str::to_owned) };
    if words.contains(&at.get_ref().as_str()) {
        return typed.option();
    }
    let near = nearest(at.get_ref(), words.iter().copied());
    let advice = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    let why = format!("{} is one of {}{advice}", typed.name, words.join(", "));
    section.findings.add(at.span(), why);
    None
}

#[cfg(test)]
mod tests;
