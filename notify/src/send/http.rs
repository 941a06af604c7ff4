//! Sends messages by HTTP: webhooks, chats, SMS.

use std::path::Path;
use std::sync::Arc;

use citytide_store::notifications::Message;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

use super::SenderError;
use super::sign::{key, signature};
use crate::message::{long_text, severity, short_text, webhook_json};
use crate::retry::{Answer, Outcome, of_status};
use crate::routes::{Receiver, Sms};

/// How much of an answer is read, bytes.
const ANSWER_BYTES_MAX: usize = 4_096;
/// How much of an answer is logged and stored, characters.
const REASON_MAX: usize = 200;
/// The `User-Agent`.
const AGENT: &str = concat!("citytide/", env!("CARGO_PKG_VERSION"));

/// A client for one receiver.
pub struct Http {
    client: Client,
    /// The key that signs webhooks.
    key: Option<Vec<u8>>,
}

impl Http {
    /// A client that trusts the certificates of this machine, or those of the receiver's `ca_file`.
    pub fn new(receiver: &Receiver) -> Result<Http, SenderError> {
        let (ca_file, secret) = match receiver {
            Receiver::Webhook { ca_file, secret, .. } => (ca_file, secret.as_ref()),
            Receiver::Chat { ca_file, .. } => (ca_file, None),
            Receiver::Sms(sms) => (&sms.ca_file, None),
            Receiver::Email(_) => unreachable!("mail is sent elsewhere"),
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls(ca_file.as_deref())?)
            .redirect(Policy::none())
            // No keep-alive: surplus bytes after an answer must not be taken for the next answer.
            .pool_max_idle_per_host(0)
            .user_agent(AGENT)
            .build()
            .map_err(SenderError::new)?;
        let key = secret.map(|secret| key(secret.expose())).transpose().map_err(SenderError::new)?;
        Ok(Http { client, key })
    }

    pub async fn send(&self, receiver: &Receiver, message: &Message, now_ms: u64) -> Answer {
        let request = match receiver {
            Receiver::Webhook { url, .. } => {
                let (body, timestamp_s) = (webhook_json(message).to_string(), now_ms / 1000);
                let mut request = self.json(url.expose(), &body);
                request = request.header("webhook-id", &message.message_id);
                request = request.header("webhook-timestamp", timestamp_s.to_string());
                match &self.key {
                    Some(key) => {
                        let signed = signature(key, &message.message_id, timestamp_s, &body);
                        request.header("webhook-signature", signed)
                    }
                    None => request,
                }
            }
            Receiver::Chat { url, .. } => {
                self.json(url.expose(), &json!({"text": long_text(message)}).to_string())
            }
            Receiver::Sms(sms) => self.templated(sms, message),
            Receiver::Email(_) => unreachable!("mail is sent elsewhere"),
        };
        match request.header("idempotency-key", &message.message_id).send().await {
            Ok(response) => answer(response, now_ms).await,
            Err(error) => failed(error),
        }
    }

    fn json(&self, url: &str, body: &str) -> RequestBuilder {
        self.client.post(url).header("content-type", "application/json").body(body.to_owned())
    }

    fn templated(&self, sms: &Sms, message: &Message) -> RequestBuilder {
        let text = short_text(message, sms.text_max);
        let count = message.notifications.len().to_string();
        let first = &message.notifications[0];
        let zone = first.incident.get("zone").and_then(|zone| zone.as_str()).unwrap_or_default();
        let value = |name: &str| match name {
            "text" => text.as_str(),
            "event" => first.event.as_str(),
            "severity" => severity(message),
            "zone" => zone,
            "count" => count.as_str(),
            "id" => message.message_id.as_str(),
            _ => sms.secret.as_ref().map_or("", |secret| secret.expose()),
        };
        let method = Method::from_bytes(sms.method.as_bytes()).unwrap_or(Method::POST);
        let mut request = self.client.request(method, sms.url.fill(value));
        for (name, template) in &sms.headers {
            request = request.header(name, template.fill(value));
        }
        if let Some(user) = &sms.user {
            request = request.basic_auth(user, sms.password.as_ref().map(|password| password.expose()));
        }
        match &sms.body {
            Some(body) => request.body(body.fill(value)),
            None => request,
        }
    }
}

/// Reads the receiver's answer. The reason does not contain the address, which may contain a token.
async fn answer(mut response: Response, now_ms: u64) -> Answer {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let outcome = of_status(status.as_u16(), after, now_ms);
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            // The status decides; an incomplete body does not matter.
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(ANSWER_BYTES_MAX);
    let body = String::from_utf8_lossy(&body);
    let words: Vec<&str> = body.split_whitespace().collect();
    let words: String = words.join(" ").chars().filter(|one| !one.is_control()).take(REASON_MAX).collect();
    let reason = match (status.as_u16(), words.is_empty()) {
        (300..=399, _) => format!("{status}; redirects are not followed: set `url` to the new address"),
        (_, true) => status.to_string(),
        _ => format!("{status}: {words}"),
    };
    Answer { outcome, reason }
}

/// Classifies an error without an answer: an invalid request stays invalid; all other errors are retried.
fn failed(error: reqwest::Error) -> Answer {
    let outcome = if error.is_builder() { Outcome::Rejected } else { Outcome::Retry { not_before: None } };
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !reason.contains(&words) {
            reason += &format!(": {words}");
        }
        cause = deeper.source();
    }
    Answer { outcome, reason: reason.chars().take(REASON_MAX).collect() }
}

/// The TLS configuration, with the crypto provider of the whole program.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, SenderError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let wrong = |why: &dyn std::fmt::Display| {
                SenderError::new(format!("cannot read certificates from {}: {why}", path.display()))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|why| wrong(&why))? {
                let added = roots.add(certificate.map_err(|why| wrong(&why))?);
                added.map_err(|why| wrong(&why))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(SenderError::new)?.with_root_certificates(roots).with_no_client_auth())
}
