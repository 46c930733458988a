//! Explanations for people, in English and Chinese: what a failure means and how to fix it.
//!
//! The most specific explanation is chosen: by symptom, else by errcode and its place, else by reason. Only one is
//! shown, so that no general one can contradict it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::errcode::{self, API_SECURITY, CLOUD_RUN_LIST, DEPLOY_AGAIN, NEW_TOKEN, TRY_AGAIN};
use super::{Api, CredentialKind, Reason, Symptom};

/// A text in English and Chinese.
pub type Text = [&'static str; 2];

/// What a failure means and how to fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// What happened.
    pub meaning: Text,
    /// How to fix it, with the console page where it is done.
    pub fix: Text,
}

/// The facts that an explanation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What to do about the failure.
    pub reason: Reason,
    /// The call that failed; `None` if none was sent to WeChat, because there was no token.
    pub api: Option<Api>,
    /// WeChat's errcode; 0 if it gave none.
    pub errcode: i64,
    /// What else is known about the failure.
    pub symptom: Option<Symptom>,
}

impl Cause {
    /// Returns the cause of a failure in the exporter itself.
    pub fn unknown() -> Self {
        Self {
            reason: Reason::Unknown,
            api: None,
            errcode: 0,
            symptom: None,
        }
    }

    /// Reports whether the exporter's own daily limit prevented the call, so that nothing was sent. If WeChat's quota
    /// is used up, there is an errcode.
    pub fn throttled(&self) -> bool {
        self.reason == Reason::DailyQuota && self.errcode == 0
    }

    /// Reports whether the same call might succeed from another machine: WeChat itself did not report the failure, or
    /// it refused this machine's address.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.errcode == 0 || self.reason == Reason::IpWhitelist
    }

    /// Returns the explanation for an app with this kind of credential.
    pub fn explanation(&self, credential: CredentialKind) -> Explanation {
        if self.api.is_none() {
            return without_a_call(self.reason, credential);
        }
        if self.throttled() {
            return OWN_DAILY_LIMIT;
        }
        if let Some(symptom) = self.symptom
            && let Some(explanation) = of_symptom(symptom, credential)
        {
            return explanation;
        }
        let Some(row) = errcode::explain(self, credential) else {
            return self.reason.explanation();
        };
        let fix = match row.reason {
            Reason::Token if self.symptom == Some(Symptom::FunctionRefused) => DEPLOY_AGAIN,
            Reason::Token => new_token(credential),
            _ => row.fix,
        };
        explanation(row.meaning, fix)
    }
}

/// Returns the address to add to an IP whitelist, from WeChat's message: `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not
/// in whitelist` (40164), `requestIP: 1.2.3.4` (61004).
pub fn address_to_whitelist(message: &str) -> Option<IpAddr> {
    let is_outside = |c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':';
    let mut addresses = message.split(is_outside).flat_map(str::parse::<IpAddr>);
    addresses.next().map(|address| address.to_canonical())
}

/// What it means that the exporter's own daily limit of calls is reached.
#[rustfmt::skip]
pub const OWN_DAILY_LIMIT: Explanation = explanation(["The exporter's own daily limit of calls is used up", "导出器自身的每日调用上限已用完"],
    ["Calls resume at midnight China time; until then the last snapshot is served. Scrape less often, or raise --wechat.daily-limit.",
     "北京时间零点后恢复调用，在此之前使用最近一次的结果。请降低抓取频率，或调高 --wechat.daily-limit。"]);

#[rustfmt::skip]
const RUN_CHECK: Text = ["Run `check` on the command line: it says what exactly is wrong and how to fix it.",
    "请在命令行运行 check，它会指出具体问题和处理方法。"];

const fn explanation(meaning: Text, fix: Text) -> Explanation {
    Explanation { meaning, fix }
}

