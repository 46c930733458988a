//! What the web configuration says, checked as far as it can be without the files that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bcrypt::HashParts;
use hyper::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_saphyr::{Location, Spanned};

use crate::config::{ConfigError, go_duration};

use super::document::{Document, RateLimitSection, SecretText, TlsSection};
use super::place::Place;

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

/// What the file says; nothing it names has been read.
#[derive(Debug)]
pub(super) struct WebConfigFile {
    /// `None`: plain HTTP.
    pub(super) tls: Option<Tls>,
    /// Added to each answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// User → bcrypt hash; empty: everybody may read.
    pub(super) users: BTreeMap<String, SecretString>,
    /// `None`: no limit.
    pub(super) rate_limit: Option<RateLimit>,
    /// No key at all: an empty file, or one of comments.
    pub(super) says_nothing: bool,
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

/// Where a PEM document stands.
#[derive(Debug)]
pub(super) enum PemSource {
    /// In a file of its own.
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
    /// Names with their place; empty: the default ones.
    pub(super) cipher_suites: Vec<Spanned<String>>,
    pub(super) prefer_server_cipher_suites: bool,
    /// Names with their place; empty: the default ones.
    pub(super) curve_preferences: Vec<Spanned<String>>,
}

/// `client_auth_type`, Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// No certificate is asked for.
    #[default]
    None,
    /// Asked for; neither needed nor verified.
    Request,
    /// Needed, but not verified.
    RequireAny,
    /// Verified where one is sent.
    VerifyIfGiven,
    /// Needed and verified.
    RequireAndVerify,
}

/// The versions that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

impl WebConfigFile {
    /// Reads the text of the file at `path`; relative paths in it are relative to its folder.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let place = Place(path);
        let options = serde_saphyr::options! {
            // A snippet would show the lines around the fault, and with them hashes and keys.
            with_snippet: false,
        };
        let document: Option<Document> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| place.syntax(text, &error))?;
        let says_nothing = document.is_none();
        let document = document.unwrap_or_default();

        let http = document.http_server_config.unwrap_or_default();
        Ok(Self {
            tls: match document.tls_server_config {
                Some(section) => tls(section, place)?,
                None => None,
            },
            headers: headers(http.headers.unwrap_or_default(), place)?,
            users: users(document.basic_auth_users.unwrap_or_default(), place)?,
            rate_limit: rate_limit(document.rate_limit.unwrap_or_default(), place)?,
            says_nothing,
        })
    }
}

fn tls(section: Spanned<TlsSection>, place: Place<'_>) -> Result<Option<Tls>, ConfigError> {
    let here = section.referenced;
    let section = section.value;
    let folder = place.0.parent().unwrap_or(Path::new(""));
    // As in exporter-toolkit: the file counts where both are given, and what is empty isn't given.
    let pem = |file: Option<Spanned<PathBuf>>, inline: Option<Spanned<SecretText>>| {
        let file = file.filter(|path| !path.value.as_os_str().is_empty());
        let inline = inline.filter(|text| !text.value.0.expose_secret().is_empty());
        match (file, inline) {
            (Some(path), _) => Some(Pem {
                source: PemSource::File(folder.join(path.value)),
                location: path.referenced,
            }),
            (None, Some(text)) => Some(Pem {
                location: text.referenced,
                source: PemSource::Inline(text.value.0),
            }),
            (None, None) => None,
        }
    };
    let certificate = pem(section.cert_file, section.cert);
    let key = pem(section.key_file, section.key);
    let client_ca = pem(section.client_ca_file, section.client_ca);
    let auth_type = section
        .client_auth_type
        .filter(|name| !name.value.is_empty());

    // Checked even where TLS is off, as exporter-toolkit does: a wrong name is wrong anyway.
    let min_version = version("min_version", section.min_version.as_ref(), place)?;
    let max_version = version("max_version", section.max_version.as_ref(), place)?;

    let is_on =
        certificate.is_some() || key.is_some() || client_ca.is_some() || auth_type.is_some();
    if !is_on {
        return Ok(None);
    }
    let missing = |what: &str| {
        let text = format!("tls_server_config has no {what}; add one, or remove the section");
        place.error(here, &text)
    };
    let certificate = certificate.ok_or_else(|| missing("cert_file (or cert)"))?;
    let key = key.ok_or_else(|| missing("key_file (or key)"))?;
    let client_auth = match &auth_type {
        Some(name) => client_auth(name, place)?,
        None => ClientAuth::None,
    };
    if client_auth == ClientAuth::None {
        if let Some(pem) = &client_ca {
            let text = "a client CA is given, but no client_auth_type that asks for a certificate; \
                        set it to RequireAndVerifyClientCert";
            return Err(place.error(pem.location, text));
        }
        if let Some(sans) = &section.client_allowed_sans {
            let text = "client_allowed_sans is given, but no client_auth_type that asks for a \
                        certificate; set it to RequireAndVerifyClientCert";
            return Err(place.error(sans.referenced, text));
        }
    }
    let min_version = min_version.unwrap_or(TlsVersion::Tls12);
    let max_version = max_version.unwrap_or(TlsVersion::Tls13);
    if min_version > max_version {
        let location = section.max_version.map_or(here, |name| name.referenced);
        let text = "max_version is below min_version; nobody could connect";
        return Err(place.error(location, text));
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

fn client_auth(name: &Spanned<String>, place: Place<'_>) -> Result<ClientAuth, ConfigError> {
    Ok(match name.value.as_str() {
        "NoClientCert" => ClientAuth::None,
        "RequestClientCert" => ClientAuth::Request,
        // The second is an old name that exporter-toolkit still takes.
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        other => {
            let text = format!(
                "client_auth_type {other:?} is unknown; use NoClientCert, RequestClientCert, \
                 RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            );
            return Err(place.error(name.referenced, &text));
        }
    })
}

fn version(
    key: &str,
    name: Option<&Spanned<String>>,
    place: Place<'_>,
) -> Result<Option<TlsVersion>, ConfigError> {
    let Some(name) = name else { return Ok(None) };
    let text = match name.value.as_str() {
        "TLS12" => return Ok(Some(TlsVersion::Tls12)),
        "TLS13" => return Ok(Some(TlsVersion::Tls13)),
        "TLS10" | "TLS11" => format!(
            "{key} {} is not served, it has been broken for years; use TLS12 or TLS13",
            name.value
        ),
        other => format!("{key} {other:?} is unknown; use TLS12 or TLS13"),
    };
    Err(place.error(name.referenced, &text))
}

fn headers(
    written: BTreeMap<String, Spanned<Option<String>>>,
    place: Place<'_>,
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
            return Err(place.error(location, &text));
        };
        let value = value.value.unwrap_or_default();
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            let text = format!("{name} can't be {value:?}; use {}", allowed.join(" or "));
            return Err(place.error(location, &text));
        }
        if value.is_empty() {
            // "Unset if blank", says exporter-toolkit's description.
            continue;
        }
        let value = HeaderValue::from_str(&value).map_err(|_| {
            let text = format!("{name} holds a character that a header can't carry; remove it");
            place.error(location, &text)
        })?;
        let name = HeaderName::from_str(&name).expect("the allowed names are header names");
        headers.push((name, value));
    }
    Ok(headers)
}

