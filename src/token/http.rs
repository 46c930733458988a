//! A token from a central token server (中控服务器), asked each time the token is old.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode, Url};
use rustls::RootCertStore;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::error::Error;
use super::parse::{self, TEXT_MAX};
use crate::blocking::BlockingReads;
use crate::config::{HttpTokenConfig, SecretUrl, read_headers_file};
use crate::error::chain;
use crate::http_client;
use crate::proxy::Proxy;
use crate::tls;
use crate::wechat::{AccessToken, Reason};

/// For a connection. Well below the time for the whole reading, so that a server that was never reached is told from one
/// that is slow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What lasts from one reading to the next.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Made at the first reading, which can say why it fails.
    client: OnceCell<Client>,
    /// The rejected token that the server was last told of. A second time could make it replace the good token of
    /// everybody else.
    told_of: Mutex<Option<SecretString>>,
}

impl Server {
    /// Reads the token; where WeChat rejected the last one, the server is told so before, if it has a URL for it.
    pub(super) async fn read(
        &self,
        config: &HttpTokenConfig,
        rejected: Option<&AccessToken>,
        reads: &BlockingReads,
    ) -> Result<AccessToken, Error> {
        let client = self.client.get_or_try_init(async || client(config));
        let client = client.await?;
        let headers = headers(config, reads).await?;
        if let (Some(rejected), Some(url)) = (rejected, &config.refresh_url)
            && self.is_first_told_of(rejected)
            && let Err(error) = send(client, url, &headers).await
        {
            if error.reason() == Reason::Network {
                // It was not told, so the next rejection may try again.
                *self.told_of.lock() = None;
            }
            // The server may have a new token all the same.
            tracing::warn!(
                error = chain(&error.of("refresh_url")),
                "the token server was not told of the rejected token; it is asked for a token all the same"
            );
        }
        let asked = SystemTime::now();
        let mut response = send(client, &config.url, &headers).await?;
        let body = http_client::body(&mut response, TEXT_MAX).await;
        let body = body
            .map_err(|error| Error::unreachable().because(error.without_url()))?
            .ok_or_else(|| Error::no_token(parse::TOO_LONG))?;
        parse::find(&body, config.token_pointer.as_deref(), Some(asked))
    }

    fn is_first_told_of(&self, rejected: &AccessToken) -> bool {
        let told = self.told_of.lock().replace(rejected.secret.clone());
        told.is_none_or(|told| told.expose_secret() != rejected.secret.expose_secret())
    }
}

async fn send(client: &Client, url: &SecretUrl, headers: &HeaderMap) -> Result<Response, Error> {
    let url: Url = url.expose().parse().map_err(|error| {
        Error::settings("the URL is not valid; write http:// or https://, a host and a path")
            .because(error)
    })?;
    let proxy = Proxy::on_the_way_to(&url);
    let response = client.get(url).headers(headers.clone()).send().await;
    let response = response.map_err(|error| {
        let text = match proxy {
            Some(proxy) => format!("can't be reached {proxy}"),
            None => "can't be reached".to_owned(),
        };
        Error::new(Reason::Network, text).because(error.without_url())
    })?;
    match response.status() {
        status if status.is_success() => Ok(response),
        status if status.is_redirection() => Err(Error::settings(
            "it answers with a redirect, which is not followed; set the URL that it leads to",
        )),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(Error::settings(
            "it refuses the credentials; correct headers_file or the URL",
        )),
        status => Err(Error::no_token(format!("it answers {}", status.as_u16()))),
    }
}

async fn headers(config: &HttpTokenConfig, reads: &BlockingReads) -> Result<HeaderMap, Error> {
    let Some(path) = config.headers_file.clone() else {
        return Ok(HeaderMap::new());
    };
    let shown = path.display().to_string();
    let read = reads.run(move || read_headers_file(&path)).await;
    let read = read.map_err(|hanging| {
        Error::settings(format_args!(
            "reading its headers_file {shown} hangs; check the disk or the network share that it is on"
        ))
        .because(hanging)
    })?;
    read.map_err(|error| {
        Error::settings("correct its headers_file or the file's permissions").because(error)
    })
}

fn client(config: &HttpTokenConfig) -> Result<Client, Error> {
    let is_https = |url: &SecretUrl| url.expose().to_ascii_lowercase().starts_with("https:");
    let roots = if is_https(&config.url) || config.refresh_url.as_ref().is_some_and(is_https) {
        tls::system_roots()
            .map_err(|error| Error::settings("its certificate can't be checked").because(error))?
    } else {
        RootCertStore::empty()
    };
    http_client::builder(roots)
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .map_err(|error| {
            Error::settings("the HTTP client can't be set up").because(error.without_url())
        })
}
