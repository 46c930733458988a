//! Tokens of the exporter's own, minted by WeChat for an AppSecret.

use std::time::{Duration, SystemTime};

use super::SOURCE_TIMEOUT;
use super::error::Error;
use crate::blocking::{BlockingReads, Hanging};
use crate::config::SecretSource;
use crate::wechat::{AccessToken, Api, Client, Meter};

/// How long a token lives where WeChat doesn't say (`getAccessToken`, seen 2026-11).
const USUAL_LIFETIME: Duration = Duration::from_secs(7200);

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
    let minted = match api {
        Api::Token => client.token(appid, &secret, meter).await,
        // Never by force: that would end the token of everybody else.
        _ => client.stable_token(appid, &secret, meter).await,
    };
    let mut token = minted.map_err(Error::mint)?;
    let usual_end = || SystemTime::now().checked_add(USUAL_LIFETIME);
    token.expires = token.expires.or_else(usual_end);
    Ok(token)
}

async fn read_secret(
    source: &SecretSource,
    reads: &BlockingReads,
) -> Result<secrecy::SecretString, Error> {
    let unreadable = || Error::new(crate::wechat::Reason::Config, "the AppSecret can't be read");
    let owned = source.clone();
    let read = reads.run(move || owned.read());
    match tokio::time::timeout(SOURCE_TIMEOUT, read).await {
        Ok(Ok(secret)) => secret.map_err(|error| unreadable().because(error)),
        Ok(Err(Hanging)) | Err(_) => Err(unreadable().because(crate::config::ConfigError(
            format!("reading {source} hangs; check the disk or the network share that it is on"),
        ))),
    }
}
