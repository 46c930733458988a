//! Reads a token from a central token server (中控服务器), which is asked each time the token is old.

use std::time::SystemTime;

use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::error::{failed, no_token, settings, unreachable};
use super::parse::{self, TEXT_MAX};
use crate::blocking::BlockingReads;
use crate::config::{HttpTokenConfig, SecretUrl, read_headers_file};
use crate::http_client;
use crate::logging;
use crate::proxy;
use crate::wechat::{AccessToken, Error, Reason};

/// Reads the token. If WeChat rejected the last one, the server is told first, provided that it has a URL for it.
///
/// `told_of` is the last rejected token that the server was told about. If it were told twice, it could replace the
/// valid token of everybody else.
pub(super) async fn read(
    config: &HttpTokenConfig,
    rejected: Option<&AccessToken>,
    told_of: &Mutex<Option<SecretString>>,
    client: &Client,
    reads: &BlockingReads,
) -> Result<AccessToken, Error> {
    let headers = headers(config, reads).await?;
    let told = |token: &SecretString| {
        let told_of = told_of.lock();
        told_of.as_ref().map(ExposeSecret::expose_secret) == Some(token.expose_secret())
    };
    if let (Some(rejected), Some(url)) = (rejected, &config.refresh_url)
        && !told(&rejected.secret)
    {
        match send(client, url, &headers).await {
            Ok(_) => *told_of.lock() = Some(rejected.secret.clone()),
            // The server may have a new token anyway.
            Err(error) if logging::admits(error.cause.reason.as_str()) => tracing::warn!(
                error = format!("refresh_url {error}"),
                "the token server was not told of the rejected token; it is asked for a token all the same"
            ),
            Err(_) => {}
        }
    }
    let asked = SystemTime::now();
    let mut response = send(client, &config.url, &headers).await?;
    let body = http_client::body(&mut response, TEXT_MAX).await;
    let body = body
        .map_err(|error| unreachable(&error.without_url()))?
        .ok_or_else(|| no_token(parse::TOO_LONG))?;
    parse::find(&body, config.token_pointer.as_deref(), Some(asked))
}

async fn send(client: &Client, url: &SecretUrl, headers: &HeaderMap) -> Result<Response, Error> {
    let url = url.expose();
    let through_proxy = proxy::on_the_way_to(url);
    let request = client.get(url.clone()).headers(headers.clone());
    let response = request.send().await;
    let response = response.map_err(|error| {
        let text = format!("can't be reached{through_proxy}");
        failed(Reason::Network, text).because(&error.without_url())
    })?;
    match response.status() {
        status if status.is_success() => Ok(response),
        status if status.is_redirection() => Err(settings(
            "it answers with a redirect, which is not followed; set the URL that it leads to",
        )),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(settings(
            "it refuses the credentials; correct headers_file or the URL",
        )),
        status => Err(no_token(format!("it answers {}", status.as_u16()))),
    }
}

async fn headers(config: &HttpTokenConfig, reads: &BlockingReads) -> Result<HeaderMap, Error> {
    let Some(path) = config.headers_file.clone() else {
        return Ok(HeaderMap::new());
    };
    let read = reads.run(move || read_headers_file(&path)).await;
    read.map_err(|error| {
        settings("correct its headers_file or the file's permissions").because(&error)
    })
}
