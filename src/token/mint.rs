//! Tokens of the exporter's own, minted by WeChat for an AppSecret.

use secrecy::SecretString;

use super::SOURCE_TIMEOUT;
use super::error::Error;
use crate::blocking::BlockingReads;
use crate::config::SecretSource;
use crate::wechat::{AccessToken, Api, Client, Meter, Reason};

/// Spends a call of `api`. The secret is read afresh, so that a rotated one works from the next token on.
pub(super) async fn mint(
    api: Api,
    appid: &str,
    secret: &SecretSource,
    reads: &BlockingReads,
    client: &Client,
    meter: &dyn Meter,
) -> Result<AccessToken, Error> {
    let secret = read_secret(secret, reads).await?;
    let minted = client.mint_token(api, appid, &secret, meter).await;
    minted.map_err(Error::mint)
}

async fn read_secret(source: &SecretSource, reads: &BlockingReads) -> Result<SecretString, Error> {
    let unreadable = || Error::new(Reason::Config, "the AppSecret can't be read");
    let hangs = || {
        let text = format!("reading {source} hangs; check the disk or the network share");
        unreadable().because(std::io::Error::other(text))
    };
    let owned = source.clone();
    let read = tokio::time::timeout(SOURCE_TIMEOUT, reads.run(move || owned.read()));
    match read.await {
        Ok(Ok(secret)) => secret.map_err(|error| unreadable().because(error)),
        Ok(Err(_)) | Err(_) => Err(hangs()),
    }
}
