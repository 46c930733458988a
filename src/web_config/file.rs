//! What the web configuration says, checked as far as it can be without the files that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bcrypt::HashParts;
use hyper::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::config::{ConfigError, go_duration, read_regular};

use super::errors::FileErrors;

/// No file of a web configuration is longer: a bundle of all public authorities has a quarter of a MiB. Unit: bytes.
pub(super) const FILE_MAX: u64 = 4 << 20;

/// The headers that the file may add, with the values that they may have; empty: any.
///
/// The list is exporter-toolkit's; it is closed on purpose, so that the file means the same for each exporter.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The costs that bcrypt knows.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// The document as it is written. A section that is left empty is one that is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tls_server_config: Option<Spanned<TlsSection>>,
    http_server_config: Option<HttpSection>,
    basic_auth_users: Option<BTreeMap<String, Spanned<Option<SecretText>>>>,
    rate_limit: Option<RateLimitSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    cert: Option<Spanned<SecretText>>,
    key: Option<Spanned<SecretText>>,
    client_ca: Option<Spanned<SecretText>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    client_ca_file: Option<Spanned<PathBuf>>,
    client_auth_type: Option<ClientAuth>,
    client_allowed_sans: Option<Spanned<Vec<String>>>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    cipher_suites: Option<Vec<Spanned<String>>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Option<Vec<Curve>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSection {
    /// Has no effect: HTTP/1.1 is all that is served.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<BTreeMap<String, Spanned<Option<String>>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimitSection {
    interval: Option<Spanned<String>>,
    burst: Option<Spanned<i64>>,
}

/// A key or a hash: wiped on drop, and never printed.
#[derive(Debug)]
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

/// `client_auth_type`, Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    /// As if the key were left out.
    #[serde(rename = "")]
    Unset,
    NoClientCert,
    /// Asks for a certificate that nobody looks at, so none is asked for.
    RequestClientCert,
    /// Needed, but not verified. The alias is an old name that exporter-toolkit still takes.
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// Those that rustls has, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum TlsVersion {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Those that rustls has.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Curve {
    X25519,
    CurveP256,
    CurveP384,
}

/// What the file says; nothing that it names has been read.
#[derive(Debug)]
pub(super) struct WebConfigFile {
    /// `None`: plain HTTP.
    pub(super) tls: Option<Tls>,
    pub(super) rules: Rules,
    /// `None`: no limit.
    pub(super) rate_limit: Option<RateLimit>,
    /// No key at all: an empty file, or one of comments.
    pub(super) is_empty: bool,
}

/// What counts for each request.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Added to each answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// User → bcrypt hash; empty: everybody may read.
    pub(crate) users: BTreeMap<String, SecretString>,
}

/// One token per `interval`, and at most `burst` of them saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub(crate) interval: Duration,
    pub(crate) burst: u32,
}

/// A PEM document, and where the configuration names or holds it.
#[derive(Debug)]
pub(super) struct Pem {
    pub(super) source: PemSource,
    pub(super) location: Location,
}

#[derive(Debug)]
pub(super) enum PemSource {
    File(PathBuf),
    /// In the configuration itself.
    Inline(SecretString),
}

/// `tls_server_config`.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
    pub(super) client_ca: Option<Pem>,
    pub(super) client_auth: ClientAuth,
    /// `None`: any name.
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: TlsVersion,
    pub(super) max_version: TlsVersion,
    /// Empty: the default ones.
    pub(super) cipher_suites: Vec<Spanned<String>>,
    pub(super) prefer_server_cipher_suites: bool,
    /// Empty: the default ones.
    pub(super) curve_preferences: Vec<Curve>,
}

impl WebConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let (bytes, _) = read_regular(path, FILE_MAX).map_err(|error| {
            let path = path.display();
            ConfigError(format!(
                "the web configuration {path} can't be read: {error}"
            ))
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let valid = &bytes[..error.valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            let path = path.display();
            ConfigError(format!(
                "{path}, line {line}: this is not UTF-8; save the file as UTF-8"
            ))
        })?;
        Self::parse(text, path)
    }

    /// Reads the text of the file at `path`; relative paths in it are relative to its folder.
    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let errors = FileErrors(path);
        let options = serde_saphyr::options! {
            // A snippet would show the lines around the error, and with them hashes and keys.
            with_snippet: false,
        };
        let document: Option<Document> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| errors.yaml(text, &error))?;
        let is_empty = document.is_none();
        let document = document.unwrap_or_default();
        let tls = match document.tls_server_config {
            Some(section) => tls(section, errors)?,
            None => None,
        };
        let http = document.http_server_config.unwrap_or_default();
        Ok(Self {
            tls,
            rules: Rules {
                headers: headers(http.headers.unwrap_or_default(), errors)?,
                users: users(document.basic_auth_users.unwrap_or_default(), errors)?,
            },
            rate_limit: rate_limit(document.rate_limit.unwrap_or_default(), errors)?,
            is_empty,
        })
    }
}

