//! Replies: their type, and short ones of plain text.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// The body of a reply. An error breaks the connection, so that nobody takes half of a page for all of it.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

pub(super) type Reply = Response<Body>;

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Returns 200 with a body of that type, which is written while it is sent.
pub(super) fn streamed<B>(content_type: HeaderValue, body: B) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut reply = Response::new(body.map_err(Into::into).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// Returns 200 with a document. It is a stream because hyper asks for a stream's end only once it has sent nearly all:
/// until then, the connection doesn't count as waiting for its client.
pub(super) fn document(content_type: HeaderValue, document: impl Into<Bytes>) -> Reply {
    let whole = Ok::<_, Infallible>(Frame::data(document.into()));
    streamed(content_type, StreamBody::new(stream::iter([whole])))
}

/// Returns a line of plain text, which no browser takes for anything else.
pub(super) fn line(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = streamed(PLAIN_TEXT, Full::new(text.into()));
    *reply.status_mut() = status;
    let nosniff = HeaderValue::from_static("nosniff");
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    reply
}

/// Returns a line of plain text with one more header.
pub(super) fn line_with(
    status: StatusCode,
    text: &'static str,
    name: HeaderName,
    value: &'static str,
) -> Reply {
    let mut reply = line(status, text);
    let value = HeaderValue::from_static(value);
    reply.headers_mut().insert(name, value);
    reply
}

pub(super) fn redirect(url: &str) -> Reply {
    let mut reply = line(StatusCode::PERMANENT_REDIRECT, format!("{url}\n"));
    let location = HeaderValue::from_str(url).expect("a URL is visible ASCII");
    reply.headers_mut().insert(LOCATION, location);
    reply
}

/// Returns a reply for a momentary overload, which asks the client to retry after a second.
pub(super) fn busy(text: &'static str) -> Reply {
    line_with(StatusCode::SERVICE_UNAVAILABLE, text, RETRY_AFTER, "1")
}

/// Returns the reply to a client that was refused access.
pub(super) fn refused(code: StatusCode) -> Reply {
    match code {
        StatusCode::UNAUTHORIZED => line_with(code, "unauthorized\n", WWW_AUTHENTICATE, "Basic"),
        StatusCode::TOO_MANY_REQUESTS => line(code, "too many requests\n"),
        StatusCode::SERVICE_UNAVAILABLE => busy("too many passwords to check; try again\n"),
        // The reason is only in the log, because anybody may be asking.
        _ => line(
            code,
            "the web configuration can't be used; the log says why\n",
        ),
    }
}

/// Keeps the guard until the body of the reply has been sent or dropped.
pub(super) fn holding(reply: Reply, guard: impl Send + 'static) -> Reply {
    reply.map(|body| {
        // The closure owns the guard, and the body owns the closure.
        let body = body.map_err(move |error| {
            let _ = &guard;
            error
        });
        body.boxed_unsync()
    })
}
