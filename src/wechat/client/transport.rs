//! One try at one host: connect, send, and take in a reply of bounded size.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};

use super::hosts::Host;
use super::{Call, ClientError, ClientOptions, Failure, Fault, Reason, path, reply};
use crate::tls;
use crate::version::USER_AGENT;
use crate::wechat::remote_text;

/// How long a connection that nobody uses is kept. Shorter than the minute after which servers commonly close one: a
/// request that crosses with the closing is lost, and fetches are a minute apart.
const IDLE_MAX: Duration = Duration::from_secs(50);
/// The share of a call's time in which a host must take the connection, TLS included, where there are other hosts. Of
/// ten seconds that leaves room for one lost packet.
const CONNECT_SHARE: u32 = 4;
/// Connections kept idle to one host.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// Of a reply whose status tells of a failure, only an errcode is looked for. Unit: bytes.
const FAILED_BODY_MAX: usize = 4096;
/// Taken at once for a reply that announces a length; more only as it comes, because the length may be a lie.
/// Unit: bytes.
const BODY_RESERVE_MAX: usize = 1 << 20;

/// Why a try brought no reply to read.
pub(super) enum Failed {
    /// It brought a refusal.
    Reply(Fault),
    /// It brought none.
    Failure(Reason, Failure),
}

pub(super) fn http_client(
    options: &ClientOptions,
    roots: Arc<rustls::RootCertStore>,
) -> Result<reqwest::Client, ClientError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        // A redirect would carry the token or the secret to wherever it points.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Each request that leaves is metered, so none may leave behind the meter's back.
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .tls_backend_preconfigured(tls::trusting(roots));
    if options.api_urls.len() > 1 {
        builder = builder.connect_timeout(options.timeout / CONNECT_SHARE);
    }
    if !options.proxy_from_env {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|error| ClientError::Http(error.without_url()))
}

/// Sends the call to this host. `time` is for everything, up to the reply's last byte.
pub(super) async fn attempt(
    http: &reqwest::Client,
    call: &Call<'_>,
    host: &Host,
    time: Duration,
) -> Result<Vec<u8>, Failed> {
    let url = host.url(path(call.api), &call.query);
    let mut request = http.request(call.method.clone(), url).timeout(time);
    if let Some(body) = &call.body {
        request = request
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body.clone());
    }
    let lost = |error: reqwest::Error| lost(&error.without_url(), host, call);
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status();
    if !status.is_success() {
        return Err(unsuccessful(response, host, call).await);
    }
    let body = body(&mut response, call.body_max).await;
    match body {
        Ok(Some(body)) => match encoding(&response, call).filter(|_| !is_legible(&body)) {
            Some(encoding) => {
                let what = format!(
                    "its Content-Encoding is {encoding}, which was not asked for; a proxy may have compressed it"
                );
                Err(Failed::Reply(Fault::Malformed(what)))
            }
            None => Ok(body),
        },
        Ok(None) => {
            let what = format!("it has more than {} bytes", call.body_max);
            Err(Failed::Reply(Fault::Malformed(what)))
        }
        Err(error) => Err(lost(error)),
    }
}

/// The reply's body; `None` where it is longer than `max`.
async fn body(response: &mut Response, max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > max {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(announced.min(BODY_RESERVE_MAX));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The reply's encoding, where it says that it has one.
fn encoding(response: &Response, call: &Call<'_>) -> Option<String> {
    let encoding = response.headers().get(CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    Some(remote_text::clean(&encoding, &call.secrets))
}

/// Whether a body is text after all, as where a proxy has unpacked it and left the header.
fn is_legible(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok() || body.trim_ascii_start().starts_with(b"{")
}

/// A connection that could not be made or broke, or an answer that did not come in time.
fn lost(error: &reqwest::Error, host: &Host, call: &Call<'_>) -> Failed {
    let way = host.way().into();
    if error.is_timeout() {
        return Failed::Failure(Reason::Timeout, Failure::Late { host: way });
    }
    // The innermost cause says what happened ("Connection refused"); those around it, where.
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(|cause| cause.source()) {
        cause = Some(inner);
    }
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    let failure = Failure::Unreachable {
        host: way,
        cause: remote_text::clean(&cause, &call.secrets).into(),
    };
    Failed::Failure(Reason::Network, failure)
}

/// A reply with a status that WeChat's API never has: something on the way answered, or the host failed.
async fn unsuccessful(mut response: Response, host: &Host, call: &Call<'_>) -> Failed {
    let status = response.status();
    if status.is_client_error()
        && let Ok(Some(body)) = body(&mut response, FAILED_BODY_MAX).await
        && let Some(refused) = reply::read_errcode(&body)
    {
        return Failed::Reply(refused);
    }
    let (reason, meaning) = status_meaning(status, call.open_interface);
    let failure = Failure::Status {
        status: status.as_u16(),
        host: host.name.as_str().into(),
        meaning,
    };
    Failed::Failure(reason, failure)
}

fn status_meaning(status: StatusCode, open_interface: bool) -> (Reason, &'static str) {
    match status.as_u16() {
        304 => (
            Reason::Config,
            "nothing new, which the exporter never asks for; a cache on the way answers in WeChat's place",
        ),
        300..400 => (
            Reason::Config,
            "a redirect, which is never followed because it would carry the credentials elsewhere; see whether the \
             API URL is WeChat's and no proxy or login portal answers in its place",
        ),
        401 | 403 => (
            Reason::Config,
            "WeChat's API doesn't answer so; a proxy or a firewall on the way keeps the call from it",
        ),
        404 => (Reason::Config, "the API URL is not WeChat's"),
        407 => (
            Reason::Config,
            "the proxy asks for a user and a password; give them in HTTPS_PROXY",
        ),
        408 => (Reason::Timeout, "the request did not arrive in time"),
        412 => (
            Reason::Config,
            "WeChat answers so to a request without a Content-Length; a proxy on the way takes it out",
        ),
        429 => (Reason::Rate, "too many calls"),
        400..500 => (
            Reason::Config,
            "WeChat's API doesn't answer so; see whether the API URL is WeChat's and no proxy answers in its place",
        ),
        502 if open_interface => (
            Reason::Permission,
            "Cloud Run answers so for an API that is not in the list of 云调用权限; add the path at \
             cloud.weixin.qq.com/cloudrun, 云调用, and publish a new version",
        ),
        _ => (Reason::Transient, ""),
    }
}