fn tls(section: Spanned<TlsSection>, errors: FileErrors<'_>) -> Result<Option<Tls>, ConfigError> {
    let here = section.referenced;
    let section = section.value;
    let folder = errors.0.parent().unwrap_or(Path::new(""));
    let certificate = pem(section.cert_file, section.cert, folder);
    let key = pem(section.key_file, section.key, folder);
    let client_ca = pem(section.client_ca_file, section.client_ca, folder);
    let client_auth = section.client_auth_type.unwrap_or(ClientAuth::Unset);
    let is_on = certificate.is_some()
        || key.is_some()
        || client_ca.is_some()
        || client_auth != ClientAuth::Unset;
    if !is_on {
        return Ok(None);
    }
    let missing = |what: &str| {
        let text = format!("tls_server_config has no {what}; add one, or remove the section");
        errors.at(here, &text)
    };
    let certificate = certificate.ok_or_else(|| missing("cert_file (or cert)"))?;
    let key = key.ok_or_else(|| missing("key_file (or key)"))?;

    let asks_nobody = matches!(client_auth, ClientAuth::Unset | ClientAuth::NoClientCert);
    if asks_nobody && let Some(pem) = &client_ca {
        let text = "a client CA is given, but no client_auth_type that asks for a certificate; set it to \
                    RequireAndVerifyClientCert";
        return Err(errors.at(pem.location, text));
    }
    let needs_certificate = matches!(
        client_auth,
        ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert
    );
    if !needs_certificate && let Some(sans) = &section.client_allowed_sans {
        let text = "client_allowed_sans needs a client_auth_type that no client can escape by showing no certificate; \
                    set it to RequireAndVerifyClientCert";
        return Err(errors.at(sans.referenced, text));
    }
    let min_version = section.min_version.unwrap_or(TlsVersion::Tls12);
    let max_version = section.max_version.unwrap_or(TlsVersion::Tls13);
    if min_version > max_version {
        let text = "max_version is below min_version; nobody could connect";
        return Err(errors.at(here, text));
    }
    Ok(Some(Tls {
        certificate,
        key,
        client_ca,
        client_auth,
        client_allowed_sans: section.client_allowed_sans.map(|sans| sans.value),
        min_version,
        max_version,
        cipher_suites: section.cipher_suites.unwrap_or_default(),
        prefer_server_cipher_suites: section.prefer_server_cipher_suites.unwrap_or(true),
        curve_preferences: section.curve_preferences.unwrap_or_default(),
    }))
}

/// As in exporter-toolkit: the file counts where both are given, and what is empty isn't given.
fn pem(
    file: Option<Spanned<PathBuf>>,
    inline: Option<Spanned<SecretText>>,
    folder: &Path,
) -> Option<Pem> {
    if let Some(path) = file.filter(|path| !path.value.as_os_str().is_empty()) {
        return Some(Pem {
            source: PemSource::File(folder.join(path.value)),
            location: path.referenced,
        });
    }
    let text = inline.filter(|text| !text.value.0.expose_secret().is_empty())?;
    Some(Pem {
        location: text.referenced,
        source: PemSource::Inline(text.value.0),
    })
}

fn headers(
    written: BTreeMap<String, Spanned<Option<String>>>,
    errors: FileErrors<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let mut headers = Vec::with_capacity(written.len());
    for (name, value) in written {
        let location = value.referenced;
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = HEADERS.iter().map(|(known, _)| *known).collect();
            let text = format!(
                "the header {name:?} can't be configured; remove it; allowed are {}",
                known.join(", ")
            );
            return Err(errors.at(location, &text));
        };
        let value = value.value.unwrap_or_default();
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            let text = format!("{name} can't be {value:?}; use {}", allowed.join(" or "));
            return Err(errors.at(location, &text));
        }
        if value.is_empty() {
            // "Unset if blank", says exporter-toolkit's description.
            continue;
        }
        let value = HeaderValue::from_str(&value).map_err(|_| {
            let text = format!("{name} holds a character that a header can't carry; remove it");
            errors.at(location, &text)
        })?;
        let name = HeaderName::from_str(&name).expect("the allowed names are header names");
        headers.push((name, value));
    }
    Ok(headers)
}

fn users(
    written: BTreeMap<String, Spanned<Option<SecretText>>>,
    errors: FileErrors<'_>,
) -> Result<BTreeMap<String, SecretString>, ConfigError> {
    let mut users = BTreeMap::new();
    for (user, hash) in written {
        let location = hash.referenced;
        let hash = hash.value.map(|hash| hash.0).unwrap_or_default();
        let is_good = HashParts::from_str(hash.expose_secret())
            .is_ok_and(|parts| BCRYPT_COSTS.contains(&parts.get_cost()));
        if !is_good {
            let text = format!(
                "the password of {user:?} under basic_auth_users is not a bcrypt hash; \
                 make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'"
            );
            return Err(errors.at(location, &text));
        }
        users.insert(user, hash);
    }
    Ok(users)
}

