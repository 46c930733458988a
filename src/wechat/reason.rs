//! Why calls fail, what each reason means, and what to do about it where no errcode tells more.

use super::Explanation;
use super::labels::labels;

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

    /// What it means for people, and what to do about it.
    #[must_use]
    pub const fn explanation(self) -> Explanation {
        let ([meaning, cure], [meaning_zh, cure_zh]) = match self {
            Self::Transient => (
                [
                    "WeChat is busy",
                    "Nothing: the next scrape tries again. If it lasts for hours, look for an announcement of WeChat's.",
                ],
                [
                    "微信系统繁忙",
                    "无需处理，下一次抓取会重试。若持续数小时，请查看微信官方公告。",
                ],
            ),
            Self::Token => (
                [
                    "WeChat rejected the access token",
                    "Check where this app's token comes from: is the file, token server or Redis key up to date? If another program asks /cgi-bin/token for the same app, each of its tokens ends this one; move it to the stable token.",
                ],
                [
                    "微信拒绝了 access_token",
                    "请检查该小程序的令牌来源：文件、中控服务器或 Redis 键是否为最新。若有其他程序用 /cgi-bin/token 为同一小程序取令牌，会使当前令牌失效，请改用稳定版接口（stable_token）。",
                ],
            ),
            Self::Config => (
                [
                    "The credentials or the request are wrong",
                    "Compare appid and AppSecret with mp.weixin.qq.com (开发管理 → 开发设置), correct them and reload the exporter with SIGHUP. “check” on the command line says what exactly is wrong.",
                ],
                [
                    "凭证或请求有误",
                    "请在 mp.weixin.qq.com 的“开发管理 → 开发设置”核对 AppID 和 AppSecret，更正后用 SIGHUP 让导出器重新加载。命令行的 check 会指出具体问题。",
                ],
            ),
            Self::Permission => (
                [
                    "This Mini Program may not call the logistics API",
                    "Open 物流助手 for it at mp.weixin.qq.com. With a service provider's token, the shop must have granted permission set 45 or 71.",
                ],
                [
                    "该小程序没有物流接口权限",
                    "请在 mp.weixin.qq.com 为其开通“物流助手”。若使用服务商令牌，商家须授予权限集 45 或 71。",
                ],
            ),
            Self::IpWhitelist => (
                [
                    "This machine's address is not in the Mini Program's IP whitelist",
                    "Add the address that the message names at mp.weixin.qq.com: 开发管理 → 开发设置 → IP白名单. It works after about five minutes.",
                ],
                [
                    "本机 IP 不在小程序的 IP 白名单中",
                    "请在 mp.weixin.qq.com 的“开发管理 → 开发设置 → IP白名单”中添加消息里给出的 IP，约五分钟后生效。",
                ],
            ),
            Self::DailyQuota => (
                [
                    "WeChat's daily quota for this API is used up",
                    "Calls go on after midnight, China time. If this comes back, look for another program that calls the same API, and scrape less often (--wechat.min-interval).",
                ],
                [
                    "微信对该接口的每日额度已用完",
                    "北京时间零点后恢复。若反复出现，请检查是否有其他程序调用同一接口，并降低抓取频率（--wechat.min-interval）。",
                ],
            ),
            Self::Rate => (
                [
                    "WeChat got too many calls in this minute",
                    "Nothing, if it is rare: the exporter waits and goes on. If it is not, another program calls the same API too often.",
                ],
                [
                    "一分钟内调用微信过于频繁",
                    "偶尔出现无需处理，导出器会等待后继续。若经常出现，说明有其他程序过于频繁地调用同一接口。",
                ],
            ),
            Self::Decode => (
                [
                    "WeChat's reply can't be read",
                    "Look whether a proxy answers in WeChat's place. With a cloud function, check what the function returns. Otherwise please report it with the details below.",
                ],
                [
                    "无法解析微信的回复",
                    "请检查是否有代理代替微信作答；若使用云函数，请检查其返回内容。否则请附上下面的详情反馈给我们。",
                ],
            ),
            Self::Network => (
                [
                    "WeChat can't be reached",
                    "Check DNS, firewall and proxy of this machine, for example with: curl https://api.weixin.qq.com",
                ],
                [
                    "无法连接微信",
                    "请检查本机的 DNS、防火墙和代理，例如运行：curl https://api.weixin.qq.com",
                ],
            ),
            Self::Timeout => (
                [
                    "WeChat did not answer in time",
                    "If it is rare, nothing: a late answer serves the next scrape. If it is not, check the network and raise the scrape timeout in Prometheus.",
                ],
                [
                    "微信没有及时回复",
                    "偶尔出现无需处理，迟到的回复会用于下一次抓取。若经常出现，请检查网络，并调大 Prometheus 的抓取超时。",
                ],
            ),
            Self::Unknown => (
                [
                    "WeChat refused the call for a reason that the exporter doesn't know",
                    "Look the error code up in WeChat's documentation; the details below say which it is. The next scrape tries again.",
                ],
                [
                    "微信拒绝了调用，原因未知",
                    "请按下面详情中的错误码查阅微信官方文档。下一次抓取会重试。",
                ],
            ),
        };
        explanation([meaning, cure], [meaning_zh, cure_zh])
    }

    /// The same where no call was sent to WeChat, for want of a token.
    #[must_use]
    pub const fn explanation_without_a_call(self) -> Explanation {
        match self {
            Self::Token => explanation(
                [
                    "This app's token source gives no token that can be used",
                    "WeChat was not asked. See why whatever keeps the token fresh doesn't: the details say which file, token server, command or Redis key it is and what it gives instead.",
                ],
                [
                    "该小程序的令牌来源没有给出可用的令牌",
                    "尚未调用微信。请检查负责更新令牌的程序：详情中写明了是哪个文件、中控服务器、命令或 Redis 键，以及它给出的内容有何问题。",
                ],
            ),
            Self::Config => explanation(
                [
                    "The settings of this app's token source are wrong",
                    "WeChat was not asked. The details say what can't be used: a secret, a headers file, a login, a command or a permission. Mend it and reload the exporter with SIGHUP.",
                ],
                [
                    "该小程序的令牌来源配置有误",
                    "尚未调用微信。详情中写明了哪一项不可用：密钥、请求头文件、登录凭证、命令或权限。请更正后用 SIGHUP 让导出器重新加载。",
                ],
            ),
            Self::Network => explanation(
                [
                    "This app's token source can't be reached",
                    "WeChat was not asked. See whether the token server, Redis or disk that the details name is up, and check DNS, firewall and proxy on the way there.",
                ],
                [
                    "无法连接该小程序的令牌来源",
                    "尚未调用微信。请检查详情中的中控服务器、Redis 或磁盘是否正常，以及途中的 DNS、防火墙和代理。",
                ],
            ),
            Self::Timeout => explanation(
                [
                    "This app's token source did not answer in time",
                    "WeChat was not asked. If it is rare, nothing: the next scrape tries again. If it is not, see why the token server, command, Redis or disk that the details name is slow.",
                ],
                [
                    "该小程序的令牌来源没有及时回复",
                    "尚未调用微信。偶尔出现无需处理，下一次抓取会重试。若经常出现，请检查详情中的中控服务器、命令、Redis 或磁盘为何缓慢。",
                ],
            ),
            _ => self.explanation(),
        }
    }
}

const fn explanation(
    [meaning, cure]: [&'static str; 2],
    [meaning_zh, cure_zh]: [&'static str; 2],
) -> Explanation {
    Explanation {
        meaning,
        cure,
        meaning_zh,
        cure_zh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own_in_both_languages() {
        let mut said: Vec<_> = Reason::ALL
            .iter()
            .flat_map(|reason| {
                let without = reason.explanation_without_a_call();
                let of_its_own = without != reason.explanation();
                [Some(reason.explanation()), of_its_own.then_some(without)]
            })
            .flatten()
            .flat_map(|said| [said.meaning, said.cure, said.meaning_zh, said.cure_zh])
            .collect();
        assert!(said.iter().all(|phrase| !phrase.is_empty()));
        let phrases = said.len();
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), phrases);
    }

    #[test]
    fn chinese_texts_are_chinese() {
        for said in Reason::ALL
            .iter()
            .flat_map(|reason| [reason.explanation(), reason.explanation_without_a_call()])
        {
            for phrase in [said.meaning_zh, said.cure_zh] {
                assert!(
                    phrase
                        .chars()
                        .any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
                    "{phrase}"
                );
            }
        }
    }
}
