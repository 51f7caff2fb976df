//! Who a server is: one key, one certificate, and the pin by which clients know it.
//!
//! How one key follows another is in `identity/keys.rs`.
//!
//! Made at the first start in the state directory, or the operator's own (PEM). Two processes that
//! start first at once end with the same identity. A file that cannot be read is an error and never
//! replaced: clients have pinned its key. The key never leaves its file and this type.

mod signer; // the key, put to use beside TLS
mod keys; // the keys of a server over the years

pub(crate) use keys::BOOK;
pub use keys::{Former, KeyBook, NewKey, Retiring, ServerKeys};
pub use signer::Signer;
pub(crate) use signer::is_signed;

use crate::small_file;
use crate::state::{Privacy, State, show};
use aws_lc_rs::digest::{SHA256, digest};
use floe_types::{Code, Fault};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;
use zeroize::Zeroizing;

/// SHA-256 of a server's public key (SubjectPublicKeyInfo, DER). Shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPin(pub [u8; 32]);

impl KeyPin {
    /// The pin of a certificate's key.
    ///
    /// # Errors
    /// What rustls says of bytes that are no certificate.
    pub(crate) fn of_certificate(der: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let parsed = rustls::server::ParsedCertificate::try_from(der)?;
        Ok(Self::of_public_key(&parsed.subject_public_key_info()))
    }

    /// The pin of a public key (SubjectPublicKeyInfo, DER).
    #[must_use]
    pub fn of_public_key(der: &[u8]) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(pin)
    }

    /// What a client that pins it calls the server in its TLS ClientHello (PROTOCOL.md, server
    /// key): no host has this name.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}{NAME_END}", data_encoding::HEXLOWER.encode(&self.0[..NAME_BYTES]))
    }

    /// Whether a server name stands for a key, whichever.
    pub(crate) fn is_server_name(name: &str) -> bool {
        let digits =
            name.len().checked_sub(NAME_END.len()).and_then(|at| name.split_at_checked(at));
        digits.is_some_and(|(digits, end)| {
            end.eq_ignore_ascii_case(NAME_END)
                && digits.len() == 2 * NAME_BYTES
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    }
}

/// So much of a pin is in a server name.
const NAME_BYTES: usize = 16;
/// Beneath a name that is reserved for what is no host (RFC 6761).
const NAME_END: &str = ".floe.invalid";

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPin({self})")
    }
}

impl FromStr for KeyPin {
    type Err = Fault;

    /// Takes 64 hex digits, either case, with or without colons between.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        data_encoding::HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| Fault::new(Code::Usage, "read a key fingerprint of 64 hex digits"))
    }
}

/// A server's key and certificate.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pin: KeyPin,
}

impl Identity {
    /// The identity of a state directory; makes it (ECDSA P-256, self-signed) at the first call.
    ///
    /// # Errors
    /// `State`: the file cannot be made, is damaged, or others may read it.
    pub fn load_or_create(state: &State) -> Result<Self, Fault> {
        Self::of_file(state, FILE)
    }

    /// The key of a client, in its own state directory: made at the first call, as a server's is.
    /// It proves to servers that this is that client, where somebody wants that.
    ///
    /// # Errors
    /// As `load_or_create`.
    pub fn of_client(state: &State) -> Result<Self, Fault> {
        Self::of_file(state, CLIENT_FILE)
    }

    fn of_file(state: &State, file: &str) -> Result<Self, Fault> {
        if state.read(file, Privacy::Secret)?.is_none() {
            state.create(file, generate()?.as_bytes())?;
        }
        Self::read(state, file)?.ok_or_else(|| state.fault("read", file, "it was removed"))
    }

    /// The identity of a state directory, if it has one.
    fn load(state: &State) -> Result<Option<Self>, Fault> {
        Self::read(state, FILE)
    }

    fn read(state: &State, file: &str) -> Result<Option<Self>, Fault> {
        let Some(pem) = state.read(file, Privacy::Secret)? else { return Ok(None) };
        Self::parse(&pem, &pem).map(Some).map_err(|why| state.fault("read", file, why))
    }

    /// The operator's own: a chain with the server's certificate first, and its key (PKCS#8, SEC1
    /// or PKCS#1), both PEM.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Usage` for what is not PEM. Whether key and certificate
    /// belong together is said by `TlsServer::new`.
    pub fn from_pem(cert: &Path, key: &Path) -> Result<Self, Fault> {
        let (chain, secret) = (read_pem(cert)?, read_pem(key)?);
        Self::parse(&chain, &secret).map_err(|why| {
            let (cert, key) = (show(cert), show(key));
            Fault::new(Code::Usage, format!("read \"{cert}\" and \"{key}\": {why}"))
        })
    }

    /// Reads a chain with the server's certificate first, and its key, both PEM.
    ///
    /// # Errors
    /// What is wrong with them. Nothing of the key is repeated.
    pub fn parse(chain: &[u8], key: &[u8]) -> Result<Self, &'static str> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| "the certificate is not PEM")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is not PEM")?;
        let first = chain.first().ok_or("there is no certificate")?;
        let pin = KeyPin::of_certificate(first).map_err(|_| "the certificate is damaged")?;
        Ok(Self { chain, key, pin })
    }

    /// What clients pin.
    #[must_use]
    pub fn pin(&self) -> KeyPin {
        self.pin
    }

    /// The public key (SubjectPublicKeyInfo, DER), as the certificate has it.
    ///
    /// # Errors
    /// `Tls`: the certificate is damaged; a pin was taken of it before.
    pub(crate) fn public_key(&self) -> Result<Vec<u8>, Fault> {
        let damaged = || Fault::new(Code::Tls, "read the server's certificate");
        let first = self.chain.first().ok_or_else(damaged)?;
        let parsed = rustls::server::ParsedCertificate::try_from(first).or(Err(damaged()))?;
        Ok(parsed.subject_public_key_info().to_vec())
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }
}

