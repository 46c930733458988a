//! The page's languages, and every text of the page in both, side by side.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// Chooses the language of the page's own switch (`?lang=zh`), or else the first one that the browser lists and the
    /// page has. Browsers list the preferred language first.
    pub(crate) fn choose(lang: Option<&str>, accept_language: Option<&str>) -> Self {
        let accepted = accept_language.unwrap_or_default().split(',');
        let mut tags = lang.into_iter().chain(accepted);
        tags.find_map(Self::of_tag).unwrap_or(Self::English)
    }

    /// Parses the primary language of a tag such as `zh-CN;q=0.9`.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', ';']).next()?.trim();
        match primary.to_ascii_lowercase().as_str() {
            "zh" => Some(Self::Chinese),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// Returns the BCP 47 tag.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }
}

/// A text in English and in Chinese.
pub(crate) type Text = [&'static str; 2];

/// Returns `template` with each name in braces replaced by its value.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

macro_rules! texts {
    ($($key:ident: $english:literal, $chinese:literal;)+) => {
        /// The texts of one language. `{name}` stands for a value; see [`fill`].
        pub(crate) struct Texts {
            pub(crate) language: Language,
            $(pub(crate) $key: &'static str,)+
        }

        const ENGLISH: Texts = Texts { language: Language::English, $($key: $english,)+ };
        const CHINESE: Texts = Texts { language: Language::Chinese, $($key: $chinese,)+ };

        #[cfg(test)]
        const PAIRS: &[(&str, &str)] = &[$(($english, $chinese),)+];
    };
}

texts! {
    title: "WeChat waybill balances", "微信电子面单余额";
    skip: "Skip to the accounts", "跳到账号列表";
    language_switch: "Language", "语言";
    all_apps: "All apps", "全部小程序";
    as_of: "As of {time} China time. This page makes no calls to WeChat: it shows what the last scrape fetched.",
        "截至北京时间 {time}。打开本页不会调用微信接口，只显示最近一次抓取的结果。";

    verdict_ok: "All apps are healthy.", "所有小程序均正常。";
    verdict_info: "No urgent problems.", "没有紧急问题。";
    verdict_warning: "Some problems need attention soon.", "有问题需要尽快处理。";
    verdict_critical: "Some problems need attention now.", "有问题需要立即处理。";
    verdict_unfetched: "No data yet.", "暂无数据。";

    apps: "Apps", "小程序";
    apps_shown: "The worst {shown} of {all} apps are listed. The page of any other app is at ./?appid=APPID.",
        "仅列出问题最严重的 {shown} 个小程序（共 {all} 个）。其余小程序的页面为 ./?appid=APPID。";
    sections_shown: "The worst {shown} of them are shown below.", "下面显示其中问题最严重的 {shown} 个。";
    app: "App", "小程序";
    health: "Health", "状态";
    accounts: "Accounts", "账号数";
    in_trouble: "In trouble", "有问题";
    last_fetched: "Last fetched", "最近读取";
    calls_today: "Calls today", "今日调用";

    old_snapshot: "The accounts below were fetched {age}.", "下面的账号读取于 {age}。";
    expired_snapshot: "The accounts below were fetched {age}. They are too old to be exported.",
        "下面的账号读取于 {age}，已过期，不再导出。";
    how_to_fix: "How to fix: ", "处理办法：";
    details: "Details", "详情";
    failed_at: "Failed", "失败时间";
    reason: "Reason", "原因";
    error: "Error", "错误";
    next_attempt: "Next attempt", "下次尝试";
    next_attempt_after: "first scrape after {time}", "{time} 之后的第一次抓取";
    next_attempt_now: "next scrape", "下一次抓取";

    never: "never", "从未";
    calls_left: "{used} used, {left} left", "已用 {used}，剩余 {left}";
    calls_used: "{used} used, no limit", "已用 {used}，无上限";
    host: "API host", "接口主机";
    metrics_of_app: "Metrics", "指标";
    no_accounts: "WeChat lists no courier accounts for this app. Bind one in the Mini Program's logistics assistant (物流助手).",
        "微信没有列出该小程序的快递账号。请在小程序的“物流助手”中绑定。";
    rows_shown: "The worst {shown} of {all} accounts are shown.", "仅显示问题最严重的 {shown} 个账号（共 {all} 个）。";
    more_accounts: "More accounts of this app", "该小程序的更多账号";
    dropped: "Rows left out: {duplicate} duplicate, {limit} over a limit, {invalid} invalid.",
        "未计入的行：重复 {duplicate}，超出限制 {limit}，无效 {invalid}。";

    state: "State", "状态";
    courier: "Courier", "快递公司";
    account: "Account", "账号";
    balance: "Waybills left", "面单余额";
    lasts: "Lasts", "预计可用";
    binding: "Binding", "绑定状态";
    balance_time: "Balance as of", "余额时间";
    not_known: "not known", "未知";
    monthly_balance: "monthly", "月结";
    remark: "Reason given: ", "失败原因：";

    bound: "Bound", "已绑定";
    under_review: "Under review", "审核中";
    binding_failed: "Binding failed", "绑定失败";
    unbound: "Unbound", "已解绑";
    status_code: "Unknown ({code})", "未知（{code}）";
    status_not_sent: "Not sent", "未返回";

    key: "What the states mean", "状态说明";
    lasts_meaning: "“Lasts” is an estimate from the average use since the exporter started. Top-ups don't count.",
        "“预计可用”按导出器启动以来的平均用量估算，充值不计入。";

    links: "Links", "链接";
    metrics: "Metrics", "指标";
    service_discovery: "Service discovery", "服务发现";
    healthy: "Health", "健康检查";
    ready: "Readiness", "就绪检查";
    api_documentation: "WeChat's API documentation", "微信接口文档";
    version: "Version {version}", "版本 {version}";

    just_now: "just now", "刚刚";
    ago: "{span} ago", "{span}前";
    seconds: "seconds", "秒";
    minutes: "minutes", "分钟";
    hours: "hours", "小时";
    days: "days", "天";
}

impl Texts {
    pub(crate) const fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    /// Returns a text from outside this table, in its language.
    pub(crate) const fn of_both(&self, [english, chinese]: Text) -> &'static str {
        match self.language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }
}

/// Fails if a Chinese text has a Western punctuation mark. A mark between Latin letters is allowed, because it belongs
/// to a URL, a flag or a file name.
#[cfg(test)]
pub(crate) fn assert_chinese_punctuation(text: &str) {
    let is_chinese =
        |c: char| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}' | '“' | '”');
    for (at, mark) in text.match_indices([',', '.', ':', ';', '?', '!', '(', ')', '"', '\'', '/']) {
        let (before, after) = (&text[..at], &text[at + 1..]);
        // A path such as `/cgi-bin/token` may stand beside Chinese.
        if "./".contains(mark) && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        {
            continue;
        }
        let neighbours = [
            before.trim_end().chars().next_back(),
            after.trim_start().chars().next(),
        ];
        let beside_chinese = neighbours.into_iter().flatten().any(is_chinese);
        let ends_the_text = after.is_empty() && ",.:;?!".contains(mark);
        assert!(!beside_chinese && !ends_the_text, "{mark} in: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{Chinese, English};
    use super::*;

    #[test]
    fn language_is_the_switchs_or_the_first_known_one_that_the_browser_names() {
        for (lang, header, language) in [
            (None, "zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            (None, "en-US,en;q=0.9,zh-CN;q=0.8", English),
            (None, "de-DE, de;q=0.9, ZH-TW;q=0.7, en;q=0.3", Chinese),
            (None, "", English),
            (None, "*, zho, ;,;=", English),
            (Some("en"), "zh-CN,zh", English),
            (Some("zh"), "", Chinese),
            (Some("tlh"), "zh-CN,zh", Chinese),
        ] {
            let chosen = Language::choose(lang, Some(header));
            assert_eq!(chosen, language, "{lang:?} {header}");
        }
    }

    #[test]
    fn both_languages_have_the_same_values_and_end_alike() {
        let names = |template: &'static str| {
            let parts = template.split(['{', '}']).skip(1).step_by(2);
            parts.collect::<std::collections::BTreeSet<_>>()
        };
        for (english, chinese) in PAIRS {
            assert_eq!(names(english), names(chinese), "{chinese}");
            let is_sentence = (english.ends_with('.'), chinese.ends_with('。'));
            assert_eq!(is_sentence.0, is_sentence.1, "{chinese}");
        }
    }

    #[test]
    fn chinese_texts_have_chinese_punctuation() {
        for (_, chinese) in PAIRS {
            assert_chinese_punctuation(chinese);
        }
    }
}
