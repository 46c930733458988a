//! The content of the web configuration, checked as far as is possible without the files that it names.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bcrypt::HashParts;
use hyper::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::yaml::YamlFile;
use crate::config::{ConfigError, read_duration, read_regular};

/// The longest file of a web configuration; a bundle of all public authorities has a quarter of a MiB. Unit: bytes.
pub(super) const FILE_MAX: u64 = 4 << 20;

/// The headers that the file may add, with their allowed values; empty if any value is allowed.
///
/// The list is exporter-toolkit's. It is closed on purpose, so that a file means the same to every exporter.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The costs that bcrypt supports.
const BCRYPT_COSTS: RangeInclusive<u32> = 4..=31;

/// The document as written. An empty section counts as absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tls_server_config: Option<Tls>,
    http_server_config: Option<HttpSection>,
    basic_auth_users: Option<BTreeMap<String, SecretString>>,
    rate_limit: Option<RateLimit>,
}

/// `tls_server_config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    cert: Option<SecretString>,
    key: Option<SecretString>,
    client_ca: Option<SecretString>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<ClientAuth>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Option<Vec<Curve>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSection {
    /// Ignored, because only HTTP/1.1 is served.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<BTreeMap<String, Option<String>>>,
}

/// `rate_limit`: one token per `interval`, of which at most `burst` are saved.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    #[serde(default, deserialize_with = "read_duration")]
    pub(crate) interval: Duration,
    #[serde(default)]
    pub(crate) burst: u32,
}

/// `client_auth_type`, which is Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    /// The same as an absent key.
    #[serde(rename = "")]
    Unset,
    NoClientCert,
    /// Asks for a certificate that nobody would look at, so none is requested.
    RequestClientCert,
    /// Requires a certificate but doesn't verify it. The alias is an old name that exporter-toolkit still accepts.
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// The versions that rustls supports, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum TlsVersion {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// The curves that rustls supports.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Curve {
    X25519,
    CurveP256,
    CurveP384,
}

/// The content of the file. The files that it names have not been read.
pub(super) struct WebConfigFile {
    /// The file as written.
    pub(super) yaml: YamlFile,
    /// `None` for plain HTTP.
    pub(super) tls: Option<Tls>,
    pub(super) rules: Rules,
    /// `None` for no limit.
    pub(super) rate_limit: Option<RateLimit>,
    /// Whether the file has no keys at all: it is empty or holds only comments.
    pub(super) is_empty: bool,
}

/// The rules that apply to each request.
pub(crate) struct Rules {
    /// Added to each reply.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The bcrypt hash of each user; empty if everybody may read.
    pub(crate) users: BTreeMap<String, SecretString>,
}

/// A PEM document.
pub(super) struct Pem<'a> {
    /// The configuration key that names or contains the document.
    pub(super) key: String,
    pub(super) source: PemSource<'a>,
}

pub(super) enum PemSource<'a> {
    File(&'a Path),
    /// Text in the configuration itself.
    Inline(&'a SecretString),
}

impl WebConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let (content, _) = read_regular(path, FILE_MAX).map_err(|error| {
            let path = path.display();
            ConfigError(format!(
                "the web configuration {path} can't be read: {error}"
            ))
        })?;
        Self::parse(content, path)
    }

    fn parse(content: Vec<u8>, path: &Path) -> Result<Self, ConfigError> {
        let yaml = YamlFile::new(path, content)?;
        let document: Option<Document> = yaml.parse()?;
        let is_empty = document.is_none();
        let document = document.unwrap_or_default();
        let tls = document.tls_server_config.filter(Tls::is_on);
        if let Some(tls) = &tls {
            check_tls(tls, &yaml)?;
        }
        let headers = document.http_server_config.unwrap_or_default().headers;
        Ok(Self {
            tls,
            rules: Rules {
                headers: headers_of(headers.unwrap_or_default(), &yaml)?,
                users: users(document.basic_auth_users.unwrap_or_default(), &yaml)?,
            },
            rate_limit: rate_limit(document.rate_limit, &yaml)?,
            is_empty,
            yaml,
        })
    }
}

impl Tls {
    fn is_on(&self) -> bool {
        self.certificate().is_some()
            || self.private_key().is_some()
            || self.client_ca().is_some()
            || self.client_auth() != ClientAuth::Unset
    }

    pub(super) fn certificate(&self) -> Option<Pem<'_>> {
        pem("cert", self.cert_file.as_ref(), self.cert.as_ref())
    }

    pub(super) fn private_key(&self) -> Option<Pem<'_>> {
        pem("key", self.key_file.as_ref(), self.key.as_ref())
    }

    pub(super) fn client_ca(&self) -> Option<Pem<'_>> {
        let file = self.client_ca_file.as_ref();
        pem("client_ca", file, self.client_ca.as_ref())
    }

    pub(super) fn client_auth(&self) -> ClientAuth {
        self.client_auth_type.unwrap_or(ClientAuth::Unset)
    }

    pub(super) fn versions(&self) -> RangeInclusive<TlsVersion> {
        let min = self.min_version.unwrap_or(TlsVersion::Tls12);
        min..=self.max_version.unwrap_or(TlsVersion::Tls13)
    }
}

