//! Tokens sealed with the AppSecret: whoever can read the server but not the secret learns nothing, and nobody else
//! can put a token there.
//!
//! AES-256-GCM under a key that HKDF-SHA256 derives from the AppSecret and the appid. Form: one byte of version, 12 of
//! a random nonce, the sealed text with its tag. What the text is for (appid and token endpoint) is authenticated
//! with it, so that a sealed token can't be put in another one's place.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

/// Tells this use of the AppSecret from any other.
const SALT: &[u8] = b"wechat-logistics-exporter shared token";
const VERSION: u8 = 1;
/// Longer than any token with its seal. Unit: bytes.
const SEALED_MAX: usize = 8 << 10;

/// What a sealed text is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose<'a> {
    pub(super) appid: &'a str,
    /// The API that mints such tokens.
    pub(super) api: &'a str,
}

impl Purpose<'_> {
    fn key(self, app_secret: &SecretString) -> LessSafeKey {
        let salt = Salt::new(HKDF_SHA256, SALT);
        let extracted = salt.extract(app_secret.expose_secret().as_bytes());
        let info = [self.appid.as_bytes()];
        let derived = extracted
            .expand(&info, &AES_256_GCM)
            .expect("a key of 32 bytes is within what HKDF-SHA256 can give");
        LessSafeKey::new(UnboundKey::from(derived))
    }

    fn aad(self) -> Aad<Vec<u8>> {
        let mut aad = vec![VERSION];
        // No appid holds a zero byte.
        aad.extend_from_slice(self.appid.as_bytes());
        aad.push(0);
        aad.extend_from_slice(self.api.as_bytes());
        Aad::from(aad)
    }
}

/// Seals a text; `None` where the system gives no random numbers.
pub(super) fn seal(
    text: &SecretString,
    purpose: Purpose<'_>,
    app_secret: &SecretString,
) -> Option<Vec<u8>> {
    // A random nonce is safe for 2^32 texts under one key; tokens are minted a few times a day.
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut sealed = text.expose_secret().as_bytes().to_vec();
    purpose
        .key(app_secret)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            purpose.aad(),
            &mut sealed,
        )
        .ok()?;
    Some([&[VERSION][..], &nonce, &sealed].concat())
}

/// Opens a sealed text.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn open(
    sealed: &[u8],
    purpose: Purpose<'_>,
    app_secret: &SecretString,
) -> Result<SecretString, &'static str> {
    let form = "it has not the form of a sealed token";
    if sealed.len() > SEALED_MAX {
        return Err(form);
    }
    let (&version, sealed) = sealed.split_first().ok_or(form)?;
    if version != VERSION {
        return Err("another version of the exporter sealed it");
    }
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(form)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| form)?;
    let mut text = text.to_vec();
    let opened = purpose
        .key(app_secret)
        .open_in_place(nonce, purpose.aad(), &mut text)
        .map_err(|_| "it was tampered with, or sealed with another AppSecret")?;
    match std::str::from_utf8(opened) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(form),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PURPOSE: Purpose<'_> = Purpose {
        appid: "wx1",
        api: "stable_token",
    };

    fn sealed() -> Vec<u8> {
        seal(&"canary-token".into(), PURPOSE, &"secret".into()).unwrap()
    }

    #[test]
    fn sealed_token_opens_with_the_same_secret_alone() {
        let opened = open(&sealed(), PURPOSE, &"secret".into()).unwrap();
        assert_eq!(opened.expose_secret(), "canary-token");
        let error = open(&sealed(), PURPOSE, &"another".into()).unwrap_err();
        assert!(error.contains("another AppSecret"), "{error}");
    }

    #[test]
    fn sealed_token_serves_its_own_purpose_alone() {
        for (appid, api) in [("wx2", "stable_token"), ("wx1", "token")] {
            let other = Purpose { appid, api };
            assert!(open(&sealed(), other, &"secret".into()).is_err());
        }
    }

    #[test]
    fn two_seals_of_one_token_differ_and_neither_shows_it() {
        let (first, second) = (sealed(), sealed());
        assert_ne!(first, second);
        for sealed in [first, second] {
            assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let sealed = sealed();
        for index in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[index] ^= 1;
            assert!(
                open(&tampered, PURPOSE, &"secret".into()).is_err(),
                "{index}"
            );
        }
    }

    proptest! {
        #[test]
        fn anything_at_all_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&bytes, PURPOSE, &"secret".into()).is_err());
        }
    }
}
