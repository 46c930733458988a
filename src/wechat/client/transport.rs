//! One attempt at one host: connect, send, and receive a reply of bounded size.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, redirect};
use rustls::CertificateError::{ExpiredContext, NotValidYetContext};

use super::{Call, ClientOptions, Error, Fault, Host, Reason, reply};
use crate::version::USER_AGENT;
use crate::wechat::{Symptom, remote_text};
use crate::{http_client, tls};

/// How long an idle connection is kept. Fetches are a minute apart, and servers commonly close a connection after a
/// minute. This is shorter, because a request that crosses with the close is lost.
const IDLE_MAX: Duration = Duration::from_secs(50);
/// If there are other hosts, a host must accept the connection, TLS included, within the call's timeout divided by
/// this. With ten seconds, that leaves room for one lost packet.
const CONNECT_SHARE: u32 = 4;
/// The maximum size of a reply whose status reports a failure. Only its errcode is read. Unit: bytes.
const FAILED_BODY_MAX: usize = 4096;

pub(super) fn http_client(
    options: &ClientOptions,
    roots: rustls::RootCertStore,
) -> reqwest::Client {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        // A redirect would carry the token, the secret or the headers elsewhere.
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(tls::trusting(roots))
        // Each request must be metered, so the HTTP client must not send any by itself.
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE_MAX);
    if options.api_urls.len() > 1 {
        builder = builder.connect_timeout(options.timeout / CONNECT_SHARE);
    }
    if !options.proxy_from_env {
        builder = builder.no_proxy();
    }
    let built = builder.build();
    built.expect("the TLS configuration is ready, and nothing else can fail")
}

/// Sends the call to this host. `time` covers everything up to the last byte of the reply.
pub(super) async fn attempt(
    client: &reqwest::Client,
    call: &Call<'_>,
    host: &Host,
    time: Duration,
) -> Result<Vec<u8>, Error> {
    let url = host.url(call.api.path(), &call.query);
    let json = HeaderValue::from_static("application/json");
    let request = match &call.body {
        None => client.get(url),
        Some(body) => client
            .post(url)
            .header(CONTENT_TYPE, json)
            .body(body.clone()),
    };
    let lost = |error: reqwest::Error| lost(&error.without_url(), host, call);
    let mut response = request.timeout(time).send().await.map_err(lost)?;
    if !response.status().is_success() {
        return Err(unsuccessful(response, host, call).await);
    }
    let body = http_client::body(&mut response, call.body_max).await;
    body.map_err(lost)?.ok_or_else(|| {
        let what = format!("it has more than {} bytes", call.body_max);
        Error::from_fault(call.api, Fault::unreadable(what), &call.secrets)
    })
}

/// Returns the error for a connection that could not be made or broke, or for an answer that was late.
fn lost(error: &reqwest::Error, host: &Host, call: &Call<'_>) -> Error {
    let way = &host.way;
    if error.is_timeout() {
        let text = format!("got no answer from {way} in time");
        return Error::new(call.api, Reason::Timeout, None, &text);
    }
    // The innermost cause says what happened ("Connection refused"), the outer ones say where.
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(cause) = cause_of(innermost) {
        innermost = cause;
    }
    let symptom = innermost.downcast_ref().and_then(certificate_symptom);
    let cause = remote_text::clean(&innermost.to_string(), &call.secrets);
    let text = format!("failed on the way to {way}: {cause}");
    Error::new(call.api, Reason::Network, symptom, &text)
}

/// Returns the cause of an error. An I/O error's own `source` skips the error that it wraps.
fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn certificate_symptom(error: &rustls::Error) -> Option<Symptom> {
    match error {
        rustls::Error::InvalidCertificate(ExpiredContext { .. } | NotValidYetContext { .. }) => {
            Some(Symptom::CertificateDates)
        }
        rustls::Error::InvalidCertificate(_) => Some(Symptom::UntrustedCertificate),
        _ => None,
    }
}

/// Returns the error for a status that WeChat's API never sends: something on the way answered, or the host failed.
async fn unsuccessful(mut response: Response, host: &Host, call: &Call<'_>) -> Error {
    let status = response.status();
    if status.is_client_error()
        && let Ok(Some(body)) = http_client::body(&mut response, FAILED_BODY_MAX).await
        && let Some(refused) = reply::read_errcode(&body)
    {
        return Error::from_fault(call.api, refused, &call.secrets);
    }
    let (reason, symptom) = match status.as_u16() {
        407 => (Reason::Config, Some(Symptom::ProxyLogin)),
        408 => (Reason::Timeout, None),
        412 => (Reason::Config, Some(Symptom::NoContentLength)),
        429 => (Reason::Rate, None),
        300..500 => (Reason::Config, Some(Symptom::Intercepted)),
        502 if call.open_interface => (Reason::Permission, Some(Symptom::NotInCloudRunList)),
        _ => (Reason::Transient, None),
    };
    let text = format!("got HTTP status {} from {}", status.as_u16(), host.name);
    Error::new(call.api, reason, symptom, &text)
}
