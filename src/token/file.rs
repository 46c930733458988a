//! Reads a token from a file that another program keeps up to date, each time it is needed.

use std::io;
use std::path::Path;

use super::error::{failed, no_token, settings};
use super::parse::{self, TEXT_MAX};
use crate::blocking::BlockingReads;
use crate::config::read_regular;
use crate::wechat::{AccessToken, Error, Reason};

pub(super) async fn read(
    path: &Path,
    token_pointer: Option<&str>,
    reads: &BlockingReads,
) -> Result<AccessToken, Error> {
    let path = path.to_owned();
    let read = reads.run(move || read_regular(&path, TEXT_MAX as u64));
    let (text, metadata) = read.await.map_err(|error| unreadable(&error))?;
    parse::find(&text, token_pointer, metadata.modified().ok())
}

fn unreadable(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let text = "does not exist; see whether the program that writes it runs";
            failed(Reason::Token, text)
        }
        io::ErrorKind::FileTooLarge => no_token(parse::TOO_LONG),
        _ => settings("it must be a regular file that the exporter's user may read").because(error),
    }
}