fn users(
    written: BTreeMap<String, Spanned<Option<SecretText>>>,
    place: Place<'_>,
) -> Result<BTreeMap<String, SecretString>, ConfigError> {
    let mut users = BTreeMap::new();
    for (user, hash) in written {
        let location = hash.referenced;
        let hash = hash.value.map(|hash| hash.0).unwrap_or_default();
        let is_good = HashParts::from_str(hash.expose_secret())
            .is_ok_and(|parts| BCRYPT_COSTS.contains(&parts.get_cost()));
        if !is_good {
            let text = format!(
                "the password of {user:?} under basic_auth_users is no bcrypt hash; \
                 make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'"
            );
            return Err(place.error(location, &text));
        }
        users.insert(user, hash);
    }
    Ok(users)
}

fn rate_limit(
    section: RateLimitSection,
    place: Place<'_>,
) -> Result<Option<RateLimit>, ConfigError> {
    let Some(interval) = section.interval else {
        return Ok(None);
    };
    let Some(duration) = go_duration(&interval.value) else {
        let text = format!(
            "rate_limit.interval {:?} is no duration; write it like 1s or 250ms",
            interval.value
        );
        return Err(place.error(interval.referenced, &text));
    };
    if duration.is_zero() {
        return Ok(None);
    }
    let (burst, location) = match section.burst {
        Some(burst) => (burst.value, burst.referenced),
        None => (0, interval.referenced),
    };
    let Some(burst) = u32::try_from(burst).ok().filter(|burst| *burst > 0) else {
        let text = "rate_limit.burst must be 1 or more; otherwise every request is refused";
        return Err(place.error(location, text));
    };
    Ok(Some(RateLimit {
        interval: duration,
        burst,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<WebConfigFile, ConfigError> {
        WebConfigFile::parse(text, Path::new("/etc/web.yml"))
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().0
    }

    #[test]
    fn empty_file_asks_for_nothing() {
        for text in ["", "---\n", "# nothing\n", "tls_server_config:\n", "{}"] {
            let file = parse(text).unwrap();
            assert!(file.tls.is_none() && file.users.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn value_that_is_missing_has_a_line_too() {
        for text in [
            "basic_auth_users:\n  bob:\n",
            "http_server_config: {headers: {\n  X-Frame-Options: }}\n",
        ] {
            let error = error(text);
            assert!(error.starts_with("/etc/web.yml, line 2: "), "{error}");
        }
    }

    #[test]
    fn error_names_file_line_and_key() {
        let unknown = error("http_server_config:\n  http3: true\n");
        assert!(
            unknown.starts_with("/etc/web.yml, line 2: unknown key \"http3\"; correct or remove"),
            "{unknown}"
        );
        for (text, words) in [
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
                "line 1: the value at \"rate_limit\" is no whole number",
            ),
            (
                "- a\n",
                "line 1: keys with values are expected, and something else is there",
            ),
            (
                "{}\n---\n{}\n",
                "line 3: a second YAML document begins here; remove it or the --- before it",
            ),
        ] {
            assert_eq!(error(text), format!("/etc/web.yml, {words}"));
        }
        assert_eq!(
            error("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n"),
            "/etc/web.yml, line 4: min_version TLS10 is not served, it has been broken for years; \
             use TLS12 or TLS13"
        );
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

    #[test]
    fn rate_limit_that_would_refuse_all_is_refused() {
        assert!(error("rate_limit: {interval: 1s}").contains("burst"));
        assert_eq!(parse("rate_limit: {interval: 0}").unwrap().rate_limit, None);
        assert_eq!(
            parse("rate_limit: {interval: 1s, burst: 3}")
                .unwrap()
                .rate_limit,
            Some(RateLimit {
                interval: Duration::from_secs(1),
                burst: 3
            })
        );
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "(tls_server_config|http2|users|: |\n|  |- |[a-z{}\\[\\]&*!|>'\"#%@`]){0,30}") {
            let _ = parse(&text);
        }
    }
}
