//! The calls that can be sent to WeChat and the reasons for which they fail: the two closed label sets.

use std::fmt;

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of their declaration; a counter exists for each from the start.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label's value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The value that a label names, if it is one of ours (state files hold labels).
            #[must_use]
            pub fn from_label(label: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == label)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

labels! {
    /// A call to WeChat. Its label is the last part of the API's own path.
    Endpoint {
        /// `GET /cgi-bin/express/business/account/getall`: the account list.
        AccountGetall = "account_getall",
        /// `POST /tcb/invokecloudfunction`: the account list through a cloud function.
        InvokeCloudFunction = "invoke_cloud_function",
        /// `POST /cgi-bin/stable_token`: a token that nobody else loses.
        StableToken = "stable_token",
        /// `GET /cgi-bin/token`: a token that replaces everybody else's.
        Token = "token",
        /// `GET /cgi-bin/express/business/delivery/getall`: the couriers and their names.
        DeliveryGetall = "delivery_getall",
        /// `POST /cgi-bin/express/business/quota/get`: the live balance of one account.
        QuotaGet = "quota_get",
        /// `POST /cgi-bin/openapi/quota/get`: WeChat's own daily figures of one API.
        ApiQuotaGet = "api_quota_get",
    }
}

labels! {
    /// Why a call failed, as what is to be done about it.
    Reason {
        /// WeChat is busy; the next try may well work.
        Transient = "transient",
        /// The access token was rejected, or its source gave none that can be used.
        Token = "token",
        /// The credentials or the request are wrong; only the operator can mend it.
        Config = "config",
        /// The Mini Program may not call this API.
        Permission = "permission",
        /// The machine's address is not in the Mini Program's IP whitelist.
        IpWhitelist = "ip_whitelist",
        /// WeChat's daily quota of this API is used up.
        DailyQuota = "daily_quota",
        /// Too many calls in this minute.
        Rate = "rate",
        /// The reply can't be read as what it should be.
        Decode = "decode",
        /// No connection, or it broke.
        Network = "network",
        /// No answer in time.
        Timeout = "timeout",
        /// Anything else that WeChat said.
        Unknown = "unknown",
    }
}

impl Reason {
    /// Whether trying again can't help until somebody mends something.
    #[must_use]
    pub const fn needs_mending(self) -> bool {
        matches!(self, Self::Config | Self::Permission | Self::IpWhitelist)
    }
}
