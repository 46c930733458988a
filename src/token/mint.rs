//! Tokens of our own, minted from WeChat with the AppSecret.

use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use super::SOURCE_TIMEOUT;
use super::error::Error;
use super::kept::{Obtained, REFRESH_MARGIN};
use crate::blocking::{BlockingReads, Hanging};
use crate::config::{ConfigError, SecretSource};
use crate::wechat::{self, AccessToken, Client, Meter};

/// How long a token lives where WeChat does not say. `getAccessToken`, seen 2026-11.
const USUAL_LIFETIME: Duration = Duration::from_secs(7200);

/// The right to mint tokens for one appid.
#[derive(Debug)]
pub(super) struct Mint {
    pub(super) appid: String,
    pub(super) secret: SecretSource,
    pub(super) api: MintEndpoint,
    pub(super) aside: BlockingReads,
}

/// The API that mints.
#[derive(Clone, Copy, Debug)]
pub(super) enum MintEndpoint {
    /// Gives all its users the same token, and never by force here: force ends the token of the others.
    StableToken,
    /// Ends the token of everybody else.
    Token,
}

/// The calls that mint, as far as they are needed here: WeChat's client, or a test's.
pub(super) trait Mints: Sync {
    /// Sends one call.
    fn mint(
        &self,
        api: MintEndpoint,
        appid: &str,
        secret: &SecretString,
        meter: &dyn Meter,
    ) -> impl Future<Output = Result<AccessToken, wechat::Error>> + Send;
}

impl Mints for Client {
    async fn mint(
        &self,
        api: MintEndpoint,
        appid: &str,
        secret: &SecretString,
        meter: &dyn Meter,
    ) -> Result<AccessToken, wechat::Error> {
        match api {
            MintEndpoint::StableToken => self.stable_token(appid, secret, meter).await,
            MintEndpoint::Token => self.token(appid, secret, meter).await,
        }
    }
}

impl Mint {
    /// Spends a call.
    ///
    /// The secret is read afresh, so that a rotated one works from the next mint on.
    pub(super) async fn obtain(
        &self,
        client: &impl Mints,
        meter: &dyn Meter,
    ) -> Result<Obtained, Error> {
        let secret = self.read_secret().await?;
        let minted = client.mint(self.api, &self.appid, &secret, meter);
        minted.await.map(kept).map_err(Error::Mint)
    }

    async fn read_secret(&self) -> Result<SecretString, Error> {
        let source = self.secret.clone();
        let read = self.aside.run(move || source.read());
        match tokio::time::timeout(SOURCE_TIMEOUT, read).await {
            Ok(Ok(secret)) => secret.map_err(Error::Secret),
            Ok(Err(Hanging)) | Err(_) => Err(Error::Secret(ConfigError(format!(
                "reading {} hangs; mend the disk or the network share that it lies on",
                self.secret
            )))),
        }
    }
}

fn kept(token: AccessToken) -> Obtained {
    let lifetime = token.expires.map_or(USUAL_LIFETIME, |expires| {
        let now = SystemTime::now();
        expires.duration_since(now).unwrap_or_default()
    });
    Obtained {
        token,
        keep: lifetime.saturating_sub(REFRESH_MARGIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;
    use crate::wechat::Reason;

    #[tokio::test]
    async fn secret_whose_reading_hangs_is_named_with_a_cure() {
        let mint = Mint {
            appid: "wx1".into(),
            secret: SecretSource::File("/mnt/gone/secret".into()),
            api: MintEndpoint::StableToken,
            aside: BlockingReads::default(),
        };
        let (end, hanging) = std::sync::mpsc::channel::<()>();
        let mut earlier = Box::pin(mint.aside.run(move || hanging.recv()));
        // It has its turn and its thread once it was asked.
        assert!(futures_util::poll!(&mut earlier).is_pending());
        let error = mint.read_secret().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert_eq!(
            chain(&error),
            "the AppSecret can't be read: reading secret file /mnt/gone/secret hangs; mend the disk or the network \
             share that it lies on"
        );
        drop(end);
    }

    #[test]
    fn minted_token_is_kept_until_five_minutes_before_its_end() {
        for (lifetime, keep) in [
            (Some(7200), 6900),
            (Some(345), 45),
            (Some(300), 0),
            (Some(10), 0),
            (None, 6900),
        ] {
            let expires = lifetime.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
            let obtained = kept(AccessToken {
                secret: "tok".into(),
                expires,
            });
            let keep = Duration::from_secs(keep);
            // The clock goes on between the two readings.
            assert!(obtained.keep <= keep, "{lifetime:?}");
            assert!(
                obtained.keep + Duration::from_secs(30) >= keep,
                "{lifetime:?}"
            );
        }
    }
}