/// Explains how an app gets a token that WeChat accepts, in English and Chinese.
#[rustfmt::skip]
pub const fn new_token(credential: CredentialKind) -> Text {
    match credential {
        CredentialKind::StableToken => ["The exporter asks for a new one by itself. A stable token ends early only if another program calls stable_token with force_refresh, or if the AppSecret was reset: stop the one, or configure the newest AppSecret.",
            "导出器会自动重新获取。稳定版 token 只会因其他程序以 force_refresh 调用 stable_token 或重置 AppSecret 而提前失效：请停用 force_refresh，或配置最新的 AppSecret。"],
        CredentialKind::Token => ["The exporter asks for a new one by itself. Another program calls /cgi-bin/token for the same appid, and each call ends the token before it (互踢): use `stable_token` in the configuration, or let one program mint the token for all.",
            "导出器会自动重新获取。有其他程序为同一 appid 调用 /cgi-bin/token，每次都会使之前的 token 失效（互踢）：请在配置中改用 stable_token，或由一个程序统一获取 token。"],
        CredentialKind::File => ["The program that writes the token file must renew the token: see whether it still runs, and whether it is this appid's token. The exporter reads the file again at the next scrape.",
            "写入令牌文件的程序须更新 token：请检查它是否仍在运行，以及写入的是否为该 appid 的 token。导出器会在下一次抓取时重新读取该文件。"],
        CredentialKind::Http => ["The token server must renew the token: see whether it still does, and whether it gives this appid's token. The exporter asks it again at the next scrape.",
            "中控服务器须更新 token：请检查它是否仍在更新，以及返回的是否为该 appid 的 token。导出器会在下一次抓取时重新请求。"],
        CredentialKind::Command => ["The token command must print a token that WeChat accepts: run it by hand, and see where it has the token from and whether it is this appid's. The exporter runs it again at the next scrape.",
            "令牌命令须输出有效的 token：请手动运行该命令，检查 token 从何而来，以及是否属于该 appid。导出器会在下一次抓取时重新运行。"],
        CredentialKind::Redis => ["The program that writes the token to the Redis key must renew it: see whether it still runs, and whether the key holds this appid's token. The exporter reads the key again at the next scrape.",
            "写入该 Redis 键的程序须更新 token：请检查它是否仍在运行，以及该键中是否为该 appid 的 token。导出器会在下一次抓取时重新读取。"],
        CredentialKind::Cloudbase => ["WeChat Cloud Run must renew the mounted token file every 10 minutes: see at cloud.weixin.qq.com/cloudrun, 服务管理 → 云调用, that 微信令牌 is on and lists the path /cgi-bin/express/business/account/getall, and publish a new version.",
            "微信云托管应每 10 分钟更新挂载的令牌文件：请在 cloud.weixin.qq.com/cloudrun 的“服务管理 → 云调用”确认微信令牌已开启且包含路径 /cgi-bin/express/business/account/getall，并发布新版本。"],
        CredentialKind::None => ["Cloud Run's 开放接口服务 adds the token: switch it off and on again at cloud.weixin.qq.com/cloudrun, 服务管理 → 云调用, and publish a new version.",
            "token 由云托管的开放接口服务附上：请在 cloud.weixin.qq.com/cloudrun 的“服务管理 → 云调用”将其关闭后重新开启，并发布新版本。"],
    }
}

#[rustfmt::skip]
fn of_symptom(symptom: Symptom, credential: CredentialKind) -> Option<Explanation> {
    let in_cloud_run = matches!(credential, CredentialKind::Cloudbase | CredentialKind::None);
    Some(match symptom {
        // The errcode says more.
        Symptom::FunctionRefused => return None,
        Symptom::FunctionResult => explanation(["The cloud function's result is not an account list", "云函数的返回结果不是账号列表"],
            ["Let the function return what openapi.logistics.getAllAccount answered, as an object and without JSON.stringify, as the one in cloudfunctions/ does. Where the list is deeper in the result, set `cloud_function.pointer`, for example to /body or /data. The function's own log is in WeChat DevTools, 云开发 → 云函数 → 日志.",
             "请让云函数直接返回 openapi.logistics.getAllAccount 的结果对象（不要用 JSON.stringify），参见 cloudfunctions 中的示例。若列表在结果的内层，请设置 cloud_function.pointer，例如 /body 或 /data。云函数日志在微信开发者工具“云开发 → 云函数 → 日志”。"]),
        Symptom::Encrypted => explanation(["WeChat's reply is encrypted, because API encryption (API安全) is on", "已开启 API安全，微信的回复已加密"], API_SECURITY),
        Symptom::Intercepted => explanation(["Something other than WeChat's API answered", "作答的不是微信接口"],
            ["See whether `--wechat.api-url` is WeChat's, by default https://api.weixin.qq.com. If it is, a proxy, a firewall or a login portal on the way answers in WeChat's place: let api.weixin.qq.com pass.",
             "请检查 --wechat.api-url 是否为微信的域名，默认 https://api.weixin.qq.com。若无误，则是途中的代理、防火墙或登录门户代替微信作答，请放行 api.weixin.qq.com。"]),
        Symptom::ProxyLogin => explanation(["The proxy asks for a user name and a password", "代理要求用户名和密码"],
            ["Give them in HTTPS_PROXY, as http://user:password@host:port, and restart the exporter.",
             "请在 HTTPS_PROXY 中填写，形如 http://user:password@host:port，并重启导出器。"]),
        Symptom::NoContentLength => explanation(["The request arrived without a Content-Length, which WeChat refuses", "请求到达时缺少 Content-Length，被微信拒绝"],
            ["The exporter sends one, so a proxy on the way removes it: let the proxy pass requests unchanged, and see whether `--wechat.api-url` is WeChat's.",
             "导出器会发送该请求头，是途中的代理将其去掉了：请让代理原样转发请求，并检查 --wechat.api-url 是否为微信的域名。"]),
        Symptom::NotInCloudRunList => explanation(["The API's path is not in Cloud Run's list of 云调用", "接口路径不在云托管的云调用列表中"], CLOUD_RUN_LIST),
        Symptom::UntrustedCertificate if in_cloud_run => explanation(["Cloud Run intercepts https with a certificate that this container doesn't trust", "云托管拦截了 https，其证书不受本容器信任"],
            ["Set `api_url: http://api.weixin.qq.com` for this app: while 开放接口服务 is on, Cloud Run wants plain http and secures the call itself.",
             "请将该小程序的 api_url 设为 http://api.weixin.qq.com：开启开放接口服务后，云托管要求使用 http，并自行保障调用安全。"]),
        Symptom::UntrustedCertificate => explanation(["The certificate of WeChat's host is not one that this machine trusts", "微信域名的证书不受本机信任"],
            ["A proxy on the way intercepts https: let api.weixin.qq.com pass it untouched, or add the proxy's root certificate to the system's, or to a file that SSL_CERT_FILE names, and restart the exporter. In WeChat Cloud Run use http://api.weixin.qq.com.",
             "途中的代理拦截了 https：请对 api.weixin.qq.com 免拦截，或将代理的根证书加入系统证书，或写入 SSL_CERT_FILE 指定的文件，并重启导出器。在微信云托管中请使用 http://api.weixin.qq.com。"]),
        Symptom::CertificateDates => explanation(["The certificate of WeChat's host is not valid at the time of this machine's clock", "按本机时钟，微信域名的证书不在有效期内"],
            ["Correct this machine's clock, if it is wrong. If it is right, a proxy on the way shows an old certificate: renew it there.",
             "若本机时钟不准，请校准。若时钟正确，则是途中的代理使用了过期的证书，请在代理处更新。"]),
    })
}

