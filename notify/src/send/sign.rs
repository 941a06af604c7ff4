//! Signs webhooks as Standard Webhooks specifies: HMAC-SHA256 of `id.timestamp.body`, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The prefix of a key in base64.
const PREFIX: &str = "whsec_";

/// Decodes the key of a secret: base64 after [`PREFIX`], otherwise its bytes.
pub fn key(secret: &str) -> Result<Vec<u8>, String> {
    match secret.strip_prefix(PREFIX) {
        Some(encoded) => {
            STANDARD.decode(encoded).map_err(|_| format!("what follows {PREFIX} in its secret is not base64"))
        }
        None => Ok(secret.as_bytes().to_vec()),
    }
}

/// Computes the value of the header `webhook-signature`.
pub fn signature(key: &[u8], id: &str, timestamp_s: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(format!("{id}.{timestamp_s}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_without_prefix_is_taken_as_it_is() {
        assert_eq!(key("hush"), Ok(b"hush".to_vec()));
        assert!(key("whsec_!").is_err());
    }
}
