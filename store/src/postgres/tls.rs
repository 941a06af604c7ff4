//! Configures TLS with the parameters of libpq: `sslmode` and the certificates.
//!
//! | sslmode | encrypted | the server's certificate is |
//! |---|---|---|
//! | `disable` | no | not used |
//! | `allow` | if the server requires it | as with `require` |
//! | `prefer` (default) | if the server supports it | as with `require` |
//! | `require` | yes | verified as with `verify-ca` if there is an `sslrootcert`, else accepted |
//! | `verify-ca` | yes | signed by `sslrootcert` |
//! | `verify-full` | yes | signed by `sslrootcert` and issued for the host name |
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>, table 34.1, and the parameters in 34.1.2.
//! Differences: no revocation lists, no encrypted keys, and the common name is never compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::certificates::{CertificateVerifier, certificates, key, of_this_system};

/// libpq's `sslmode`; see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// The settings as given in the address, else in the environment.
#[derive(Debug, Default)]
pub struct TlsSettings {
    /// `sslmode`.
    pub mode: Option<String>,
    /// `sslrootcert`: a file, or `system`.
    pub roots: Option<String>,
    /// `sslcert`: a file.
    pub certificate: Option<String>,
    /// `sslkey`: a file.
    pub key: Option<String>,
    /// The directory of libpq's default files: `root.crt`, `postgresql.crt` and `postgresql.key`.
    pub directory: Option<PathBuf>,
}

/// The TLS configuration of a connection.
#[derive(Clone)]
pub struct Tls {
    pub mode: SslMode,
    /// The trusted authorities, for messages.
    pub roots: String,
    client: Option<MakeRustlsConnect>,
}

impl Tls {
    /// Validates the settings and reads the files that they name.
    ///
    /// # Errors
    ///
    /// Which setting or file is invalid, and what to do.
    pub fn new(settings: &TlsSettings) -> Result<Tls, String> {
        let system = settings.roots.as_deref() == Some("system");
        let mode = match settings.mode.as_deref() {
            None if system => SslMode::VerifyFull,
            None => SslMode::Prefer,
            Some(given) => mode(given)?,
        };
        if mode == SslMode::Disable {
            return Ok(Tls::none());
        }
        let verifies = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
        let default = |name: &str| {
            let file = settings.directory.as_ref().map(|directory| directory.join(name));
            file.filter(|file| file.exists())
        };
        let (trusted, roots) = match (&settings.roots, default("root.crt")) {
            (Some(_), _) if system && mode != SslMode::VerifyFull => {
                return Err(
                    "sslrootcert=system trusts what every public authority signed, for any name: it needs \
                            sslmode=verify-full"
                        .to_owned(),
                );
            }
            (Some(_), _) if system => {
                (of_this_system()?, "the authorities that this machine trusts".to_owned())
            }
            (Some(file), _) => of_file(Path::new(file))?,
            (None, Some(file)) => of_file(&file)?,
            (None, None) if verifies => {
                return Err(
                    "sslmode verifies the server, but no certificate authority is given; name its certificate in \
                            sslrootcert, or use sslrootcert=system with sslmode=verify-full"
                        .to_owned(),
                );
            }
            (None, None) => (Vec::new(), "nobody".to_owned()),
        };
        let own = match (&settings.certificate, &settings.key) {
            (None, Some(_)) => return Err("sslkey is given without sslcert; both belong together".to_owned()),
            (None, None) => default("postgresql.crt").zip(default("postgresql.key")),
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (Some(certificate), None) => match default("postgresql.key") {
                Some(key) => Some((certificate.into(), key)),
                None => return Err("sslcert is given without sslkey; both belong together".to_owned()),
            },
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = CertificateVerifier::new(provider.clone(), trusted, mode == SslMode::VerifyFull);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the suites of TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut client = match own {
            None => builder.with_no_client_auth(),
            Some((file, key_file)) => builder
                .with_client_auth_cert(certificates("sslcert", &file)?, key(&key_file)?)
                .map_err(|error| format!("sslcert {} and sslkey do not match: {error}", file.display()))?,
        };
        // PostgreSQL 17 requires this ALPN name for TLS without a preceding SSLRequest (`sslnegotiation=direct`).
        client.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Tls { mode, roots, client: Some(MakeRustlsConnect::new(client)) })
    }

    /// A configuration without TLS.
    pub fn none() -> Tls {
        Tls { mode: SslMode::Disable, roots: String::new(), client: None }
    }

    /// The connector for encrypted sessions; `None` with [`SslMode::Disable`].
    pub fn connector(&self) -> Option<MakeRustlsConnect> {
        self.client.clone()
    }
}

fn of_file(file: &Path) -> Result<(Vec<rustls::pki_types::CertificateDer<'static>>, String), String> {
    Ok((certificates("sslrootcert", file)?, format!("the certificates in {}", file.display())))
}

fn mode(given: &str) -> Result<SslMode, String> {
    MODES.iter().find(|(name, _)| *name == given).map(|(_, mode)| *mode).ok_or_else(|| {
        let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
        format!("unknown sslmode {}; expected one of {}", given.escape_debug(), names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(mode: Option<&str>, roots: Option<&str>) -> TlsSettings {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        TlsSettings { mode: owned(mode), roots: owned(roots), ..TlsSettings::default() }
    }

    #[test]
    fn prefer_is_the_default_and_without_roots_nobody_vouches() {
        let tls = Tls::new(&settings(None, None)).expect("usable");
        assert_eq!(tls.mode, SslMode::Prefer);
        assert!(tls.connector().is_some());
        assert!(Tls::new(&settings(Some("disable"), None)).expect("usable").connector().is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_do() {
        for (mode, roots, words) in [
            (Some("verify-all"), None, "one of disable, allow, prefer, require, verify-ca, verify-full"),
            (Some("verify-full"), None, "sslrootcert"),
            (Some("verify-ca"), Some("system"), "verify-full"),
            (Some("require"), Some("/nowhere/root.crt"), "/nowhere/root.crt"),
        ] {
            let reason = Tls::new(&settings(mode, roots)).err().expect("refused");
            assert!(reason.contains(words), "{reason}");
        }
        for (certificate, key) in [(Some("a.crt"), None), (None, Some("a.key"))] {
            let own = TlsSettings {
                certificate: certificate.map(str::to_owned),
                key: key.map(str::to_owned),
                ..TlsSettings::default()
            };
            assert!(Tls::new(&own).err().expect("refused").contains("both belong together"));
        }
    }
}