/// Explains a failure to get a token, because of which no call was sent to WeChat.
#[rustfmt::skip]
fn without_a_call(reason: Reason, credential: CredentialKind) -> Explanation {
    match reason {
        Reason::Token => no_token(credential),
        Reason::Config => match credential {
            CredentialKind::StableToken | CredentialKind::Token => explanation(["The AppSecret can't be read", "无法读取 AppSecret"],
                ["WeChat was not asked. The details name the file, variable or credential: create it or correct its permissions, and reload the exporter with SIGHUP.",
                 "尚未调用微信。详情中写明了文件、环境变量或凭证：请创建它或更正其权限，并用 SIGHUP 让导出器重新加载。"]),
            _ => explanation(["The settings of this app's token source are wrong", "该小程序的令牌来源配置有误"],
                ["WeChat was not asked. The details say what can't be used: a headers file, a login, a command or a permission. Correct it and reload the exporter with SIGHUP.",
                 "尚未调用微信。详情中写明了哪一项不可用：请求头文件、登录凭证、命令或权限。请更正后用 SIGHUP 让导出器重新加载。"]),
        },
        Reason::Network => explanation(["This app's token source can't be reached", "无法连接该小程序的令牌来源"],
            ["WeChat was not asked. See whether the token server, Redis or disk that the details name is up, and check DNS, firewall and proxy on the way there.",
             "尚未调用微信。请检查详情中的中控服务器、Redis 或磁盘是否正常，以及途中的 DNS、防火墙和代理。"]),
        Reason::Timeout => explanation(["This app's token source did not answer in time", "该小程序的令牌来源没有及时回复"],
            ["WeChat was not asked. If it is rare, nothing: the next scrape tries again. If it is not, see why the token server, command, Redis or disk that the details name is slow.",
             "尚未调用微信。偶尔出现无需处理，下一次抓取会重试。若经常出现，请检查详情中的中控服务器、命令、Redis 或磁盘为何缓慢。"]),
        Reason::Unknown => explanation(["The exporter itself failed", "导出器自身出错"],
            ["Please report it, with the details below and the log.", "请附上下面的详情和日志反馈给我们。"]),
        _ => reason.explanation(),
    }
}

