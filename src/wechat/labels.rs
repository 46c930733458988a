//! What labels say of a call to WeChat.

use super::CloudFunction;
use crate::labels::labels;

labels! {
    /// A call to WeChat. Its label is the last part of the API's own path.
    Api {
        /// The account list.
        AccountGetall = "account_getall",
        /// The account list through a cloud function.
        InvokeCloudFunction = "invoke_cloud_function",
        /// A token that leaves everybody else's valid.
        StableToken = "stable_token",
        /// A token that invalidates everybody else's.
        Token = "token",
        /// The couriers and their names.
        DeliveryGetall = "delivery_getall",
        /// The live balance of one account.
        QuotaGet = "quota_get",
        /// WeChat's own daily quota figures for one API.
        ApiQuotaGet = "api_quota_get",
    }
}

impl Api {
    /// Returns the call that reads the account list.
    pub(crate) const fn of_account_list(function: Option<&CloudFunction>) -> Self {
        match function {
            None => Self::AccountGetall,
            Some(_) => Self::InvokeCloudFunction,
        }
    }

    /// Returns the path, as WeChat documents it.
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

    pub(crate) const fn mints_token(self) -> bool {
        matches!(self, Self::StableToken | Self::Token)
    }
}

labels! {
    /// Why a call failed, classified by what to do about it.
    Reason {
        /// WeChat is busy. The next attempt may succeed.
        Transient = "transient",
        /// WeChat rejected the access token, or its source gave no usable one.
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
        /// The reply doesn't have the expected form.
        Decode = "decode",
        /// The connection could not be made or broke.
        Network = "network",
        /// The answer was late.
        Timeout = "timeout",
        /// Anything else that WeChat answered.
        Unknown = "unknown",
    }
}

impl Reason {
    /// Reports whether retrying can't help until somebody changes something.
    pub const fn needs_operator(self) -> bool {
        matches!(self, Self::Config | Self::Permission | Self::IpWhitelist)
    }
}

labels! {
    /// What else is known about a failure, besides its reason and errcode, that the explanation depends on.
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
        /// The server's certificate is not from an authority that this machine trusts, or belongs to another host.
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
    /// Returns the recommended kind.
    fn default() -> Self {
        Self::StableToken
    }
}