#[cfg(test)]
impl Identity {
    /// This certificate with a key that is not its own.
    pub(crate) fn with_key_of(&self, other: &Self) -> Self {
        Self { chain: self.chain.clone(), key: other.key.clone_key(), pin: self.pin }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}

fn generate() -> Result<Zeroizing<String>, Fault> {
    let made = || -> Result<Zeroizing<String>, rcgen::Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::default();
        // Nobody checks the name; without one some tools show nothing.
        params.distinguished_name.push(rcgen::DnType::CommonName, "floe");
        let cert = params.self_signed(&key)?;
        let secret = Zeroizing::new(key.serialize_pem());
        Ok(Zeroizing::new(format!("{}{}", cert.pem(), secret.as_str())))
    };
    made().map_err(|error| Fault::new(Code::Other, format!("make a key: {error}")))
}

fn read_pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let fail = |code, why: &str| Fault::new(code, format!("read \"{}\"{why}", show(path)));
    small_file::read(path, PEM_BYTES_MAX).map(Zeroizing::new).map_err(|error| match error.kind() {
        ErrorKind::NotFound => fail(Code::NotFound, ""),
        ErrorKind::PermissionDenied => fail(Code::PermissionDenied, ""),
        ErrorKind::InvalidData => fail(Code::Usage, ": not a small file"),
        kind => fail(Code::Io, &format!(": {kind}")),
    })
}

pub(crate) const FILE: &str = "identity.pem";
const CLIENT_FILE: &str = "client.pem";
const PEM_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        (dir, state)
    }

    #[test]
    fn is_made_once_by_many_at_once_and_kept() {
        let (_dir, state) = fresh();
        let pins: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..6).map(|_| scope.spawn(|| Identity::load_or_create(&state))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap().pin()).collect()
        });
        assert!(pins.iter().all(|pin| *pin == pins[0]));
        assert_eq!(Identity::load_or_create(&state).unwrap().pin(), pins[0]);
    }

    #[test]
    fn a_client_has_a_key_of_its_own() {
        let (_dir, state) = fresh();
        let pin = Identity::of_client(&state).unwrap().pin();
        assert_ne!(Identity::load_or_create(&state).unwrap().pin(), pin);
        assert_eq!(Identity::of_client(&state).unwrap().pin(), pin);
        let text = state.read(CLIENT_FILE, Privacy::Secret).unwrap();
        assert!(text.is_some(), "nobody else may read it");
    }

    #[test]
    fn pin_is_sha256_of_the_public_key() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let cert = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let pin = KeyPin::of_certificate(cert.der()).unwrap();
        assert_eq!(pin.0, digest(&SHA256, &spki).as_ref());
        assert_eq!(pin.to_string().parse::<KeyPin>().unwrap(), pin);
        assert_eq!(pin.to_string().to_uppercase().parse::<KeyPin>().unwrap(), pin);
        assert!("12".parse::<KeyPin>().is_err());
    }

    #[test]
    fn a_server_name_is_half_a_pin_beneath_a_name_of_no_host() {
        let pin = KeyPin(std::array::from_fn(|nth| nth.to_le_bytes()[0]));
        let name = pin.server_name();
        assert_eq!(name, "000102030405060708090a0b0c0d0e0f.floe.invalid");
        assert!(KeyPin::is_server_name(&name) && KeyPin::is_server_name(&name.to_uppercase()));
        for other in ["", "floe", "example.org", ".floe.invalid", "00.floe.invalid", "é.invalid"] {
            assert!(!KeyPin::is_server_name(other), "{other}");
        }
        assert!(!KeyPin::is_server_name(&format!("z{}", &name[1..])));
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let (_dir, state) = fresh();
        for text in
            ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            state.replace(FILE, text.as_bytes()).unwrap();
            assert_eq!(Identity::load_or_create(&state).unwrap_err().code, Code::State);
            assert_eq!(
                state.read(FILE, Privacy::Secret).unwrap().unwrap().as_slice(),
                text.as_bytes()
            );
        }
    }

    #[test]
    fn takes_the_operators_own_files() {
        let (dir, _state) = fresh();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let cert = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let (cert_path, key_path) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        std::fs::write(&cert_path, cert.pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        let identity = Identity::from_pem(&cert_path, &key_path).unwrap();
        assert_eq!(identity.pin(), KeyPin::of_certificate(cert.der()).unwrap());
        let missing = Identity::from_pem(&dir.path().join("no"), &key_path).unwrap_err();
        assert_eq!(missing.code, Code::NotFound);
        let swapped = Identity::from_pem(&key_path, &cert_path).unwrap_err();
        assert_eq!(swapped.code, Code::Usage);
    }

    #[test]
    fn shows_no_key() {
        let (_dir, state) = fresh();
        let identity = Identity::load_or_create(&state).unwrap();
        let shown = format!("{identity:?}");
        assert!(shown.contains(&identity.pin().to_string()) && shown.len() < 120, "{shown}");
    }
}
