//! The rustls configuration of one endpoint: which certificates to trust and to present.
//!
//! System certificates are not read before a server presents one: never for `http://`. For `https://`, one bundle file
//! is nearly always enough; all other sources are read only if it does not contain the issuer, since reading all of
//! them takes longer than a whole call.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{ErrorKind, Failure, Result};
use crate::transport::endpoint::TlsOptions;
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::home::shown_path;

/// How many TLS sessions are kept for the next connection to the same host.
const MAX_TLS_SESSIONS: usize = 8;
/// A file of trusted certificate authorities (PEM) that replaces the system's.
const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// Directories of trusted certificate authorities; read too if [`SSL_CERT_FILE`] does not contain an issuer.
const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// Where Unix systems store all their certificate authorities in one file; the first that exists is used.
const CA_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Which versions of HTTP may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersions {
    /// HTTP/2 if both sides support it, otherwise HTTP/1.1.
    Any,
    /// HTTP/1.1 only, since HTTP/2 connections cannot be upgraded (RFC 9113 §8.6).
    Http1Only,
}

/// Builds the configuration for these versions of HTTP.
///
/// # Errors
/// [`ErrorKind::Config`], with the file's name, if one of the user's PEM files cannot be used.
pub(super) fn client_config(tls: &TlsOptions, versions: HttpVersions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let extra = match &tls.cacert {
        Some(path) => read_certificates(path, "certificate authorities")?,
        None => Vec::new(),
    };
    let verifier: Arc<dyn ServerCertVerifier> = if tls.insecure {
        Arc::new(InsecureVerifier(provider.clone()))
    } else {
        Arc::new(LazyRootVerifier {
            provider: provider.clone(),
            user_roots: extra,
            bundle_verifier: OnceLock::new(),
            full_verifier: OnceLock::new(),
        })
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(ErrorKind::Bug, "cannot set up TLS").caused_by(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert), key) => {
            let key_path = key.as_ref().unwrap_or(cert);
            let chain = read_certificates(cert, "client certificate")?;
            let key = read_private_key(key_path)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let what = format!("cannot use the client certificate '{}'", shown_path(cert));
                Failure::new(ErrorKind::Config, what)
                    .caused_by(&error)
                    .hint(format!("check that '{}' contains its private key", shown_path(key_path)))
            })?
        }
        (None, Some(key)) => {
            let what = format!("no client certificate for the key '{}'", shown_path(key));
            return Err(Failure::new(ErrorKind::Config, what).hint("also pass the certificate, with --cert FILE"));
        }
        (None, None) => builder.with_no_client_auth(),
    };
    // One run connects to few hosts. The default cache, for 256, would be allocated on every start.
    config.resumption = Resumption::in_memory_sessions(MAX_TLS_SESSIONS);
    config.alpn_protocols = match versions {
        HttpVersions::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersions::Http1Only => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

fn read_certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<CertificateDer<'static>> = read_pem(path)
        .and_then(|pem| CertificateDer::pem_slice_iter(&pem).collect())
        .map_err(|error: pem::Error| unreadable_pem(path, what, &error))?;
    if all.is_empty() {
        return Err(unreadable_pem(path, what, &pem::Error::NoItemsFound));
    }
    // A bundle may contain some that rustls cannot parse. If all are like that, every handshake would fail.
    match all.iter().map(ParsedCertificate::try_from).find_map(Result::err) {
        Some(error) if !all.iter().any(|der| ParsedCertificate::try_from(der).is_ok()) => {
            Err(unreadable_pem(path, what, &error))
        }
        _ => Ok(all),
    }
}

fn read_pem(path: &Path) -> Result<Vec<u8>, pem::Error> {
    bounded_read::read(path, MAX_FILE).map_err(pem::Error::Io)
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    read_pem(path).and_then(|pem| PrivateKeyDer::from_pem_slice(&pem)).map_err(|error| {
        let failure = unreadable_pem(path, "client key", &error);
        match error {
            pem::Error::NoItemsFound => failure
                .hint("the file must contain an unencrypted PRIVATE KEY section (openssl pkey -in FILE -out NEW)"),
            _ => failure,
        }
    })
}

fn unreadable_pem(path: &Path, what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let failure = Failure::new(ErrorKind::Config, format!("cannot read the {what} in '{}'", shown_path(path)));
    match error.downcast_ref::<pem::Error>() {
        Some(pem::Error::NoItemsFound) => failure.cause("the file has no such PEM section"),
        Some(pem::Error::Io(error)) => failure.caused_by(error),
        _ => failure.caused_by(error),
    }
}

