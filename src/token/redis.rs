//! A token in Redis or Valkey, where SDKs of other languages keep theirs. Read each time it is needed.

use std::time::{Duration, SystemTime};

use super::SOURCE_TIMEOUT;
use super::error::Error;
use super::parse;
use crate::clock::from_unix_millis;
use crate::config::RedisTokenConfig;
use crate::redis::{Client, Error as RedisError};
use crate::wechat::AccessToken;

/// A token is used this long after its end by the source's own word.
///
/// SDKs write the end down to 200 s (WxJava) too early, and a token that WeChat replaced works for 5 minutes more.
const ENDED_GRACE: Duration = Duration::from_secs(300);

pub(super) async fn read(config: &RedisTokenConfig, client: &Client) -> Result<AccessToken, Error> {
    let now = SystemTime::now();
    let stored = stored(config, client).await;
    let stored = stored.map_err(|error| describe(error, config))?;
    let Some(text) = stored.text else {
        return Err(Error::no_token(
            "there is nothing there; the program that keeps the token has written none, or under another key",
        ));
    };
    let end = stored.expire.as_deref().and_then(unix_millis);
    if let Some(ended) = end.and_then(|end| now.duration_since(end).ok())
        && ended > ENDED_GRACE
    {
        return Err(Error::no_token(format!(
            "its token ended {} s ago; the program that keeps it has stopped",
            ended.as_secs()
        )));
    }
    // Nobody knows when seconds beside a token were stored.
    let mut token = parse::find(&text, config.token_pointer.as_deref(), None)?;
    let end_of_key = || now.checked_add(stored.time_left?);
    token.expires = end.or_else(end_of_key);
    Ok(token)
}

struct Stored {
    text: Option<Vec<u8>>,
    /// Content of `expire_field`.
    expire: Option<Vec<u8>>,
    /// That the key has; `None`: it doesn't end, or the user may not ask.
    time_left: Option<Duration>,
}

async fn stored(config: &RedisTokenConfig, client: &Client) -> Result<Stored, RedisError> {
    let key = &config.key;
    let values: Vec<Option<Vec<u8>>> = match &config.field {
        None => {
            let mut get = redis::cmd("GET");
            vec![client.run(get.arg(key), SOURCE_TIMEOUT).await?]
        }
        Some(field) => {
            let mut get = redis::cmd("HMGET");
            let get = get.arg(key).arg(field).arg(&config.expire_field);
            client.run(get, SOURCE_TIMEOUT).await?
        }
    };
    let mut values = values.into_iter();
    let mut time_left = redis::cmd("PTTL");
    let time_left = client.run::<i64>(time_left.arg(key), SOURCE_TIMEOUT);
    let time_left = match time_left.await {
        Ok(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
        Err(RedisError::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Stored {
        text: values.next().flatten(),
        expire: values.next().flatten(),
        time_left,
    })
}

fn unix_millis(text: &[u8]) -> Option<SystemTime> {
    let millis = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    // 0 is how some SDKs write "none".
    from_unix_millis(millis).filter(|_| millis > 0)
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
