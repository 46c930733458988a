//! Replies: their type, and the small ones of plain text.

use std::error::Error;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::access::Refusal;

/// An error breaks the connection, so that nobody takes half of a page for all of it.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

pub(super) type Reply = Response<Body>;

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// 200 with a body of that type, written while it is sent.
pub(super) fn streamed<B>(content_type: HeaderValue, body: B) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut reply = Response::new(body.map_err(Into::into).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// A body of that type.
pub(super) fn reply(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Reply {
    let mut reply = streamed(content_type, Full::new(body.into()));
    *reply.status_mut() = status;
    reply
}

/// A line of plain text, which no browser takes for anything else.
pub(super) fn line(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = reply(status, PLAIN_TEXT, text);
    let nosniff = HeaderValue::from_static("nosniff");
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    reply
}

/// A line of plain text with one more header.
fn line_with(
    status: StatusCode,
    text: impl Into<Bytes>,
    name: HeaderName,
    value: HeaderValue,
) -> Reply {
    let mut reply = line(status, text);
    reply.headers_mut().insert(name, value);
    reply
}

/// To `OPTIONS`.
pub(super) fn options(allowed: &'static str) -> Reply {
    let allowed = HeaderValue::from_static(allowed);
    let mut reply = line_with(StatusCode::NO_CONTENT, "", ALLOW, allowed);
    reply.headers_mut().remove(CONTENT_TYPE);
    reply
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Reply {
    let text = "this method is not allowed here\n";
    let allowed = HeaderValue::from_static(allowed);
    line_with(StatusCode::METHOD_NOT_ALLOWED, text, ALLOW, allowed)
}

pub(super) fn redirect(url: &str) -> Reply {
    let location = HeaderValue::from_str(url).expect("a URL is visible ASCII");
    let text = format!("{url}\n");
    line_with(StatusCode::PERMANENT_REDIRECT, text, LOCATION, location)
}

/// Too much at this moment; a second later it may be less.
pub(super) fn busy(text: &'static str) -> Reply {
    let one_second = HeaderValue::from_static("1");
    line_with(
        StatusCode::SERVICE_UNAVAILABLE,
        text,
        RETRY_AFTER,
        one_second,
    )
}

/// To a client that doesn't know that this is a TLS port, in Go's words.
pub(super) fn https_only() -> Reply {
    let text = "Client sent an HTTP request to an HTTPS server.\n";
    let close = HeaderValue::from_static("close");
    line_with(StatusCode::BAD_REQUEST, text, CONNECTION, close)
}

pub(super) fn refused(refusal: Refusal) -> Reply {
    match refusal {
        // The reason is in the log: whoever asks may be anybody.
        Refusal::BadConfig => line(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the web configuration can't be used; the log says why\n",
        ),
        Refusal::TooManyRequests => line(StatusCode::TOO_MANY_REQUESTS, "too many requests\n"),
        Refusal::Busy => busy("too many passwords to check; try again\n"),
        Refusal::Unauthorized => {
            let basic = HeaderValue::from_static("Basic");
            let text = "unauthorized\n";
            line_with(StatusCode::UNAUTHORIZED, text, WWW_AUTHENTICATE, basic)
        }
    }
}

/// The same reply, which keeps the guard until its body has been sent or dropped.
pub(super) fn holding(reply: Reply, guard: impl Send + 'static) -> Reply {
    reply.map(|body| {
        // The closure owns the guard, and the body the closure.
        let body = body.map_err(move |error| {
            let _ = &guard;
            error
        });
        body.boxed_unsync()
    })
}
