//! A token in Redis or Valkey, where SDKs of other languages keep theirs. Read each time it is needed.

use std::time::{Duration, SystemTime};

use super::SOURCE_TIMEOUT;
use super::error::Error;
use super::parse;
use crate::config::RedisTokenConfig;
use crate::redis::{Client, Error as RedisError};
use crate::wechat::AccessToken;

/// A token is used this long after its end by the source's own word.
///
/// SDKs write the end down to 200 s (WxJava) too early, and a token that WeChat replaced works for 5 minutes more.
const ENDED_GRACE: Duration = Duration::from_secs(300);

/// What Redis says of the key.
#[derive(Default)]
struct Stored {
    text: Option<Vec<u8>>,
    /// Content of `expire_field`.
    expire: Option<Vec<u8>>,
    /// Time that the key itself has left.
    ttl: Option<Duration>,
}

pub(super) async fn read(config: &RedisTokenConfig, client: &Client) -> Result<AccessToken, Error> {
    let now = SystemTime::now();
    let stored = stored(config, client).await;
    let stored = stored.map_err(|error| describe(error, config))?;
    let Some(text) = stored.text else {
        return Err(Error::no_token(
            "there is nothing there; the program that keeps the token has written none, or under another key",
        ));
    };
    let found = parse::find(&text, &config.pointers)?;
    let written_end = || parse::end(&serde_json::from_slice(&stored.expire?).ok()?);
    let end = written_end().or(found.end);
    if let Some(ended) = end.and_then(|end| now.duration_since(end).ok())
        && ended > ENDED_GRACE
    {
        return Err(Error::no_token(format!(
            "its token ended {} s ago; the program that keeps it has stopped",
            ended.as_secs()
        )));
    }
    Ok(AccessToken {
        secret: found.token,
        // Not by `expires_in`: nobody knows when that was stored.
        expires: end.or_else(|| now.checked_add(stored.ttl?)),
    })
}

async fn stored(config: &RedisTokenConfig, client: &Client) -> Result<Stored, RedisError> {
    let key = config.key.as_str();
    let mut stored = Stored::default();
    match (&config.field, &config.expire_field) {
        (None, _) => {
            let get = redis::cmd("GET").arg(key).take();
            stored.text = client.run(&get, SOURCE_TIMEOUT).await?;
        }
        (Some(field), None) => {
            let get = redis::cmd("HGET").arg(key).arg(field).take();
            stored.text = client.run(&get, SOURCE_TIMEOUT).await?;
        }
        (Some(field), Some(expire_field)) => {
            let get = redis::cmd("HMGET")
                .arg(key)
                .arg(field)
                .arg(expire_field)
                .take();
            (stored.text, stored.expire) = client.run(&get, SOURCE_TIMEOUT).await?;
        }
    }
    let pttl = redis::cmd("PTTL").arg(key).take();
    stored.ttl = match client.run::<i64>(&pttl, SOURCE_TIMEOUT).await {
        Ok(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
        // A user with the least permissions may not be allowed this; then the end is unknown.
        Err(RedisError::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(stored)
}

fn describe(error: RedisError, config: &RedisTokenConfig) -> Error {
    match &error {
        RedisError::PasswordFile(_) => Error::settings(
            "its password_file must be a file with one line that the exporter's user may read",
        )
        .because(error),
        RedisError::Url | RedisError::Login | RedisError::Database => Error::settings(error),
        RedisError::Refused(code) if code == "NOPERM" => {
            Error::settings("its user may not read this key; give it the permission")
        }
        RedisError::Refused(code) if code == "WRONGTYPE" => Error::settings(match config.field {
            Some(_) => "the key does not hold a hash; remove `field`",
            None => "the key does not hold a plain value; set `field` if it is a hash",
        }),
        _ => Error::unreachable().because(error),
    }
}
