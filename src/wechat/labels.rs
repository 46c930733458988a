//! Closed sets of values, each with the text that stands for it on pages and in state files.

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $label)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label's value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use labels;

use super::CloudFunction;

labels! {
    /// A call to WeChat. Its label is the last part of the API's own path.
    Api {
        /// The account list.
        AccountGetall = "account_getall",
        /// The account list through a cloud function.
        InvokeCloudFunction = "invoke_cloud_function",
        /// A token that nobody else loses.
        StableToken = "stable_token",
        /// A token that replaces everybody else's.
        Token = "token",
        /// The couriers and their names.
        DeliveryGetall = "delivery_getall",
        /// The live balance of one account.
        QuotaGet = "quota_get",
        /// WeChat's own daily figures of one API.
        ApiQuotaGet = "api_quota_get",
    }
}

impl Api {
    /// What the account list is read through.
    pub(crate) const fn of_account_list(function: Option<&CloudFunction>) -> Self {
        match function {
            None => Self::AccountGetall,
            Some(_) => Self::InvokeCloudFunction,
        }
    }

    /// Its path, as WeChat documents it.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::AccountGetall => "/cgi-bin/express/business/account/getall",
            Self::InvokeCloudFunction => "/tcb/invokecloudfunction",
            Self::StableToken => "/cgi-bin/stable_token",
            Self::Token => "/cgi-bin/token",
            Self::DeliveryGetall => "/cgi-bin/express/business/delivery/getall",
            Self::QuotaGet => "/cgi-bin/express/business/quota/get",
            Self::ApiQuotaGet => "/cgi-bin/openapi/quota/get",
        }
    }

    /// Whether it asks for a token.
    pub(crate) const fn mints_token(self) -> bool {
        matches!(self, Self::StableToken | Self::Token)
    }
}

labels! {
    /// Why a call failed, as what is to be done about it.
    Reason {
        /// WeChat is busy; the next try may well work.
        Transient = "transient",
        /// The access token was rejected, or its source gave none that can be used.
        Token = "token",
        /// The settings or the request are wrong.
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
        /// Anything else that WeChat answered.
        Unknown = "unknown",
    }
}

impl Reason {
    /// Whether trying again can't help until somebody changes something.
    #[must_use]
    pub const fn needs_operator(self) -> bool {
        matches!(self, Self::Config | Self::Permission | Self::IpWhitelist)
    }
}

labels! {
    /// What is known of a failure beside its reason and errcode, as far as the explanation depends on it.
    Symptom {
        /// The errcode is the cloud function's: WeChat ran it, so the exporter's own call was good.
        FunctionRefused = "function_refused",
        /// The function's result is not an account list.
        FunctionResult = "function_result",
        /// The reply is encrypted: API encryption (API安全) is on.
        Encrypted = "encrypted",
        /// A redirect, a client error without an errcode or a web page, none of which WeChat's API sends.
        Intercepted = "intercepted",
        /// HTTP 407.
        ProxyLogin = "proxy_login",
        /// HTTP 412, WeChat's answer to a request without a Content-Length.
        NoContentLength = "no_content_length",
        /// HTTP 502 from Cloud Run's open-interface service.
        NotInCloudRunList = "not_in_cloud_run_list",
        /// The server's certificate comes from no authority that this machine trusts, or is another host's.
        UntrustedCertificate = "untrusted_certificate",
        /// The server's certificate has expired, or is not valid yet.
        CertificateDates = "certificate_dates",
    }
}

labels! {
    /// Where an app's access token comes from, as `access_token:` in the configuration names it.
    CredentialKind {
        /// Minted by the exporter with `/cgi-bin/stable_token`.
        StableToken = "stable_token",
        /// Minted by the exporter with `/cgi-bin/token`.
        Token = "token",
        /// A file that another program writes.
        File = "file",
        /// A central token server.
        Http = "http",
        /// A command's standard output.
        Command = "command",
        /// A value in Redis or Valkey.
        Redis = "redis",
        /// The file that WeChat Cloud Run mounts (微信令牌).
        Cloudbase = "cloudbase",
        /// No token: Cloud Run's open-interface service (开放接口服务) adds it.
        None = "none",
    }
}

impl Default for CredentialKind {
    /// The recommended one.
    fn default() -> Self {
        Self::StableToken
    }
}
