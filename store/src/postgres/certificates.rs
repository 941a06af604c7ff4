//! Reads certificates and keys from files, and verifies the server's certificate.
//!
//! 1. Without trusted certificates every server is accepted (libpq's `require`): the connection is only encrypted.
//! 2. With trusted certificates, the server's certificate must be one of them or have a chain to one of them. As for
//!    OpenSSL, a self-signed certificate is its own authority.
//! 3. The host name is compared only if requested, and only with subject alternative names.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Reads the certificates in a PEM file, at least one. `setting` is the parameter that names the file, for messages.
///
/// # Errors
///
/// When the file cannot be read, or holds no certificate.
pub fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(format!("{setting} {shown} holds no certificate in PEM form")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("cannot read {setting} {shown}: {error}")),
    }
}

/// Reads the private key in a PEM file.
///
/// # Errors
///
/// When other users may read the file, or it holds no key without a password.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    super::password::refuse_open_to_others(path).map_err(|reason| format!("sslkey: {reason}"))?;
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        format!(
            "cannot read sslkey {}: {error}; expected a private key in PEM form, without a password",
            path.display()
        )
    })
}

/// Reads the certificates of the authorities that this machine trusts.
///
/// # Errors
///
/// When there are none.
pub fn of_this_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(
            "sslrootcert=system: this machine has no certificates of authorities; install ca-certificates, \
                    or name a file"
                .to_owned(),
        );
    }
    Ok(found.certs)
}

/// Verifies a server's certificate, as the module describes.
#[derive(Debug)]
pub struct CertificateVerifier {
    provider: Arc<CryptoProvider>,
    trusted: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    compare_name: bool,
}

impl CertificateVerifier {
    /// A verifier that accepts certificates signed by `trusted`; every certificate when `trusted` is empty.
    pub fn new(
        provider: Arc<CryptoProvider>,
        trusted: Vec<CertificateDer<'static>>,
        compare_name: bool,
    ) -> CertificateVerifier {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        CertificateVerifier { provider, trusted, roots, compare_name }
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trusted.is_empty() {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.trusted.iter().any(|trusted| trusted == end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.compare_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
