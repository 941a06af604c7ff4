//! Routes: which incidents a receiver is notified of, and how.

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

/// The severities, the lowest first.
pub const SEVERITIES: [&str; 3] = ["low", "medium", "high"];

/// A route: which incidents it selects, and its receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: String,
    /// Its line in the configuration file, from 1.
    pub line: usize,
    pub wants: Wants,
    pub pace: Pace,
    pub receiver: Receiver,
}

/// Selects incidents; an empty list does not filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wants {
    /// The lowest severity.
    pub severity: String,
    pub zones: Vec<String>,
    pub kinds: Vec<String>,
    pub patterns: Vec<String>,
    pub hours: Option<Hours>,
}

/// The grouping and timing of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a notification waits for others to join its message.
    pub group_wait: Duration,
    /// Maximum number of notifications per message.
    pub group_max: i64,
    /// Interval of reminders of incidents that nobody has acknowledged; `None` for no reminders.
    pub repeat_every: Option<Duration>,
    /// Time limit of a try.
    pub timeout: Duration,
    /// Maximum number of tries per message.
    pub tries_max: i32,
}

/// The receiver of a route.
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

/// The encryption of the connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// TLS after a plain-text greeting; required, not opportunistic.
    StartTls,
    None,
}

/// The HTTP request of an SMS provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Sms {
    pub url: Template,
    pub method: String,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// The value of the placeholder `secret`.
    pub secret: Option<Secret>,
    /// Maximum length of the text, characters.
    pub text_max: usize,
    pub ca_file: Option<PathBuf>,
}

impl Receiver {
    /// Its `kind` in the configuration file.
    pub fn kind(&self) -> &'static str {
        match self {
            Receiver::Webhook { .. } => "webhook",
            Receiver::Chat { .. } => "chat",
            Receiver::Email(_) => "email",
            Receiver::Sms(_) => "sms",
        }
    }

    /// All secrets of the receiver.
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
    /// Whether the route selects an incident at this severity, regardless of its hours.
    pub fn takes(&self, incident: &ShownIncident, severity: &str) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        rank(severity) >= rank(&self.severity)
            && named(&self.zones, &incident.zone)
            && named(&self.kinds, &incident.kind)
            && (self.patterns.is_empty()
                || incident.pattern.as_ref().is_some_and(|pattern| named(&self.patterns, pattern)))
    }

    /// Time until the hours of the route begin, milliseconds; 0 within them.
    pub fn opens_in_ms(&self, now_ms: u64) -> i64 {
        self.hours.as_ref().map_or(0, |hours| hours.opens_in_ms(now_ms))
    }
}

/// A severity as a number.
pub fn rank(severity: &str) -> usize {
    SEVERITIES.iter().position(|one| *one == severity).unwrap_or(0)
}

impl Route {
    /// The selection that the database evaluates.
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

/// Reads the secrets of all routes. `environment` returns the value of a variable.
///
/// # Errors
///
/// Lists every secret that cannot be read, with the line of its route.
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
