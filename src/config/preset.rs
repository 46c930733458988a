//! Where well-known libraries keep their tokens in Redis, so that nobody has to look it up in their source.

/// A layout of key and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preset {
    /// As `preset:` names it.
    pub(super) name: &'static str,
    /// What stands before the rest of the key, unless `prefix:` says otherwise.
    prefix: &'static str,
    /// Between the prefix and the appid.
    infix: &'static str,
    /// Whether the appid stands in the key, and what follows it.
    appid: Option<&'static str>,
    /// The field, where the key is a hash.
    pub(super) field: Option<&'static str>,
    /// The hash field with the token's end in epoch milliseconds.
    pub(super) expire_field: Option<&'static str>,
    /// Where in a JSON value the token stands.
    pub(super) token_pointer: Option<&'static str>,
}

const PLAIN: Preset = Preset {
    name: "",
    prefix: "",
    infix: "",
    appid: Some(""),
    field: None,
    expire_field: None,
    token_pointer: None,
};

/// The layouts, as the libraries' sources had them in 2026.
pub(super) const PRESETS: [Preset; 5] = [
    // WxJava's WxMaRedisConfigImpl; its WxMaRedisBetterConfigImpl is the same with a prefix of one's own.
    Preset {
        name: "wxjava",
        prefix: "wa",
        infix: ":access_token:",
        ..PLAIN
    },
    // WxJava's AbstractWxMaRedisConfig. With a maId the prefix is `maConfig:{maId}`.
    Preset {
        name: "wxjava-hash",
        prefix: "maConfig",
        infix: ":accessToken",
        appid: None,
        field: Some("value"),
        expire_field: Some("expire"),
        ..PLAIN
    },
    // The double underscore is silenceper's own.
    Preset {
        name: "silenceper",
        prefix: "gowechat_miniprogram_",
        infix: "_access_token_",
        ..PLAIN
    },
    Preset {
        name: "silenceper-stable",
        prefix: "gowechat_miniprogram_",
        infix: "_stable_access_token_",
        ..PLAIN
    },
    // wechatpy stores a JSON string: the pointer names the whole document.
    Preset {
        name: "wechatpy",
        prefix: "wechatpy",
        infix: ":",
        appid: Some("_access_token"),
        token_pointer: Some(""),
        ..PLAIN
    },
];

impl Preset {
    /// The layout of that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The key of that app's token.
    pub(super) fn key(&self, prefix: Option<&str>, appid: &str) -> String {
        let prefix = prefix.unwrap_or(self.prefix);
        let infix = self.infix;
        match self.appid {
            Some(suffix) => format!("{prefix}{infix}{appid}{suffix}"),
            None => format!("{prefix}{infix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_the_libraries_write() {
        for (name, prefix, key) in [
            ("wxjava", None, "wa:access_token:wx1"),
            ("wxjava", Some("shop"), "shop:access_token:wx1"),
            ("wxjava-hash", None, "maConfig:accessToken"),
            ("wxjava-hash", Some("maConfig:a"), "maConfig:a:accessToken"),
            ("silenceper", None, "gowechat_miniprogram__access_token_wx1"),
            (
                "silenceper-stable",
                None,
                "gowechat_miniprogram__stable_access_token_wx1",
            ),
            ("wechatpy", None, "wechatpy:wx1_access_token"),
        ] {
            let preset = Preset::named(name).unwrap();
            assert_eq!(preset.key(prefix, "wx1"), key);
        }
    }
}