/// Returns the given document. As in exporter-toolkit, the file takes precedence, and an empty value counts as absent.
fn pem<'a>(
    name: &str,
    file: Option<&'a PathBuf>,
    inline: Option<&'a SecretString>,
) -> Option<Pem<'a>> {
    let file = file.filter(|path| !path.as_os_str().is_empty());
    let inline = inline.filter(|text| !text.expose_secret().is_empty());
    let (suffix, source) = match (file, inline) {
        (Some(path), _) => ("_file", PemSource::File(path)),
        (None, Some(text)) => ("", PemSource::Inline(text)),
        (None, None) => return None,
    };
    Some(Pem {
        key: format!("tls_server_config.{name}{suffix}"),
        source,
    })
}

fn check_tls(tls: &Tls, yaml: &YamlFile) -> Result<(), ConfigError> {
    use ClientAuth::{NoClientCert, RequireAndVerifyClientCert, RequireAnyClientCert, Unset};
    let wrong = |key, problem| Err(yaml.mistake(key, problem));
    let section_is_wrong = |problem| wrong("tls_server_config", problem);
    if tls.certificate().is_none() {
        return section_is_wrong("needs cert_file or cert; add it, or remove the section");
    }
    if tls.private_key().is_none() {
        return section_is_wrong("needs key_file or key; add it, or remove the section");
    }
    if let (NoClientCert | Unset, Some(pem)) = (tls.client_auth(), tls.client_ca()) {
        let problem = "needs a client_auth_type that asks for a certificate; set it to RequireAndVerifyClientCert";
        return wrong(&pem.key, problem);
    }
    let needs_certificate = matches!(
        tls.client_auth(),
        RequireAnyClientCert | RequireAndVerifyClientCert
    );
    if !needs_certificate && tls.client_allowed_sans.is_some() {
        let problem = "needs a client_auth_type that no client can escape by showing no certificate; set it to \
                       RequireAndVerifyClientCert";
        return wrong("tls_server_config.client_allowed_sans", problem);
    }
    if tls.versions().is_empty() {
        return section_is_wrong("has a max_version below its min_version; nobody could connect");
    }
    Ok(())
}

fn headers_of(
    written: BTreeMap<String, Option<String>>,
    yaml: &YamlFile,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let mut headers = Vec::with_capacity(written.len());
    for (name, value) in written {
        let wrong = |problem: &str| {
            let key = format!("http_server_config.headers.{name}");
            yaml.mistake(&key, problem)
        };
        let known = HEADERS.iter().find(|(known, _)| *known == name);
        let (known, allowed) = known.ok_or_else(|| {
            let known = HEADERS.map(|(known, _)| known).join(", ");
            wrong(&format!("is an unknown key; the keys here are {known}"))
        })?;
        let value = value.as_deref().unwrap_or_default();
        if !allowed.is_empty() && !allowed.contains(&value) {
            return Err(wrong(&format!("must be {}", allowed.join(" or "))));
        }
        if value.is_empty() {
            // exporter-toolkit's documentation says "Unset if blank".
            continue;
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong("holds a character that a header can't carry; remove it"))?;
        let name = HeaderName::from_str(known).expect("the allowed names are header names");
        headers.push((name, value));
    }
    Ok(headers)
}

fn users(
    written: BTreeMap<String, SecretString>,
    yaml: &YamlFile,
) -> Result<BTreeMap<String, SecretString>, ConfigError> {
    for (user, hash) in &written {
        let parts = HashParts::from_str(hash.expose_secret());
        if !parts.is_ok_and(|parts| BCRYPT_COSTS.contains(&parts.get_cost())) {
            let key = format!("basic_auth_users.{user}");
            let problem =
                "must be a bcrypt hash; make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'";
            return Err(yaml.mistake(&key, problem));
        }
    }
    Ok(written)
}

fn rate_limit(
    written: Option<RateLimit>,
    yaml: &YamlFile,
) -> Result<Option<RateLimit>, ConfigError> {
    let limit = written.filter(|limit| !limit.interval.is_zero());
    if limit.is_some_and(|limit| limit.burst == 0) {
        let problem = "must be 1 or more; otherwise every request is refused";
        return Err(yaml.mistake("rate_limit.burst", problem));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::assert_mistakes;

    fn parse(text: &str) -> Result<WebConfigFile, ConfigError> {
        WebConfigFile::parse(text.as_bytes().to_vec(), Path::new("/etc/web.yml"))
    }

    #[test]
    fn error_names_file_line_and_key() {
        assert_mistakes("web", "/etc/web.yml, ", |text| parse(text).err().unwrap());
    }
}
