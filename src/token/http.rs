//! A token from a central token server (中控服务器).

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::RootCertStore;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::error::{Error, Place, Unusable};
use super::form::{self, TEXT_MAX};
use super::kept::Obtained;
use crate::blocking::BlockingReads;
use crate::config::{HttpTokenConfig, HttpTokenMethod, SecretUrl, read_headers_file};
use crate::error::chain;
use crate::proxy::Proxy;
use crate::tls::{self, NoRoots};
use crate::version::USER_AGENT;
use crate::wechat::AccessToken;

/// For a connection. Well below the time for the whole reading, so that a server that was never reached is told from one
/// that is slow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A token server, asked each time the kept token is old.
#[derive(Debug)]
pub(super) struct HttpSource {
    config: HttpTokenConfig,
    /// Made at the first reading, which can say why it fails.
    client: OnceCell<Client>,
    /// The rejected token that the server was last told of. A second time could make it replace the good token of
    /// everybody else.
    told_of: StdMutex<Option<SecretString>>,
    aside: BlockingReads,
}

impl HttpSource {
    pub(super) fn new(config: HttpTokenConfig) -> Self {
        Self {
            config,
            client: OnceCell::new(),
            told_of: StdMutex::new(None),
            aside: BlockingReads::default(),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::Server(self.config.url.clone())
    }

    /// Reads the token; where WeChat rejected the last one, the server is told so before, if it has a URL for it.
    pub(super) async fn read(
        &self,
        rejected: Option<&AccessToken>,
        limit: Duration,
    ) -> Result<Obtained, Error> {
        let read = async {
            if let (Some(rejected), Some(url)) = (rejected, &self.config.refresh_url)
                && self.first_told_of(rejected)
            {
                self.refresh(url).await;
            }
            let response = self.send(&self.config.url).await?;
            let asked = SystemTime::now();
            let text = self.text(response).await?;
            let found =
                form::find(&text, &self.config.pointers).map_err(|why| self.unusable(why))?;
            Ok(Obtained::found_now(found, asked))
        };
        match tokio::time::timeout(limit, read).await {
            Ok(result) => result,
            Err(_) => Err(Error::Late {
                place: self.place(),
                limit,
            }),
        }
    }

    fn first_told_of(&self, rejected: &AccessToken) -> bool {
        let mut told_of = self.told_of.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told_of.replace(rejected.secret.clone());
        told.is_none_or(|told| told.expose_secret() != rejected.secret.expose_secret())
    }

    /// A failure is no reason not to read: the server may have a new token all the same.
    async fn refresh(&self, url: &SecretUrl) {
        if let Err(error) = self.send(url).await {
            if matches!(error, Error::Unreachable { .. }) {
                // It was not told, so that the next rejection may try again.
                *self.told_of.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            tracing::warn!(
                error = chain(&error),
                "refresh_url can't be called; the token is read again all the same"
            );
        }
    }

    async fn send(&self, url: &SecretUrl) -> Result<Response, Error> {
        let place = Place::Server(url.clone());
        let client = self.client().await?;
        let url: Url = url.expose().parse().map_err(|error| {
            settings(
                place.clone(),
                "this is no URL; write http:// or https://, a host and a path",
                error,
            )
        })?;
        let proxy = Proxy::on_the_way_to(&url);
        let request = match self.config.method {
            HttpTokenMethod::Get => client.get(url),
            // Some servers answer 411 to a POST that does not say that it is empty.
            HttpTokenMethod::Post => client.post(url).header(CONTENT_LENGTH, 0),
        };
        let response = match request.headers(self.headers().await?).send().await {
            Ok(response) => response,
            Err(error) => {
                let error = error.without_url();
                return Err(Error::Unreachable {
                    place,
                    source: match proxy {
                        Some(proxy) => Arc::new(OnTheWay {
                            proxy,
                            source: error,
                        }),
                        None => Arc::new(error),
                    },
                });
            }
        };
        let status = response.status();
        let what = match status {
            status if status.is_success() => return Ok(response),
            status if status.is_redirection() => {
                "it answers with a redirect, which is not followed; set the URL that it leads to"
            }
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                "it refuses the credentials; mend headers_file or the URL"
            }
            status => {
                return Err(Error::Unusable {
                    place,
                    why: Unusable::Status(status.as_u16()),
                });
            }
        };
        Err(Error::Settings {
            place,
            what: what.into(),
            source: None,
        })
    }

    async fn text(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(text),
                Ok(Some(chunk)) if text.len() + chunk.len() > TEXT_MAX => {
                    return Err(self.unusable(Unusable::TooLong));
                }
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                Err(error) => {
                    return Err(Error::Unreachable {
                        place: self.place(),
                        source: Arc::new(error.without_url()),
                    });
                }
            }
        }
    }

    async fn headers(&self) -> Result<HeaderMap, Error> {
        let Some(path) = self.config.headers_file.clone() else {
            return Ok(HeaderMap::new());
        };
        let shown = path.display().to_string();
        let read = self.aside.run(move || read_headers_file(&path)).await;
        match read {
            Ok(read) => read.map_err(|error| {
                settings(
                    self.place(),
                    "its headers_file can't be used; mend the file or its permissions",
                    error,
                )
            }),
            Err(hanging) => Err(Error::Settings {
                place: self.place(),
                what: format!(
                    "its headers_file {shown} can't be read; mend the disk or the network share that it lies on"
                )
                .into(),
                source: Some(Arc::new(hanging)),
            }),
        }
    }

    async fn client(&self) -> Result<&Client, Error> {
        let made = self.client.get_or_try_init(async || client(&self.config));
        made.await
            .map_err(|error| settings(self.place(), "no call can be made", error))
    }

    fn unusable(&self, why: Unusable) -> Error {
        Error::Unusable {
            place: self.place(),
            why,
        }
    }
}

