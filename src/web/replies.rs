//! Replies: their type, and the small ones of plain text.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ALLOW, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
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

/// To `OPTIONS`.
pub(super) fn options(allowed: &'static str) -> Reply {
    let mut reply = line(StatusCode::NO_CONTENT, "");
    let headers = reply.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Reply {
    let mut reply = line(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not allowed here\n",
    );
    let allowed = HeaderValue::from_static(allowed);
    reply.headers_mut().insert(ALLOW, allowed);
    reply
}

pub(super) fn redirect(url: &str) -> Reply {
    let mut reply = line(StatusCode::PERMANENT_REDIRECT, format!("{url}\n"));
    let url = HeaderValue::from_str(url).expect("a URL is visible ASCII");
    reply.headers_mut().insert(LOCATION, url);
    reply
}

/// Too much at this moment; a second later it may be less.
pub(super) fn busy(text: &'static str) -> Reply {
    let mut reply = line(StatusCode::SERVICE_UNAVAILABLE, text);
    let one_second = HeaderValue::from_static("1");
    reply.headers_mut().insert(RETRY_AFTER, one_second);
    reply
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
            let mut reply = line(StatusCode::UNAUTHORIZED, "unauthorized\n");
            let basic = HeaderValue::from_static("Basic");
            reply.headers_mut().insert(WWW_AUTHENTICATE, basic);
            reply
        }
    }
}

/// The same reply, which keeps the guard until its body has been sent or dropped.
pub(super) fn holding(reply: Reply, guard: impl Send + Unpin + 'static) -> Reply {
    reply.map(|body| {
        let _guard = guard;
        Holding { body, _guard }.boxed_unsync()
    })
}

/// A body with something that is dropped with it.
struct Holding<G> {
    body: Body,
    _guard: G,
}

impl<G: Unpin> hyper::body::Body for Holding<G> {
    type Data = Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
