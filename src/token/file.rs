//! A token in a file that another program keeps fresh, read each time it is needed.

use std::io;
use std::path::Path;

use super::error::Error;
use super::parse::{self, TEXT_MAX};
use crate::blocking::BlockingReads;
use crate::config::read_regular;
use crate::wechat::{AccessToken, Reason};

/// `missing` says what is wrong and how to fix it where there is no file.
pub(super) async fn read(
    path: &Path,
    token_pointer: Option<&str>,
    missing: &str,
    reads: &BlockingReads,
) -> Result<AccessToken, Error> {
    let path = path.to_owned();
    let read = reads
        .run(move || read_regular(&path, TEXT_MAX as u64))
        .await;
    let read = read.map_err(|hanging| Error::unreachable().because(hanging))?;
    let (text, metadata) = read.map_err(|error| unreadable(error, missing))?;
    parse::find(&text, token_pointer, metadata.modified().ok())
}

fn unreadable(error: io::Error, missing: &str) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(Reason::Token, missing),
        io::ErrorKind::FileTooLarge => Error::no_token(parse::TOO_LONG),
        io::ErrorKind::PermissionDenied => {
            Error::settings("the exporter's user may not read it; give it the permission")
                .because(error)
        }
        _ => Error::settings("it can't be read; name a regular file on a disk that works")
            .because(error),
    }
}