/// Explains that a token source answered without a usable token.
#[rustfmt::skip]
const fn no_token(credential: CredentialKind) -> Explanation {
    match credential {
        CredentialKind::Http => explanation(["The token server gives no usable token", "中控服务器没有给出可用的 token"],
            ["WeChat was not asked. The details say what the token server answers instead: see whether it runs as it should, and whether the URL and the pointers in the configuration are right.",
             "尚未调用微信。详情中写明了中控服务器返回的内容有何问题：请检查它是否正常运行，以及配置中的 URL 和指针是否正确。"]),
        CredentialKind::Command => explanation(["The token command prints no usable token", "令牌命令没有输出可用的 token"],
            ["WeChat was not asked. Run the command by hand, as the exporter's user, and see what it prints.",
             "尚未调用微信。请以导出器的用户手动运行该命令，查看其输出。"]),
        CredentialKind::Redis => explanation(["The Redis key holds no usable token", "Redis 键中没有可用的 token"],
            ["WeChat was not asked. The details name the key and what is wrong with it: see whether the program that writes it runs, and whether `preset`, `key` and `field` in the configuration match where it writes.",
             "尚未调用微信。详情中写明了键名和问题：请检查写入该键的程序是否在运行，以及配置中的 preset、key 和 field 是否与其写入的位置一致。"]),
        CredentialKind::Cloudbase => explanation(["The token file that WeChat Cloud Run mounts (微信令牌) is missing or holds no usable token", "微信云托管挂载的令牌文件（微信令牌）不存在或没有可用的 token"],
            ["WeChat was not asked. Switch 微信令牌 on at cloud.weixin.qq.com/cloudrun, 服务管理 → 云调用, and publish a new version: only containers of later versions have the file.",
             "尚未调用微信。请在 cloud.weixin.qq.com/cloudrun 的“服务管理 → 云调用”开启微信令牌，并发布新版本：仅之后版本的容器有该文件。"]),
        _ => explanation(["The token file holds no usable token", "令牌文件中没有可用的 token"],
            ["WeChat was not asked. The details name the file and what is wrong with it: see whether the program that writes it runs, and writes to this path.",
             "尚未调用微信。详情中写明了文件和问题：请检查写入该文件的程序是否在运行，以及是否写到该路径。"]),
    }
}

impl Reason {
    /// Returns the explanation to use if only the reason is known.
    #[rustfmt::skip]
    pub const fn explanation(self) -> Explanation {
        let (meaning, fix) = match self {
            Self::Transient => (["WeChat is busy", "微信系统繁忙"], TRY_AGAIN),
            Self::Token => (["WeChat rejected the access token", "微信拒绝了 access_token"], NEW_TOKEN),
            Self::Config => (["The credentials, the settings or the request are wrong", "凭证、配置或请求有误"], RUN_CHECK),
            Self::Permission => (["This Mini Program may not call the logistics API", "该小程序没有物流接口权限"], RUN_CHECK),
            Self::IpWhitelist => (["This machine's address is not in the IP whitelist", "本机 IP 不在 IP白名单中"], RUN_CHECK),
            Self::DailyQuota => (["WeChat's daily quota for this API is used up", "微信对该接口的每日额度已用完"],
                ["Calls go on after midnight, China time. If this comes back, look for another program that calls the same API, and scrape less often (--wechat.min-interval).",
                 "北京时间零点后恢复。若反复出现，请检查是否有其他程序调用同一接口，并降低抓取频率（--wechat.min-interval）。"]),
            Self::Rate => (["WeChat got too many calls in this minute", "一分钟内调用微信过于频繁"],
                ["Nothing, if it is rare: the exporter waits and goes on. If it is not, another program calls the same API too often.",
                 "偶尔出现无需处理，导出器会等待后继续。若经常出现，说明有其他程序过于频繁地调用同一接口。"]),
            Self::Decode => (["WeChat's reply can't be read", "无法解析微信的回复"],
                ["See whether a proxy on the way changes replies. If there is none, please report it with the details below.",
                 "请检查途中是否有代理改写了回复。若没有，请附上下面的详情反馈给我们。"]),
            Self::Network => (["WeChat can't be reached", "无法连接微信"],
                ["Check DNS, firewall and proxy of this machine, for example with: curl https://api.weixin.qq.com",
                 "请检查本机的 DNS、防火墙和代理，例如运行：curl https://api.weixin.qq.com"]),
            Self::Timeout => (["WeChat did not answer in time", "微信没有及时回复"],
                ["If it is rare, nothing: a late answer serves the next scrape. If it is not, check the network and raise the scrape timeout in Prometheus.",
                 "偶尔出现无需处理，迟到的回复会用于下一次抓取。若经常出现，请检查网络，并调大 Prometheus 的抓取超时。"]),
            Self::Unknown => (["WeChat refused the call with an error code that the exporter doesn't know", "微信以导出器未收录的错误码拒绝了调用"],
                ["Look the error code in the details up in WeChat's documentation. The next scrape tries again.",
                 "请按详情中的错误码查阅微信官方文档。下一次抓取会重试。"]),
        };
        explanation(meaning, fix)
    }
}

#[cfg(test)]
mod tests;
