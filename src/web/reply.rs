//! Replies: their body, and the small ones of plain text.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::routes::Place;
use crate::exposition::Page;

/// A body; an error breaks the connection, so that nobody takes half of a page for all of it.
pub(super) struct Body {
    content: UnsyncBoxBody<Bytes, io::Error>,
    /// Held until the body is sent or dropped.
    pub(super) place: Option<Place>,
}

pub(super) type Reply = Response<Body>;

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let content = Full::new(bytes).map_err(|never| match never {});
        Self {
            content: content.boxed_unsync(),
            place: None,
        }
    }
}

impl From<Page> for Body {
    fn from(page: Page) -> Self {
        Self {
            content: page.boxed_unsync(),
            place: None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.content).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

pub(super) const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_SNIFF: (HeaderName, HeaderValue) = (
    hyper::header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// A body of that type.
pub(super) fn reply(status: StatusCode, content_type: HeaderValue, body: impl Into<Body>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// A line of plain text, which no browser takes for anything else.
pub(super) fn line(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = reply(status, PLAIN_TEXT, text.into());
    let (name, value) = NO_SNIFF;
    reply.headers_mut().insert(name, value);
    reply
}

/// 405 with what would have been allowed.
pub(super) fn method_not_allowed(allowed: &'static str) -> Reply {
    let mut reply = line(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not allowed here\n",
    );
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}
