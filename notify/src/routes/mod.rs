//! Routes: which incidents are told to whom, and how.

mod hours;
mod parse;
mod secret;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use citytide_store::incidents::shown::ShownIncident;
use citytide_store::notifications::Candidates;

pub use hours::Hours;
pub use parse::{SECTION, check, parse};
pub use secret::{Secret, SecretError};
pub use template::{Place, Template};

/// The severities, the least first.
pub const SEVERITIES: [&str; 3] = ["low", "medium", "high"];

/// A route: what it wants to hear, and where it leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: String,
    /// Where it stands in the file, a line from 1.
    pub line: usize,
    pub wants: Wants,
    pub pace: Pace,
    pub receiver: Receiver,
}

/// What a route wants to hear; what is empty restricts nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wants {
    /// The least severity.
    pub severity: String,
    pub zones: Vec<String>,
    pub kinds: Vec<String>,
    pub patterns: Vec<String>,
    pub hours: Option<Hours>,
}

/// How it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a notification waits for others that go with it.
    pub group_wait: Duration,
    /// Notifications of a message at most.
    pub group_max: i64,
    /// After how long an incident is told again that nobody has seen; `None` for never.
    pub repeat_every: Option<Duration>,
    /// How long a try may take.
    pub timeout: Duration,
    /// How often a message is tried.
    pub tries_max: i32,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Receiver {
    /// JSON by POST, signed when there is a secret.
    Webhook {
        url: Secret,
        secret: Option<Secret>,
        ca_file: Option<PathBuf>,
    },
    /// `{"text": …}` by POST.
    Chat {
        url: Secret,
        ca_file: Option<PathBuf>,
    },
    Email(Box<Email>),
    Sms(Box<Sms>),
}

/// Mail by SMTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    pub server: String,
    pub port: u16,
    pub encryption: Encryption,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub from: String,
    pub to: Vec<String>,
    pub ca_file: Option<PathBuf>,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// TLS after a greeting in clear; nothing is sent without.
    StartTls,
    None,
}

/// An HTTP request of any provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Sms {
    pub url: Template,
    pub method: String,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// What the placeholder `secret` stands for.
    pub secret: Option<Secret>,
    /// Characters of the text at most.
    pub text_max: usize,
    pub ca_file: Option<PathBuf>,
}

impl Receiver {
    /// The word for it in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Receiver::Webhook { .. } => "webhook",
            Receiver::Chat { .. } => "chat",
            Receiver::Email(_) => "email",
            Receiver::Sms(_) => "sms",
        }
    }

    /// All secrets that it needs.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Receiver::Webhook { url, secret, .. } => [url].into_iter().chain(secret).collect(),
            Receiver::Chat { url, .. } => vec![url],
            Receiver::Email(email) => email.password.iter().collect(),
            Receiver::Sms(sms) => sms.password.iter().chain(&sms.secret).collect(),
        }
    }
}

impl Wants {
    /// Whether an incident of this severity is one for this route, whatever the hour.
    pub fn takes(&self, incident: &ShownIncident, severity: &str) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        rank(severity) >= rank(&self.severity)
            && named(&self.zones, &incident.zone)
            && named(&self.kinds, &incident.kind)
            && (self.patterns.is_empty()
                || incident.pattern.as_ref().is_some_and(|pattern| named(&self.patterns, pattern)))
    }

    /// How long it is until this route may be told something, milliseconds; 0 for now.
    pub fn opens_in_ms(&self, now_ms: u64) -> i64 {
        self.hours.as_ref().map_or(0, |hours| hours.opens_in_ms(now_ms))
    }
}

/// A severity as a number.
pub fn rank(severity: &str) -> usize {
    SEVERITIES.iter().position(|one| *one == severity).unwrap_or(0)
}

impl Route {
    /// What the database is asked for it.
    pub fn candidates(&self) -> Candidates {
        let Wants { severity, zones, kinds, .. } = &self.wants;
        Candidates {
            route: self.name.clone(),
            severity: severity.clone(),
            zones: zones.clone(),
            kinds: kinds.clone(),
            repeat_every_ms: self
                .pace
                .repeat_every
                .map(|every| i64::try_from(every.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// Reads the secrets of some routes; `environment` is asked for variables.
///
/// # Errors
///
/// Every secret that cannot be read, with the line of its route.
pub fn read_secrets(
    routes: &mut [Route],
    file: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let mut known: BTreeMap<Secret, Secret> = BTreeMap::new();
    let mut wrong = Vec::new();
    for route in routes.iter() {
        for secret in route.receiver.secrets() {
            match secret.read(environment) {
                Ok(read) => drop(known.insert(secret.clone(), read)),
                Err(error) => {
                    wrong.push(format!("error: {file}:{}: route {}: {error}", route.line, route.name))
                }
            }
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let read = |secret: &mut Secret| *secret = known[secret].clone();
    for route in routes {
        match &mut route.receiver {
            Receiver::Webhook { url, secret, .. } => {
                read(url);
                secret.as_mut().map(read);
            }
            Receiver::Chat { url, .. } => read(url),
            Receiver::Email(email) => drop(email.password.as_mut().map(read)),
            Receiver::Sms(sms) => {
                sms.password.as_mut().map(read);
                sms.secret.as_mut().map(read);
            }
        }
    }
    Ok(())
}
