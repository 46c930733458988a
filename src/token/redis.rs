//! Reads a token from Redis or Valkey, where SDKs of other languages keep theirs, each time it is needed.

use std::time::{Duration, SystemTime};

use super::SOURCE_TIMEOUT;
use super::error::{no_token, settings, unreachable};
use super::parse;
use crate::clock::from_unix_millis;
use crate::config::RedisTokenConfig;
use crate::redis::{Client, Error as RedisError};
use crate::wechat::{AccessToken, Error};

pub(super) async fn read(config: &RedisTokenConfig, client: &Client) -> Result<AccessToken, Error> {
    let stored = stored(config, client).await;
    let mut values = stored.map_err(|error| describe(error, config))?.into_iter();
    let text = values.next().flatten().ok_or_else(|| {
        no_token(
            "there is nothing there; the program that keeps the token has written none, or under another key",
        )
    })?;
    let end = values.next().flatten().as_deref().and_then(unix_millis);
    // A lifetime beside the token is ignored, because it is not known when it was stored.
    let mut token = parse::find(&text, config.token_pointer.as_deref(), None)?;
    token.expires = match end {
        None => end_of_key(&config.key, client).await,
        end => end,
    };
    Ok(token)
}

/// Returns the value of the key or, if it is a hash, the token's field and `expire_field`.
async fn stored(
    config: &RedisTokenConfig,
    client: &Client,
) -> Result<Vec<Option<Vec<u8>>>, RedisError> {
    match &config.field {
        None => {
            let mut get = redis::cmd("GET");
            let value = client.run(get.arg(&config.key), SOURCE_TIMEOUT).await?;
            Ok(vec![value])
        }
        Some(field) => {
            let mut get = redis::cmd("HMGET");
            let get = get.arg(&config.key).arg(field).arg(&config.expire_field);
            client.run(get, SOURCE_TIMEOUT).await
        }
    }
}

fn unix_millis(text: &[u8]) -> Option<SystemTime> {
    let millis = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    // Some SDKs write 0 for "none".
    from_unix_millis(millis).filter(|_| millis > 0)
}

/// Returns when the key expires; `None` if it doesn't or if the Redis user may not ask.
async fn end_of_key(key: &str, client: &Client) -> Option<SystemTime> {
    let now = SystemTime::now();
    let mut time_left = redis::cmd("PTTL");
    let millis: i64 = client.run(time_left.arg(key), SOURCE_TIMEOUT).await.ok()?;
    now.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}

fn describe(error: RedisError, config: &RedisTokenConfig) -> Error {
    match &error {
        RedisError::PasswordFile(_) => settings(
            "its password_file must be a file with one line that the exporter's user may read",
        )
        .because(&error),
        RedisError::Url | RedisError::Login | RedisError::Database => settings(error),
        RedisError::Refused(code) if code == "NOPERM" => {
            settings("its user may not read this key; give it the permission")
        }
        RedisError::Refused(code) if code == "WRONGTYPE" => settings(match config.field {
            Some(_) => "the key does not hold a hash; remove `field`",
            None => "the key does not hold a plain value; set `field` if it is a hash",
        }),
        _ => unreachable(&error),
    }
}
