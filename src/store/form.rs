//! The form of the state files and of what replicas share: JSON with a version. A snapshot is kept in the form of
//! WeChat's account list, and read by the same code.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::SavedState;
use crate::clock::{Moment, as_unix_millis};
use crate::snapshot::{Dropped, Snapshot};
use crate::wechat::{self, Account, ListLimits};

/// The version of the form, which grows with each change that an older exporter would misread.
const VERSION: u32 = 1;

/// The content, and the app that it belongs to.
#[derive(Serialize)]
struct Owned<'a, T> {
    version: u32,
    appid: &'a str,
    #[serde(flatten)]
    content: T,
}

#[derive(Deserialize)]
struct Owner {
    version: u32,
    appid: String,
}

#[derive(Serialize)]
struct WrittenSnapshot<'a> {
    #[serde(rename = "fetched_unix_ms", with = "as_unix_millis")]
    fetched: SystemTime,
    dropped: Dropped,
    count: usize,
    list: &'a [Account],
}

/// The fields beside the list. The list itself is read like a reply from WeChat.
#[derive(Deserialize)]
struct SnapshotHead {
    #[serde(rename = "fetched_unix_ms", with = "as_unix_millis")]
    fetched: SystemTime,
    /// Rows that were left out of the list, and so are not in the file.
    dropped: Dropped,
}

pub(crate) fn write_state(state: &SavedState, appid: &str) -> Vec<u8> {
    to_json(state, appid)
}

pub(crate) fn read_state(bytes: &[u8], appid: &str) -> Result<SavedState, String> {
    check_owner(bytes, appid)?;
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

pub(crate) fn write_snapshot(snapshot: &Snapshot, appid: &str) -> Vec<u8> {
    let written = WrittenSnapshot {
        fetched: snapshot.fetched,
        dropped: snapshot.dropped,
        count: snapshot.accounts.len(),
        list: &snapshot.accounts,
    };
    to_json(&written, appid)
}

pub(crate) fn read_snapshot(
    bytes: &[u8],
    appid: &str,
    limits: ListLimits,
    now: Moment,
) -> Result<Snapshot, String> {
    check_owner(bytes, appid)?;
    let SnapshotHead { fetched, dropped } =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let list = wechat::read_account_list(bytes, None, limits).map_err(|error| error.to_string())?;
    Ok(Snapshot::new(list, dropped, fetched, now))
}

fn check_owner(bytes: &[u8], appid: &str) -> Result<(), String> {
    let owner: Owner = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if owner.version != VERSION {
        let version = owner.version;
        return Err(format!(
            "it has version {version}, this exporter reads version {VERSION}"
        ));
    }
    if owner.appid != appid {
        return Err("it belongs to another appid".to_owned());
    }
    Ok(())
}

fn to_json<T: Serialize>(content: &T, appid: &str) -> Vec<u8> {
    let owned = Owned {
        version: VERSION,
        appid,
        content,
    };
    serde_json::to_vec(&owned)
        .expect("these forms hold only strings, numbers and string keys, which JSON has")
}