/// The authorities that came with the system, read once in a process.
struct SystemRoots {
    certificates: Vec<CertificateDer<'static>>,
    /// Why some or all could not be read.
    read_error: Option<String>,
}

static BUNDLE_ROOTS: OnceLock<SystemRoots> = OnceLock::new();
static ALL_ROOTS: OnceLock<SystemRoots> = OnceLock::new();

/// Why the system's authorities could not be read, where that has been seen.
pub(super) fn system_roots_read_error() -> Option<&'static str> {
    let of = |cell: &'static OnceLock<SystemRoots>| cell.get().and_then(|system| system.read_error.as_deref());
    of(&BUNDLE_ROOTS).or_else(|| of(&ALL_ROOTS))
}

fn read_bundle_roots() -> SystemRoots {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match find_ca_bundle(set, Path::exists) {
        Some(path) => SystemRoots::from(rustls_native_certs::load_certs_from_paths(Some(&path), None)),
        None => SystemRoots::from(rustls_native_certs::load_native_certs()),
    }
}

/// The file with all certificate authorities, if the system has one and the user did not choose another.
fn find_ca_bundle(set: impl Fn(&str) -> Option<OsString>, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if let Some(file) = set(SSL_CERT_FILE) {
        return Some(file.into());
    }
    if set(SSL_CERT_DIR).is_some() || cfg!(any(windows, target_os = "macos")) {
        return None;
    }
    CA_BUNDLES.iter().map(PathBuf::from).find(|path| exists(path))
}

impl From<rustls_native_certs::CertificateResult> for SystemRoots {
    fn from(result: rustls_native_certs::CertificateResult) -> Self {
        SystemRoots { certificates: result.certs, read_error: result.errors.first().map(ToString::to_string) }
    }
}

/// Trusts the system's certificate authorities and those that the user named.
#[derive(Debug)]
struct LazyRootVerifier {
    provider: Arc<CryptoProvider>,
    user_roots: Vec<CertificateDer<'static>>,
    bundle_verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    full_verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl LazyRootVerifier {
    /// `None` if there is no certificate authority to trust.
    fn build_verifier(&self, system: &SystemRoots) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.user_roots.iter().cloned());
        roots.add_parsable_certificates(system.certificates.iter().cloned());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build().ok()
    }

    fn verify_with(
        &self,
        verifier: Option<&Arc<WebPkiServerVerifier>>,
        shown: &PresentedCertificate<'_>,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match verifier {
            Some(verifier) => {
                verifier.verify_server_cert(shown.certificate, shown.chain, shown.name, shown.ocsp, shown.now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

/// What the server presented.
struct PresentedCertificate<'a> {
    certificate: &'a CertificateDer<'a>,
    chain: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

impl ServerCertVerifier for LazyRootVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.user_roots.iter().any(|trusted| trusted == certificate) {
            // A server certificate that the user named itself, such as a self-signed one: the issuer does not matter.
            rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let shown = PresentedCertificate { certificate, chain, name, ocsp, now };
        let first =
            self.bundle_verifier.get_or_init(|| self.build_verifier(BUNDLE_ROOTS.get_or_init(read_bundle_roots)));
        match self.verify_with(first.as_ref(), &shown) {
            Err(error) if is_unknown_issuer(&error) => {
                let read = || SystemRoots::from(rustls_native_certs::load_native_certs());
                let all = self.full_verifier.get_or_init(|| self.build_verifier(ALL_ROOTS.get_or_init(read)));
                self.verify_with(all.as_ref(), &shown)
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts every certificate (`--insecure`).
#[derive(Debug)]
struct InsecureVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for InsecureVerifier {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_bundle_is_chosen_by_variables_then_by_existence() {
        let find = |variables: &[(&str, &str)], there: &str| {
            let set = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            find_ca_bundle(set, |path| path == Path::new(there))
        };
        assert_eq!(find(&[(SSL_CERT_FILE, "/a"), (SSL_CERT_DIR, "/b")], ""), Some("/a".into()));
        assert_eq!(find(&[(SSL_CERT_DIR, "/b")], CA_BUNDLES[0]), None);
        if cfg!(target_os = "linux") {
            assert_eq!(find(&[], CA_BUNDLES[4]), Some(CA_BUNDLES[4].into()));
        }
        assert_eq!(find(&[], "/nowhere"), None);
    }

    #[test]
    fn alpn_offers_the_allowed_http_versions() -> Result<()> {
        let offered = |versions| client_config(&TlsOptions::default(), versions).map(|config| config.alpn_protocols);
        assert_eq!(offered(HttpVersions::Any)?, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(offered(HttpVersions::Http1Only)?, [b"http/1.1".to_vec()]);
        Ok(())
    }
}