/// Which way did not lead to the server.
#[derive(Debug, thiserror::Error)]
#[error("{proxy}")]
struct OnTheWay {
    proxy: Proxy,
    source: reqwest::Error,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
enum Unmade {
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    #[error("the HTTP client can't be set up")]
    Http(#[source] reqwest::Error),
}

fn settings(
    place: Place,
    what: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Settings {
        place,
        what: what.into(),
        source: Some(Arc::new(source)),
    }
}

/// A client that follows no redirect, so that the headers reach one server only.
fn client(config: &HttpTokenConfig) -> Result<Client, Unmade> {
    let mut urls = [Some(&config.url), config.refresh_url.as_ref()]
        .into_iter()
        .flatten();
    let roots = if urls.any(is_https) {
        tls::system_roots()?
    } else {
        RootCertStore::empty()
    };
    Client::builder()
        .tls_backend_preconfigured(tls::trusting(roots))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(USER_AGENT)
        .build()
        .map_err(|error| Unmade::Http(error.without_url()))
}

fn is_https(url: &SecretUrl) -> bool {
    Url::parse(url.expose()).is_ok_and(|url| url.scheme() == "https")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use wiremock::matchers::{body_string, header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use rustls::crypto::ring;

    use super::*;
    use crate::config::TokenPointers;
    use crate::wechat::Reason;

    const LONG: Duration = Duration::from_secs(60);

    fn config(url: impl Into<String>) -> HttpTokenConfig {
        HttpTokenConfig {
            url: SecretUrl::new(url),
            method: HttpTokenMethod::Get,
            headers_file: None,
            refresh_url: None,
            pointers: TokenPointers::default(),
        }
    }

    async fn read(config: HttpTokenConfig) -> Result<String, Error> {
        let obtained = HttpSource::new(config).read(None, LONG).await?;
        Ok(obtained.token.secret.expose_secret().to_owned())
    }

    async fn answering(response: ResponseTemplate) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .respond_with(response)
            .mount(&server)
            .await;
        server
    }

    /// The error with its causes, as text and as Debug shows it.
    fn shown(error: &Error) -> String {
        format!("{} {error:?}", chain(error))
    }

    #[tokio::test]
    async fn known_end_decides_how_long_a_token_is_kept_and_a_minute_where_unknown() {
        for (body, kept, known) in [
            (r#"{"access_token":"tok","expires_in":7130}"#, 6830, true),
            (r#"{"access_token":"tok","expires_in":120}"#, 0, true),
            ("tok", 60, false),
        ] {
            let server = answering(ResponseTemplate::new(200).set_body_string(body)).await;
            let source = HttpSource::new(config(server.uri()));
            let obtained = source.read(None, LONG).await.unwrap();
            assert_eq!(obtained.token.secret.expose_secret(), "tok");
            assert_eq!(obtained.keep, Duration::from_secs(kept));
            assert_eq!(obtained.token.expires.is_some(), known);
        }
    }

    #[tokio::test]
    async fn headers_of_the_file_are_sent_with_the_method_and_the_query_of_the_settings() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/wx"))
            .and(query_param("appid", "wx1"))
            .and(header("x-api-secret", "canary"))
            .and(header("authorization", "Bearer a:b"))
            .and(header("content-length", "0"))
            .and(body_string(""))
            .respond_with(ResponseTemplate::new(200).set_body_string("\"tok\""))
            .expect(1)
            .mount(&server)
            .await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("headers");
        fs::write(
            &file,
            "X-API-Secret: canary\r\n\nAuthorization:Bearer a:b\n",
        )
        .unwrap();
        let token = read(HttpTokenConfig {
            method: HttpTokenMethod::Post,
            headers_file: Some(file),
            ..config(format!("{}/wx?appid=wx1", server.uri()))
        });
        assert_eq!(token.await.unwrap(), "tok");
    }

    #[tokio::test]
    async fn headers_file_that_is_missing_or_malformed_is_named_with_its_line_and_not_its_content()
    {
        let directory = tempfile::tempdir().unwrap();
        let malformed = directory.path().join("headers");
        fs::write(&malformed, "X: 1\ncanary\n").unwrap();
        for (file, sentence) in [
            (malformed, "headers line 2 should be `Name: value`"),
            (
                PathBuf::from("/nonexistent/headers"),
                "/nonexistent/headers can't be read",
            ),
        ] {
            let error = read(HttpTokenConfig {
                headers_file: Some(file),
                ..config("http://127.0.0.1:1/")
            })
            .await
            .unwrap_err();
            assert_eq!(error.reason(), Reason::Config);
            assert!(shown(&error).contains(sentence), "{}", shown(&error));
            let cure = "mend the file or its permissions";
            assert!(error.to_string().contains(cure), "{error}");
            assert!(!shown(&error).contains("canary"));
        }
    }

    #[tokio::test]
    async fn rejected_token_has_the_server_told_once_before_it_is_read_again() {
        let server = MockServer::start().await;
        Mock::given(path("/token"))
            .respond_with(ResponseTemplate::new(200).set_body_string("tok"))
            .expect(3)
            .mount(&server)
            .await;
        Mock::given(path("/refresh"))
            .respond_with(ResponseTemplate::new(500))
            .expect(1)
            .mount(&server)
            .await;
        let source = HttpSource::new(HttpTokenConfig {
            refresh_url: Some(SecretUrl::new(format!("{}/refresh", server.uri()))),
            ..config(format!("{}/token", server.uri()))
        });
        let first = source.read(None, LONG).await.unwrap().token;
        // Also where it is still the same one at the next scrape.
        source.read(Some(&first), LONG).await.unwrap();
        source.read(Some(&first), LONG).await.unwrap();
    }

    #[tokio::test]
    async fn answer_that_is_no_token_is_told_apart_and_shown_nowhere() {
        let endless = vec![b'c'; TEXT_MAX + 1];
        for (response, reason, sentence) in [
            (
                ResponseTemplate::new(200).set_body_string("null"),
                Reason::Token,
                "it is null",
            ),
            (
                ResponseTemplate::new(200).set_body_string("<p>canary"),
                Reason::Token,
                "HTML",
            ),
            (
                ResponseTemplate::new(200)
                    .set_body_string(r#"{"errcode":40164,"errmsg":"canary"}"#),
                Reason::Token,
                "WeChat's error 40164",
            ),
            (
                ResponseTemplate::new(200).set_body_string("canary b"),
                Reason::Token,
                "characters",
            ),
            (
                ResponseTemplate::new(200).set_body_bytes(endless),
                Reason::Token,
                "too long",
            ),
            (
                ResponseTemplate::new(502).set_body_string("canary"),
                Reason::Token,
                "answers 502",
            ),
            (
                ResponseTemplate::new(403).set_body_string("canary"),
                Reason::Config,
                "credentials",
            ),
            (
                ResponseTemplate::new(302).insert_header("location", "/canary"),
                Reason::Config,
                "redirect",
            ),
        ] {
            let server = answering(response).await;
            let error = read(config(format!("{}/?key=canary", server.uri())))
                .await
                .unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
            assert_eq!(error.errcode(), None);
            assert!(error.to_string().contains(sentence), "{error}");
            assert!(!shown(&error).contains("canary"), "{}", shown(&error));
        }
    }

    #[tokio::test]
    async fn server_that_is_away_is_named_without_the_query_or_the_password() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let url = format!(
            "{}/canary?key=canary",
            gone.replace("://", "://canary:canary@")
        );
        let error = read(config(url)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Network);
        let place = format!("token server {gone} can't be reached");
        assert!(shown(&error).starts_with(&place), "{}", shown(&error));
        assert!(!shown(&error).contains("canary"), "{}", shown(&error));
    }

    #[tokio::test]
    async fn certificate_that_nobody_vouches_for_is_refused() {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = identity.signing_key.serialize_der().try_into().unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
            assert!(acceptor.accept(stream).await.is_err());
        });
        let error = read(config(format!("https://localhost:{port}/")))
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Reason::Network);
        assert!(shown(&error).contains("certificate"), "{}", shown(&error));
    }

    #[tokio::test]
    async fn server_that_never_answers_is_late() {
        let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
        let server = answering(slow).await;
        let source = HttpSource::new(config(server.uri()));
        let error = source.read(None, Duration::from_millis(100)).await;
        assert_eq!(error.unwrap_err().reason(), Reason::Timeout);
    }

    #[tokio::test]
    async fn text_that_is_no_url_is_for_the_operator_to_mend() {
        for url in ["canary", "canary://", "http://"] {
            let error = read(config(url)).await.unwrap_err();
            assert!(!shown(&error).replace("canary://", "").contains("canary"));
        }
    }
}
