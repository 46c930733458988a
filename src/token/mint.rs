//! Tokens of the exporter's own, minted by WeChat for an AppSecret.

use secrecy::SecretString;

use super::SOURCE_TIMEOUT;
use super::error::Error;
use crate::blocking::BlockingReads;
use crate::config::{ConfigError, SecretSource};
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
    let owned = source.clone();
    let read = tokio::time::timeout(SOURCE_TIMEOUT, reads.run(move || owned.read()));
    let read = read.await.unwrap_or_else(|_| {
        let text = format!("reading {source} hangs; check the disk or the network share");
        Err(ConfigError(text))
    });
    read.map_err(|error| Error::new(Reason::Config, "the AppSecret can't be read").because(error))
}
