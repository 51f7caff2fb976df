//! What floe's TLS is: 1.3 only, ALPN `floe/1` only, nothing resumed, nothing sent early.
//!
//! One place for both ends. Ciphers: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305; ChaCha20 comes
//! first where the processor has no AES, and then the server insists on its own order. Without
//! early data and resumption every session proves everything anew, and no ticket key must be kept.

use super::verify::{AnyKey, PinVerifier};
use crate::identity::{Identity, KeyPin};
use floe_proto::greeting::ALPN;
use floe_types::{Code, Fault};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use std::sync::{Arc, LazyLock};

/// A server's side of TLS: made once from its identity, used for every connection.
#[derive(Clone, Debug)]
pub struct TlsServer(pub(super) Arc<ServerConfig>);

impl TlsServer {
    /// Builds it.
    ///
    /// # Errors
    /// `Tls`: the certificate does not belong to the key, or the key is of a kind that is not
    /// supported.
    pub fn new(identity: &Identity) -> Result<Self, Fault> {
        let config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            // Whoever wants to shows a key of his own; whether he must is a matter of his ticket.
            .map(|builder| {
                builder.with_client_cert_verifier(Arc::new(AnyKey::new(PROVIDER.clone())))
            })
            .and_then(|builder| {
                builder.with_single_cert(identity.chain().to_vec(), identity.key().clone_key())
            });
        let mut config = config.map_err(|error| {
            Fault::new(
                Code::Tls,
                format!("use the server's identity: {}", super::tls::text(&error)),
            )
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.ignore_client_order = !has_aes();
        Ok(Self(Arc::new(config)))
    }
}

#[cfg(test)]
impl TlsServer {
    /// A server that shows one identity's certificate and signs with another's key.
    pub(super) fn forged(shown: &Identity, signs: &Identity) -> Self {
        let key = PROVIDER.key_provider.load_private_key(signs.key().clone_key()).unwrap();
        let certified = rustls::sign::CertifiedKey::new(shown.chain().to_vec(), key);
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Self(Arc::new(config))
    }
}

/// A client's side of TLS towards the server with that key; `own` is shown to it where it asks.
pub(super) fn client(pin: KeyPin, own: Option<&Identity>) -> Result<Arc<ClientConfig>, Fault> {
    let fail = |error: rustls::Error| Fault::new(Code::Tls, super::tls::text(&error));
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(fail)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinVerifier::new(pin, PROVIDER.clone())));
    let mut config = match own {
        Some(own) => builder
            .with_client_auth_cert(own.chain().to_vec(), own.key().clone_key())
            .map_err(fail)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Tells which key is expected (`KeyPin::server_name`): a server may have two for a while.
    config.enable_sni = true;
    Ok(Arc::new(config))
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let aes_128 = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let aes_256 = cipher_suite::TLS13_AES_256_GCM_SHA384;
    let chacha = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let cipher_suites =
        if has_aes() { vec![aes_128, aes_256, chacha] } else { vec![chacha, aes_128, aes_256] };
    // The hybrid first: what is recorded today stays closed to a quantum computer. It costs a
    // handshake about 0.1 ms and 2 KiB.
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
});

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
