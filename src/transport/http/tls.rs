//! Whom to trust over TLS, and who we are: the rustls configuration of one endpoint.
//!
//! Nothing is read from the system until a server shows a certificate: for `http://` that is never, and
//! for `https://` one bundle file is enough nearly always. The rest of what the system offers is read
//! only where that file does not know the issuer (reading everything costs more than a whole call).

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

use super::client::Versions;
use crate::error::{Class, Failure, Result};
use crate::transport::Tls;

/// TLS sessions that are kept for the next connection to the same host.
const SESSIONS: usize = 8;
/// A bundle of trusted authorities (PEM), in place of the system's.
const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// Directories of trusted authorities; read besides [`SSL_CERT_FILE`] where that does not know an issuer.
const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// Where Unix systems keep all their authorities in one file; the first that is there counts.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Builds the configuration for these versions of HTTP.
///
/// # Errors
/// [`Class::Config`], naming the file, where one of the user's PEM files cannot be used.
pub(super) fn config(tls: &Tls, versions: Versions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let extra = match &tls.cacert {
        Some(path) => certificates(path, "certificate authorities")?,
        None => Vec::new(),
    };
    let verifier: Arc<dyn ServerCertVerifier> = if tls.insecure {
        Arc::new(NoCheck(provider.clone()))
    } else {
        Arc::new(Trust { provider: provider.clone(), extra, first: OnceLock::new(), all: OnceLock::new() })
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Class::Bug, "cannot set up TLS").source(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert), key) => {
            let key_path = key.as_ref().unwrap_or(cert);
            let chain = certificates(cert, "client certificate")?;
            let key = private_key(key_path)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let what = format!("the client certificate '{}' cannot be used", cert.display());
                Failure::new(Class::Config, what)
                    .source(&error)
                    .hint(format!("check that the key in '{}' belongs to it", key_path.display()))
            })?
        }
        (None, Some(key)) => {
            let what = format!("the key '{}' has no client certificate", key.display());
            return Err(Failure::new(Class::Config, what).hint("name the certificate too, with --cert FILE"));
        }
        (None, None) => builder.with_no_client_auth(),
    };
    // A run talks to a handful of hosts; the usual room for hundreds would be touched by every start.
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config.alpn_protocols = match versions {
        Versions::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Versions::One => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error: pem::Error| unusable(path, what, &error))?;
    if all.is_empty() {
        return Err(unusable(path, what, &pem::Error::NoItemsFound));
    }
    // A bundle may hold an odd one, but a file of nothing else would show only as a failed handshake.
    match all.iter().map(ParsedCertificate::try_from).find_map(Result::err) {
        Some(error) if !all.iter().any(|der| ParsedCertificate::try_from(der).is_ok()) => {
            Err(unusable(path, what, &error))
        }
        _ => Ok(all),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let failure = unusable(path, "client key", &error);
        match error {
            pem::Error::NoItemsFound => {
                failure.hint("it must hold an unencrypted PRIVATE KEY section (openssl pkey -in FILE -out NEW)")
            }
            _ => failure,
        }
    })
}

fn unusable(path: &Path, what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let failure = Failure::new(Class::Config, format!("cannot read the {what} in '{}'", path.display()));
    match error.downcast_ref::<pem::Error>() {
        Some(pem::Error::NoItemsFound) => failure.cause("the file has no such PEM section"),
        Some(pem::Error::Io(error)) => failure.source(error),
        _ => failure.source(error),
    }
}

/// The authorities that came with the system, read once in a process.
struct System {
    certificates: Vec<CertificateDer<'static>>,
    /// Why some or all could not be read.
    problem: Option<String>,
}

static FIRST: OnceLock<System> = OnceLock::new();
static ALL: OnceLock<System> = OnceLock::new();

/// Why the system's authorities could not be read, where that has been seen.
pub(super) fn problem() -> Option<&'static str> {
    let of = |cell: &'static OnceLock<System>| cell.get().and_then(|system| system.problem.as_deref());
    of(&FIRST).or_else(|| of(&ALL))
}

fn read_first() -> System {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match first_file(set, Path::exists) {
        Some(path) => System::from(rustls_native_certs::load_certs_from_paths(Some(&path), None)),
        None => System::from(rustls_native_certs::load_native_certs()),
    }
}

/// The one file that holds all authorities, where the system has such a thing and nobody chose otherwise.
fn first_file(set: impl Fn(&str) -> Option<OsString>, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if let Some(file) = set(SSL_CERT_FILE) {
        return Some(file.into());
    }
    if set(SSL_CERT_DIR).is_some() || cfg!(any(windows, target_os = "macos")) {
        return None;
    }
    BUNDLES.iter().map(PathBuf::from).find(|path| exists(path))
}

impl From<rustls_native_certs::CertificateResult> for System {
    fn from(result: rustls_native_certs::CertificateResult) -> Self {
        System { certificates: result.certs, problem: result.errors.first().map(ToString::to_string) }
    }
}

/// Trusts the system's authorities and those that the user named.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    first: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    all: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Trust {
    /// `None` where there is nobody to trust.
    fn verifier(&self, system: &System) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.extra.iter().cloned());
        roots.add_parsable_certificates(system.certificates.iter().cloned());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build().ok()
    }

    fn check(
        &self,
        verifier: Option<&Arc<WebPkiServerVerifier>>,
        shown: &Shown<'_>,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match verifier {
            Some(verifier) => {
                verifier.verify_server_cert(shown.certificate, shown.chain, shown.name, shown.ocsp, shown.now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

/// What the server showed.
struct Shown<'a> {
    certificate: &'a CertificateDer<'a>,
    chain: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

fn is_unknown(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.extra.iter().any(|trusted| trusted == certificate) {
            // A self-signed server certificate, named by the user: there is no issuer to look for.
            rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let shown = Shown { certificate, chain, name, ocsp, now };
        let first = self.first.get_or_init(|| self.verifier(FIRST.get_or_init(read_first)));
        match self.check(first.as_ref(), &shown) {
            Err(error) if is_unknown(&error) => {
                let read = || System::from(rustls_native_certs::load_native_certs());
                let all = self.all.get_or_init(|| self.verifier(ALL.get_or_init(read)));
                self.check(all.as_ref(), &shown)
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

/// Checks nothing, as `--insecure` says.
#[derive(Debug)]
struct NoCheck(Arc<CryptoProvider>);

impl ServerCertVerifier for NoCheck {
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
    fn one_file_is_enough_where_there_is_one() {
        let find = |variables: &[(&str, &str)], there: &str| {
            let set = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            first_file(set, |path| path == Path::new(there))
        };
        assert_eq!(find(&[(SSL_CERT_FILE, "/a"), (SSL_CERT_DIR, "/b")], ""), Some("/a".into()));
        assert_eq!(find(&[(SSL_CERT_DIR, "/b")], BUNDLES[0]), None);
        if cfg!(target_os = "linux") {
            assert_eq!(find(&[], BUNDLES[4]), Some(BUNDLES[4].into()));
        }
        assert_eq!(find(&[], "/nowhere"), None);
    }

    #[test]
    fn offers_the_versions_that_may_be_spoken() -> Result<()> {
        let offered = |versions| config(&Tls::default(), versions).map(|config| config.alpn_protocols);
        assert_eq!(offered(Versions::Any)?, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(offered(Versions::One)?, [b"http/1.1".to_vec()]);
        Ok(())
    }
}