fn rate_limit(
    section: RateLimitSection,
    errors: FileErrors<'_>,
) -> Result<Option<RateLimit>, ConfigError> {
    let Some(written) = section.interval else {
        return Ok(None);
    };
    let interval = go_duration(&written.value).ok_or_else(|| {
        let text = format!(
            "rate_limit.interval {:?} is not a duration; write it like 1s or 250ms",
            written.value
        );
        errors.at(written.referenced, &text)
    })?;
    if interval.is_zero() {
        return Ok(None);
    }
    let (burst, location) = match section.burst {
        Some(burst) => (burst.value, burst.referenced),
        None => (0, written.referenced),
    };
    match u32::try_from(burst) {
        Ok(burst @ 1..) => Ok(Some(RateLimit { interval, burst })),
        _ => {
            let text = "rate_limit.burst must be 1 or more; otherwise every request is refused";
            Err(errors.at(location, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebConfigFile, ConfigError> {
        WebConfigFile::parse(text, Path::new("/etc/web.yml"))
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().0
    }

    #[test]
    fn error_names_file_line_and_key() {
        for (text, words) in [
            (
                "http_server_config:\n  http3: true\n",
                "line 2: unknown key \"http3\"; correct or remove it; known here are http2, headers",
            ),
            (
                "http_server_config:\n  http2: true\n  http2: false\n",
                "line 3: the key \"http2\" is there twice; remove one",
            ),
            (
                "http_server_config:\n  http2: perhaps\n",
                "line 2: the value at \"http2\" is neither true nor false",
            ),
            (
                "rate_limit: {burst: 1.5}\n",
                "line 1: the value at \"rate_limit\" is not a whole number",
            ),
            (
                "rate_limit: {interval: 1s}\n",
                "line 1: rate_limit.burst must be 1 or more; otherwise every request is refused",
            ),
            (
                "- a\n",
                "line 1: the value is not a mapping; write keys with values",
            ),
            (
                "{}\n---\n{}\n",
                "line 3: a second YAML document begins here; remove it or the --- before it",
            ),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n",
                "line 4: the value at \"min_version\" is unknown or not served; use one of TLS12, TLS13",
            ),
            (
                "tls_server_config:\n  curve_preferences: [P256]\n",
                "line 2: the value at \"curve_preferences\" is unknown or not served; use one of X25519, CurveP256, \
                 CurveP384",
            ),
        ] {
            assert_eq!(error(text), format!("/etc/web.yml, {words}"));
        }
        for text in [
            "basic_auth_users:\n  bob:\n",
            "http_server_config: {headers: {\n  X-Frame-Options: }}\n",
        ] {
            let error = error(text);
            assert!(error.starts_with("/etc/web.yml, line 2: "), "{error}");
        }
    }

    #[test]
    fn names_of_clients_are_checked_only_where_each_client_shows_a_certificate() {
        for (auth, is_taken) in [
            ("RequireAndVerifyClientCert", true),
            ("RequireAnyClientCert", true),
            ("VerifyClientCertIfGiven", false),
            ("RequestClientCert", false),
            ("NoClientCert", false),
        ] {
            let text = format!(
                "tls_server_config: {{cert_file: a, key_file: b, client_allowed_sans: [c], client_auth_type: {auth}}}"
            );
            assert_eq!(parse(&text).is_ok(), is_taken, "{auth}");
        }
    }

    #[test]
    fn no_error_shows_a_hash_or_a_key() {
        for text in [
            "basic_auth_users:\n  bob: canary\n",
            "basic_auth_users:\n  bob: [canary]\n",
            "basic_auth_users:\n  bob: canary\n  bob: canary\n",
            "tls_server_config:\n  key: canary\n  certificate: x\n",
            "tls_server_config:\n  key: canary\n",
            "tls_server_config: canary\n",
            "tls_server_config:\n  key: |\n  canary\n",
            "basic_auth_users: canary\n",
            "basic_auth_users: bob:canary\n",
            "canary\n",
        ] {
            assert!(!error(text).contains("canary"), "{}", error(text));
        }
    }

    #[test]
    fn paths_are_relative_to_the_files_folder() {
        let file = parse("tls_server_config:\n  cert_file: a.pem\n  key_file: /b.pem\n").unwrap();
        let tls = file.tls.unwrap();
        assert!(
            matches!(tls.certificate.source, PemSource::File(path) if path == Path::new("/etc/a.pem"))
        );
        assert!(matches!(tls.key.source, PemSource::File(path) if path == Path::new("/b.pem")));
    }
}
