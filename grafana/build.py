#!/usr/bin/env python3
"""Writes the dashboards, in English and Chinese, from this one description.

    python3 grafana/build.py           write grafana/dashboards/{en,zh}/*.json
    python3 grafana/build.py --check   fail when a file there is not what this script writes

Every text stands here once, as the pair t("English", "中文"). Balances, statuses, freshness and budget are read from the
exporter's own metrics, so that they show where no rules are loaded; use per day, days left and the sums over all accounts
are read from the series that prometheus/rules/ records. Tables are cut off by topk/bottomk, and no graph reads the
series of all accounts, so that a panel's cost doesn't grow with them.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
LANGUAGES = ("en", "zh")

RED, ORANGE, YELLOW, GREEN, BLUE, GREY = "red", "orange", "yellow", "green", "blue", "text"
ACCOUNT = "appid, delivery_id, biz_id"
ACCOUNT_WITH_JOB = f"job, {ACCOUNT}"
ROWS = 20
DAY = 86400


class t(tuple):
    """A text in both languages."""

    def __new__(cls, english, chinese):
        return super().__new__(cls, (english, chinese))


def in_language(value, language):
    """The same structure with each t() replaced by its text in that language."""
    if isinstance(value, t):
        return value[LANGUAGES.index(language)]
    if isinstance(value, dict):
        return {key: in_language(item, language) for key, item in value.items()}
    if isinstance(value, list):
        return [in_language(item, language) for item in value]
    if isinstance(value, str):
        return value.replace("@LANG@", language)
    return value


# --- queries ---------------------------------------------------------------------------------------------------------

RAW = 'job=~"$job", instance=~"$instance"'
RECORDED = 'job=~"$job"'


def app(metric, more="", matches="=~"):
    """A selector of one metric for the chosen apps. Recorded series keep no instance.

    Tables merge rows by all labels, so what goes into one must not keep its __name__. Where one thing is chosen
    matches is "=": an id may have characters in it that mean something in a regex.
    """
    scope = RECORDED if ":" in metric else RAW
    return f'{metric}{{{scope}, appid{matches}"$appid"{", " + more if more else ""}}}'


def account(metric, more="", matches="=~"):
    """The same for the chosen accounts."""
    chosen = f'delivery_id{matches}"$delivery_id", biz_id{matches}"$biz_id"'
    return app(metric, chosen + (", " + more if more else ""), matches)


def courier(metric):
    return app(metric, 'delivery_id=~"$delivery_id"')


def per(keys, metric, how="max"):
    """A metric with the replicas' instances taken together."""
    return f"{how} by ({keys}) ({metric})"


def with_app_name(expr):
    """Adds the app's name. Where replicas disagree about it for a moment, topk takes one."""
    names = f"topk by (job, appid) (1, {per('job, appid, name', f'wechat_logistics_app_info{{{RAW}}}')})"
    return f"({expr}) + on (job, appid) group_left (name) 0 * {names}"


def named(expr):
    """Adds the names of app and courier."""
    names = f"topk by (job, delivery_id) (1, {per('job, delivery_id, delivery_name', f'wechat_logistics_account_info{{{RAW}}}')})"
    return f"{with_app_name(expr)} + on (job, delivery_id) group_left (delivery_name) 0 * {names}"


def query(expr, legend=None, table=False, instant=False, interval=None):
    target = {"expr": expr}
    if table:
        target |= {"format": "table", "instant": True, "range": False}
    elif instant:
        target |= {"instant": True, "range": False}
    else:
        target |= {"range": True}
    if legend is not None:
        target["legendFormat"] = legend
    if interval:
        target["interval"] = interval
    return target


# --- fields ----------------------------------------------------------------------------------------------------------


def steps(base, *pairs):
    """Colours from thresholds: the base colour, then (value, colour) upwards."""
    rows = [{"value": None, "color": base}] + [{"value": value, "color": colour} for value, colour in pairs]
    return {"mode": "absolute", "steps": rows}


def value_texts(texts):
    """{value: (text, colour)}"""
    options = {str(value): {"index": i, "text": text, "color": colour} for i, (value, (text, colour)) in enumerate(texts.items())}
    return {"type": "value", "options": options}


def range_text(low, high, text, colour):
    return {"type": "range", "options": {"from": low, "to": high, "result": {"index": 0, "text": text, "color": colour}}}


# Nothing would be shown in the colour of the lowest step: green.
NO_AGE = {"type": "special", "options": {"match": "null+nan", "result": {"index": 0, "text": t("no data", "无数据"), "color": RED}}}
NO_DATA = {"type": "special", "options": {"match": "null+nan", "result": {"index": 0, "text": t("No data", "无数据"), "color": "#6e7078"}}}


def override(name, **properties):
    """Properties of one field; custom options are written custom_width=… for custom.width."""
    rows = [{"id": key.replace("custom_", "custom."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": rows}


def hidden(name):
    # Grafana before 12.2 knows the one property, later versions the other; each ignores what it doesn't know.
    return override(name, **{"custom_hidden": True, "custom_hideFrom.viz": True})


COLOURED_TEXT = {"type": "color-text"}

DAYS_STEPS = steps(RED, (1, ORANGE), (3, GREEN))

# Not 0.0, which would say that it is empty.
SOON = range_text(0.0000001, 0.0999999, t("< 0.1", "不足 0.1"), RED)

TODO_BY_DAYS = [
    value_texts({0: (t("Empty: top up now", "已用完：立即充值"), RED)}),
    range_text(0.0000001, 0.9999999, t("Top up today", "今天充值"), RED),
    range_text(1, 2.9999999, t("Order a top-up", "安排充值"), ORANGE),
    range_text(3, None, t("Nothing", "无需处理"), GREEN),
]

STATUS = {
    0: (t("Bound", "已绑定"), GREEN),
    1: (t("Under review", "审核中"), YELLOW),
    2: (t("Binding failed", "绑定失败"), RED),
    3: (t("Unbound", "已解绑"), RED),
}

TODO_BY_STATUS = {
    0: (t("Nothing", "无需处理"), GREEN),
    1: (t("Ask the outlet to confirm the binding", "请网点确认绑定"), YELLOW),
    2: (t("Bind again with the outlet's code and password", "核对客户编码和密码后重新绑定"), RED),
    3: (t("Bind again, unless it was meant", "如非本意请重新绑定"), RED),
}

# Ranks of the table of accounts in trouble, the worst highest: what it is, what to do.
TROUBLE = {
    5: (STATUS[2], TODO_BY_STATUS[2]),
    4: (STATUS[1], TODO_BY_STATUS[1]),
    3: (STATUS[3], TODO_BY_STATUS[3]),
    2: ((t("Unknown status", "未知状态"), ORANGE), (t("Look into the logistics assistant", "在物流助手中查看"), ORANGE)),
    1: ((t("Balance not refreshed", "余额未刷新"), ORANGE), (t("Ask the outlet for the real balance", "向网点核实真实余额"), ORANGE)),
}

FIXES = {
    "transient": (t("WeChat is busy: wait", "微信繁忙：稍候"), YELLOW),
    "token": (t("Token refused: see who else renews it", "token 失效：检查谁在刷新"), RED),
    "config": (t("Correct the appid or AppSecret", "修正 appid 或 AppSecret"), RED),
    "permission": (t("Grant the logistics permission", "开通物流助手权限"), RED),
    "ip_whitelist": (t("Add the IP that the log names to the whitelist", "将日志中的 IP 加入白名单"), RED),
    "daily_quota": (t("WeChat's daily quota is used: raise the interval", "微信每日额度用完：调大间隔"), RED),
    "rate": (t("Too many calls a minute: waits by itself", "每分钟调用过多：自动等待"), YELLOW),
    "decode": (t("Reply not understood: report it", "无法解析回复：请反馈"), ORANGE),
    "network": (t("Check DNS, proxy and firewall", "检查 DNS、代理和防火墙"), ORANGE),
    "timeout": (t("WeChat is slow: check the network", "微信响应慢：检查网络"), ORANGE),
    "unknown": (t("See the exporter's log", "查看 exporter 日志"), ORANGE),
}

STATES = [
    ("empty", t("Empty", "已用完"), RED),
    ("out_in_24h", t("Out within 24 hours", "24 小时内用完"), ORANGE),
    ("out_in_72h", t("Out within 72 hours", "72 小时内用完"), YELLOW),
    ("low", t("Below threshold", "低于阈值"), BLUE),
    ("not_bound", t("Not bound", "未绑定"), "purple"),
]

# --- panels ----------------------------------------------------------------------------------------------------------

SOURCE = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(kind, title, description, targets, at, unit, options, custom=None, overrides=(), transformations=None, **defaults):
    x, y, w, h = at
    for ref, target in zip("ABCDEFGHIJ", targets):
        target |= {"refId": ref, "datasource": DATASOURCE}
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": targets,
        "options": options,
        "fieldConfig": {
            "defaults": {"unit": unit, "custom": custom or {}} | defaults,
            "overrides": list(overrides),
        },
    }
    if kind == "stat":
        del made["fieldConfig"]["defaults"]["custom"]
    if transformations:
        made["transformations"] = transformations
    return made


def stat(title, description, targets, at, unit="none", colour="value", graph="none", text="auto", **defaults):
    """One figure. Its query is instant unless it draws a background graph."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": colour,
        "graphMode": graph,
        "textMode": text,
        "justifyMode": "auto",
        "orientation": "auto",
        "wideLayout": True,
    }
    defaults = {"color": {"mode": "thresholds"}, "thresholds": steps(GREEN)} | defaults
    return panel("stat", title, description, targets, at, unit, options, **defaults)


def lines(title, description, targets, at, unit="none", custom=None, overrides=(), calcs=("lastNotNull",), placement="bottom", **defaults):
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "fillOpacity": 8,
        "showPoints": "never",
        "spanNulls": 600_000,
        "axisPlacement": "auto",
        "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "none", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
    } | (custom or {})
    options = {
        "legend": {"showLegend": True, "displayMode": "list", "placement": placement, "calcs": list(calcs)},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "min": 0} | defaults
    return panel("timeseries", title, description, targets, at, unit, options, custom, overrides, **defaults)


def table(title, description, targets, at, columns, sort, descending=False, overrides=(), unit="none"):
    """Instant queries merged into rows. columns: {field: title}, in order; None hides a field but keeps it for links."""
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, "job": True},
                "indexByName": {field: i for i, field in enumerate(columns)},
                "renameByName": {field: shown for field, shown in columns.items() if shown},
            },
        },
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": sort, "desc": descending}]}},
    ]
    options = {"showHeader": True, "cellHeight": "sm"}
    rows = [hidden(field) for field, shown in columns.items() if shown is None] + list(overrides)
    return panel("table", title, description, targets, at, unit, options, {"align": "auto", "filterable": False}, rows, transformations)


def link_to_account():
    ids = "&".join(f"var-{name}=${{__data.fields.{name}:percentencode}}" for name in ("appid", "delivery_id", "biz_id"))
    url = f"/d/wechat-logistics-account-@LANG@?{ids}&{SOURCE}&${{__url_time_range}}"
    return [{"title": t("Show this account", "查看该账号"), "url": url}]


# --- dashboards ------------------------------------------------------------------------------------------------------


def variable(name, label, query_text, multi, regex="", all_value=".+"):
    made = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"qryType": 3 if query_text.startswith("query_result") else 1, "query": query_text, "refId": name},
        "definition": query_text,
        "refresh": 2,
        "sort": 1,
        "regex": regex,
        "multi": multi,
        "includeAll": multi,
        "hide": 0,
        "options": [],
        "skipUrlSync": False,
    }
    if multi:
        made |= {"allValue": all_value, "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return made


def shared_variables(multi):
    scope = RAW
    named_app = r'/appid="(?<value>[^"]+)"|name="(?<text>[^"]+)"/g'
    named_courier = r'/delivery_id="(?<value>[^"]+)"|delivery_name="(?<text>[^"]+)"/g'
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": t("Data Source", "数据源"),
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "multi": False,
            "includeAll": False,
            "hide": 0,
            "options": [],
            "skipUrlSync": False,
        },
        variable("job", t("Job", "任务"), "label_values(wechat_logistics_up, job)", True),
        variable("instance", t("Instance", "实例"), 'label_values(wechat_logistics_up{job=~"$job"}, instance)', True),
        variable("appid", t("App", "小程序"), f"query_result(max by (appid, name) (wechat_logistics_app_info{{{scope}}}))", multi, named_app),
        variable(
            "delivery_id",
            t("Courier", "快递公司"),
            f'query_result(max by (delivery_id, delivery_name) (wechat_logistics_account_info{{{scope}, appid{"=~" if multi else "="}"$appid"}}))',
            multi,
            named_courier,
        ),
    ]


def dashboard(uid, title, description, other, variables, annotations, panels, time_from):
    for number, made in enumerate(panels, 1):
        made["id"] = number
    keep = {"asDropdown": False, "icon": "dashboard", "includeVars": True, "keepTime": True, "tags": [], "targetBlank": False, "tooltip": "", "type": "link"}
    links = [
        # Without the rest: what is a regex on one side is an id on the other.
        keep | {"title": other[1], "url": f"/d/wechat-logistics-{other[0]}-@LANG@?{SOURCE}", "includeVars": False},
        keep | {"title": t("中文", "English"), "url": t(f"/d/wechat-logistics-{uid}-zh", f"/d/wechat-logistics-{uid}-en")},
    ]
    return {
        "uid": f"wechat-logistics-{uid}-@LANG@",
        "title": title,
        "description": description,
        "tags": ["wechat-logistics", "@LANG@"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 41,
        "version": 1,
        "timezone": "Asia/Shanghai",
        "weekStart": "monday",
        "refresh": "1m",
        "fiscalYearStartMonth": 0,
        "time": {"from": time_from, "to": "now"},
        "timepicker": {},
        "links": links,
        "annotations": {"list": annotations},
        "templating": {"list": variables},
        "panels": panels,
    }


NEEDS_RULES = t("Needs the rules", "需加载规则")
NO_RULES = {"type": "special", "options": {"match": "null+nan", "result": {"index": 0, "text": NEEDS_RULES, "color": "#6e7078"}}}


def count_stat(title, description, expr, x, colour, missing):
    return stat(title, description, [query(expr, instant=True)], (x, 0, 4, 4), mappings=[missing], thresholds=steps(GREEN, (1, colour)), colour="background")


def recorded_count(state):
    expr = app("wechat_logistics:accounts:count", f'state="{state}"')
    return f"sum({expr})"


def overview():
    balance = per(ACCOUNT_WITH_JOB, account("wechat_logistics_account_quota"), "min")
    status = per(ACCOUNT_WITH_JOB, account("wechat_logistics_account_status_code"), "min")
    changed = per(ACCOUNT_WITH_JOB, account("wechat_logistics_account_update_timestamp_seconds"))
    refreshed = per(ACCOUNT_WITH_JOB, account("wechat_logistics_account_quota_update_timestamp_seconds"))
    # Bound accounts of franchise couriers: those with a stock that can run out.
    franchise = account("wechat_logistics_account_info", 'network="franchise"')
    # settings.yml says that nobody uses the account.
    unused = f"({account('wechat_logistics:account_threshold')} == 0)"
    with_stock = f"({status} == 0) and on ({ACCOUNT_WITH_JOB}) {franchise} unless on ({ACCOUNT_WITH_JOB}) {unused}"
    # Below 0 is no balance, but where the rules say that it is overdrawn.
    empty = f"({balance} == 0) or ({balance} < 0) and on ({ACCOUNT_WITH_JOB}) {account('wechat_logistics:account_stock')}"
    lowest = f"bottomk({ROWS}, {balance} and on ({ACCOUNT_WITH_JOB}) {with_stock})"

    def of_lowest(expr):
        return query(f"{expr} and on ({ACCOUNT_WITH_JOB}) {lowest}", table=True)

    stock = account("wechat_logistics:account_stock")
    usage = account("wechat_logistics:account_usage:per_day")
    shortest = f"bottomk({ROWS}, ({stock} > 0) / ({usage} > 0) or (({stock} == 0) unless on ({ACCOUNT_WITH_JOB}) {unused}))"

    def of_shortest(metric):
        return query(f"{per(ACCOUNT_WITH_JOB, account(metric))} and on ({ACCOUNT_WITH_JOB}) {shortest}", table=True)

    trouble = (
        f"topk({ROWS}, 5 + 0 * ({status} == 2) or 4 + 0 * ({status} == 1)"
        f" or 3 + 0 * (({status} == 3) and on ({ACCOUNT_WITH_JOB}) (time() - {changed} < 7 * {DAY}))"
        f" or 2 + 0 * ({status} > 3)"
        f" or 1 + 0 * ((time() - {refreshed} > {DAY}) and on ({ACCOUNT_WITH_JOB}) {with_stock}))"
    )
    since = f"(time() - {changed}) / {DAY} and on ({ACCOUNT_WITH_JOB}) {trouble}"

    apps = "job, appid"
    fetched = per(apps, app("wechat_logistics_snapshot_timestamp_seconds"))
    age = f"(time() - {fetched})"
    up = per(apps, app("wechat_logistics_up"))
    # As the alert takes it: the longer of the exporter's interval and the setting.
    interval = f"({app('wechat_logistics:app_fetch_interval_seconds')} or on ({apps}) clamp_min({per(apps, app('wechat_logistics_min_interval_seconds'))}, 60))"
    stale = f"({age} > 3 * {interval}) or ({up} unless on ({apps}) {fetched})"
    # Failing apps first, then those with the oldest data.
    worst = f"topk({ROWS}, 1e9 * (1 - {up}) + ({age} or on ({apps}) 0 * {up}))"

    def of_worst(expr):
        return query(f"{expr} and on ({apps}) {worst}", table=True)

    failures = app("wechat_logistics_api_failures_total")
    reason = f"topk by ({apps}) (1, sum by ({apps}, reason) (increase({failures}[30m])) > 0) and on ({apps}) ({up} == 0)"

    states = [override(state, displayName=shown, color={"mode": "fixed", "fixedColor": colour}) for state, shown, colour in STATES]
    panels = [
        count_stat(t("Empty now", "已用完"), t("Accounts with 0 waybills: orders can't be shipped with them. Bound accounts of franchise couriers only. With the recording rules also what is overdrawn, below 0, and not what has a threshold of 0.", "余额为 0、无法发货的账号。只计加盟快递的已绑定账号。加载记录规则后也计入透支（余额为负）的账号，不计阈值为 0 的账号。"), f"count(({empty}) and on ({ACCOUNT_WITH_JOB}) {with_stock}) or 0 * count({up} == 1)", 0, RED, NO_DATA),
        count_stat(t("Out within 24 hours", "24 小时内用完"), t("Accounts that will be empty within 24 hours at the rate of the last 24 hours. Top up today. Needs the recording rules.", "按最近 24 小时用量，24 小时内将用完的账号。请今天充值。需加载记录规则。"), recorded_count("out_in_24h"), 4, RED, NO_RULES),
        count_stat(t("Out within 72 hours", "72 小时内用完"), t("Accounts that will be empty in one to three days at the rate of the last 24 hours. Order a top-up. Needs the recording rules.", "按最近 24 小时用量，1 至 3 天内将用完的账号。请安排充值。需加载记录规则。"), recorded_count("out_in_72h"), 8, ORANGE, NO_RULES),
        count_stat(t("Below threshold", "低于阈值"), t("Accounts below their threshold (prometheus/rules/settings.yml) that don't run out within 72 hours. Needs the recording rules.", "低于阈值（prometheus/rules/settings.yml）但 72 小时内不会用完的账号。需加载记录规则。"), recorded_count("low"), 12, ORANGE, NO_RULES),
        count_stat(t("Not bound", "未绑定"), t("Accounts that are under review, failed, of an unknown status, or were unbound within the last seven days.", "审核中、绑定失败、状态未知或七天内解绑的账号。"), f"count(({status} != 0) unless on ({ACCOUNT_WITH_JOB}) (({status} == 3) and on ({ACCOUNT_WITH_JOB}) (time() - {changed} >= 7 * {DAY}))) or 0 * count({up} == 1)", 16, ORANGE, NO_DATA),
        count_stat(t("Apps without fresh data", "数据不新鲜的小程序"), t("Apps whose last good fetch is three intervals old or that have none. Their figures can't be trusted. With the recording rules, an interval is at least as long as prometheus/rules/settings.yml says.", "最近一次成功获取已超过三个周期、或没有数据的小程序，其数字不可信。加载记录规则后，周期不短于 prometheus/rules/settings.yml 中的设置。"), f"count({stale}) or 0 * count({up})", 20, RED, NO_DATA),
        table(
            t("What runs out first", "最先用完的账号"),
            t(f"The {ROWS} accounts with the fewest days left, at the rate of the last 24 hours. Click an account for its history. Needs the recording rules.", f"按最近 24 小时用量，剩余天数最少的 {ROWS} 个账号。点击账号查看历史。需加载记录规则。"),
            [
                query(named(shortest), table=True),
                of_shortest("wechat_logistics:account_stock"),
                of_shortest("wechat_logistics:account_threshold"),
                of_shortest("wechat_logistics:account_usage:per_day"),
                query(f"1000 * (time() + {DAY} * ({shortest} > 0))", table=True),
                query(per(ACCOUNT_WITH_JOB, shortest), table=True),
            ],
            (0, 4, 24, 10),
            {
                "name": t("App", "小程序"),
                "delivery_name": t("Courier", "快递公司"),
                "biz_id": t("Account", "账号"),
                "Value #A": t("Days left", "剩余天数"),
                "Value #E": t("Empty at", "预计用完"),
                "Value #F": t("To do", "处理"),
                "Value #B": t("Balance", "余额"),
                "Value #D": t("Used per day", "日用量"),
                "Value #C": t("Threshold", "阈值"),
                "appid": None,
                "delivery_id": None,
            },
            t("Days left", "剩余天数"),
            overrides=[
                override(t("Days left", "剩余天数"), decimals=1, mappings=[SOON], thresholds=DAYS_STEPS, custom_cellOptions={"type": "color-background", "mode": "basic"}, custom_width=110),
                override(t("Empty at", "预计用完"), unit="time:MM-DD HH:mm", noValue="–", custom_width=130),
                override(t("To do", "处理"), mappings=TODO_BY_DAYS, custom_cellOptions=COLOURED_TEXT, custom_align="left", custom_width=190),
                override(t("Used per day", "日用量"), decimals=0, custom_width=120),
                override(t("Balance", "余额"), custom_width=110),
                override(t("Threshold", "阈值"), custom_width=110),
                override(t("App", "小程序"), custom_width=190),
                override(t("Courier", "快递公司"), custom_width=120),
                override(t("Account", "账号"), links=link_to_account()),
            ],
        ),
        table(
            t("Lowest balances", "余额最低的账号"),
            t(f"The {ROWS} accounts with the fewest waybills. Bound accounts of franchise couriers only; with the recording rules, not those with a threshold of 0. Click an account for its history.", f"面单余额最少的 {ROWS} 个账号。只计加盟快递的已绑定账号；加载记录规则后不计阈值为 0 的账号。点击账号查看历史。"),
            [query(named(lowest), table=True), of_lowest(f"(time() - {refreshed})")],
            (0, 14, 24, 7),
            {
                "name": t("App", "小程序"),
                "delivery_name": t("Courier", "快递公司"),
                "biz_id": t("Account", "账号"),
                "Value #A": t("Balance", "余额"),
                "Value #B": t("Refreshed", "刷新于"),
                "appid": None,
                "delivery_id": None,
            },
            t("Balance", "余额"),
            overrides=[
                override(t("Balance", "余额"), thresholds=steps(RED, (1, BLUE)), custom_cellOptions=COLOURED_TEXT, custom_width=110),
                override(t("Refreshed", "刷新于"), unit="s", decimals=0, noValue="–", custom_width=120),
                override(t("App", "小程序"), custom_width=190),
                override(t("Courier", "快递公司"), custom_width=120),
                override(t("Account", "账号"), links=link_to_account()),
            ],
        ),
        table(
            t("Accounts in trouble", "异常账号"),
            t(f"The {ROWS} accounts in the worst trouble: bindings that failed, wait or ended within the last seven days, then balances that WeChat hasn't refreshed for a day (with the recording rules, not those with a threshold of 0). Days: since the account's last change (update_time).", f"问题最严重的 {ROWS} 个账号：绑定失败、审核中、七天内解绑，其次是微信超过一天未刷新余额（加载记录规则后不计阈值为 0 的账号）。持续天数自账号最近更新（update_time）算起。"),
            [query(named(trouble), table=True), query(since, table=True), query(per(ACCOUNT_WITH_JOB, trouble), table=True)],
            (0, 21, 24, 8),
            {
                "name": t("App", "小程序"),
                "delivery_name": t("Courier", "快递公司"),
                "biz_id": t("Account", "账号"),
                "Value #A": t("Status", "状态"),
                "Value #B": t("Days", "持续天数"),
                "Value #C": t("To do", "处理"),
                "appid": None,
                "delivery_id": None,
            },
            t("Status", "状态"),
            descending=True,
            overrides=[
                override(t("Status", "状态"), mappings=[value_texts({rank: text for rank, (text, _) in TROUBLE.items()})], custom_cellOptions=COLOURED_TEXT, custom_align="left", custom_width=190),
                override(t("Days", "持续天数"), decimals=0, custom_width=80),
                override(t("To do", "处理"), mappings=[value_texts({rank: todo for rank, (_, todo) in TROUBLE.items()})], custom_cellOptions=COLOURED_TEXT, custom_align="left", custom_width=400),
                override(t("App", "小程序"), custom_width=190),
                override(t("Courier", "快递公司"), custom_width=100),
                override(t("Account", "账号"), links=link_to_account()),
            ],
        ),
        table(
            t("Apps: freshness and API budget", "小程序：数据新鲜度与调用额度"),
            t(f"The {ROWS} apps that need attention most: failing ones first, then those with the oldest data. Calls left: of the exporter's own daily limit, and of WeChat's where it is queried.", f"最需要关注的 {ROWS} 个小程序：先列失败的，再按数据最旧排序。剩余调用：exporter 自身每日上限，以及（如已开启查询）微信的每日额度。"),
            [
                query(with_app_name(worst), table=True),
                of_worst(up),
                of_worst(age),
                query(reason, table=True),
                of_worst(per(apps, app("wechat_logistics_daily_calls_remaining"), "min")),
                of_worst(per(apps, app("wechat_logistics_api_daily_remaining"), "min")),
                of_worst(per(apps, app("wechat_logistics_accounts"))),
            ],
            (0, 29, 24, 7),
            {
                "name": t("App", "小程序"),
                "Value #B": t("Fetch", "获取"),
                "Value #C": t("Data age", "数据年龄"),
                "reason": t("To do", "处理"),
                "Value #E": t("Calls left", "剩余调用"),
                "Value #F": t("WeChat's quota left", "微信剩余额度"),
                "Value #G": t("Accounts", "账号数"),
                "appid": None,
                "Value #A": None,
                "Value #D": None,
            },
            "Value #A",
            descending=True,
            overrides=[
                override(t("Fetch", "获取"), mappings=[value_texts({0: (t("failing", "失败"), RED), 1: (t("ok", "正常"), GREEN)})], custom_cellOptions=COLOURED_TEXT, custom_align="left", custom_width=100),
                override(t("Data age", "数据年龄"), unit="s", decimals=0, mappings=[NO_AGE], thresholds=steps(GREEN, (180, ORANGE), (900, RED)), custom_cellOptions=COLOURED_TEXT, custom_width=120),
                override(t("To do", "处理"), mappings=[value_texts(FIXES)], custom_cellOptions=COLOURED_TEXT),
                override(t("Calls left", "剩余调用"), thresholds=steps(RED, (1, ORANGE), (200, GREEN)), custom_cellOptions=COLOURED_TEXT, custom_width=120),
                override(t("WeChat's quota left", "微信剩余额度"), noValue="–", custom_width=170),
                override(t("Accounts", "账号数"), noValue="–", custom_width=110),
            ],
        ),
        lines(
            t("Waybills in stock, by courier", "各快递面单余额"),
            t("Sum of the balances of bound accounts of franchise couriers. Steps upwards are top-ups. Needs the recording rules.", "加盟快递已绑定账号的余额合计，向上的台阶为充值。需加载记录规则。"),
            [query(f"sum by (delivery_name) ({courier('wechat_logistics:stock:sum')})", "{{delivery_name}}")],
            (0, 36, 8, 8),
            calcs=(),
        ),
        lines(
            t("Waybills used per day, by courier", "各快递日用量"),
            t("Use in the 24 hours before each point; top-ups don't count. Needs the recording rules.", "每个时间点之前 24 小时的用量，不受充值影响。需加载记录规则。"),
            [query(f"sum by (delivery_name) ({courier('wechat_logistics:usage:per_day_sum')})", "{{delivery_name}}")],
            (8, 36, 8, 8),
            decimals=0,
            calcs=(),
        ),
        lines(
            t("Accounts that need something", "需要处理的账号数"),
            t("How many accounts were in each state, each in the worst one that fits. Needs the recording rules.", "各状态的账号数，每个账号只计入最严重的一项。需加载记录规则。"),
            [query(f"sum by (state) ({app('wechat_logistics:accounts:count')})", "{{state}}")],
            (16, 36, 8, 8),
            custom={"stacking": {"mode": "normal", "group": "A"}, "lineInterpolation": "stepAfter", "fillOpacity": 50, "lineWidth": 1},
            overrides=states,
            decimals=0,
        ),
        lines(
            t("Age of the data", "数据年龄"),
            t("Time since the last good fetch: of the app where it is longest, and of the median app. Three fetch intervals raise an alert.", "距最近一次成功获取的时间：最旧的小程序与中位数。超过三个周期会告警。"),
            [
                query(f"max({age})", t("oldest", "最旧")),
                query(f"quantile(0.5, {age})", t("median", "中位数")),
            ],
            (0, 44, 8, 7),
            unit="s",
        ),
        lines(
            t("Calls to WeChat per hour", "每小时调用微信次数"),
            t("Calls sent, by API. What a scrape costs.", "按接口统计的调用次数，即抓取的成本。"),
            [query(f"3600 * sum by (api) (rate({app('wechat_logistics_api_requests_total')}[$__rate_interval]))", "{{api}}", interval="1m")],
            (8, 44, 8, 7),
            decimals=0,
        ),
        lines(
            t("Daily calls left, tightest app", "每日剩余调用（最紧张的小程序）"),
            t("The smallest rest of the exporter's own daily limit and of WeChat's quota, among the chosen apps. Both begin anew at midnight in China.", "所选小程序中，exporter 自身上限与微信额度的最小剩余次数，均在北京时间零点重置。"),
            [
                query(f"min({app('wechat_logistics_daily_calls_remaining')})", t("own limit", "自身上限")),
                query(f"min({app('wechat_logistics_api_daily_remaining')})", t("WeChat's quota", "微信额度")),
            ],
            (16, 44, 8, 7),
        ),
    ]
    text_box = {
        "type": "textbox",
        "name": "biz_id",
        "label": t("Account (regex)", "账号（正则）"),
        "query": ".+",
        "current": {"selected": True, "text": ".+", "value": ".+"},
        "hide": 0,
        "options": [{"selected": True, "text": ".+", "value": ".+"}],
        "skipUrlSync": False,
    }
    return dashboard(
        "overview",
        t("WeChat waybill balances: overview", "微信电子面单余额：总览"),
        t("All Mini Programs: what runs out, when, and what to do.", "全部小程序：哪些面单快用完、何时用完、怎么处理。"),
        ("account", t("Account", "单个账号")),
        shared_variables(True) + [text_box],
        [],
        panels,
        "now-24h",
    )


def account_view():
    def this_app(metric):
        return app(metric, matches="=")

    def this_account(metric, more=""):
        return account(metric, more, matches="=")

    def one(metric, how="max", more=""):
        return f"{how} by ({ACCOUNT}) ({this_account(metric, more)})"

    balance = one("wechat_logistics_account_quota", "min")
    stock = one("wechat_logistics:account_stock")
    usage = one("wechat_logistics:account_usage:per_day")
    threshold = one("wechat_logistics:account_threshold")
    # Not for an empty account that nobody uses, as settings.yml says with a threshold of 0.
    days = f"(({stock} > 0) / ({usage} > 0) or (({stock} == 0) unless ({threshold} == 0)))"
    code = one("wechat_logistics_account_status_code", "min")
    # A rise from one point to the next by as many waybills as settings.yml calls a top-up by default.
    rises = f"{balance} - (min by ({ACCOUNT}) ({this_account('wechat_logistics_account_quota')} offset $__interval)) >= 20"
    ids = "job, instance, appid, delivery_id, biz_id"

    def stamp(name):
        return query(f"1000 * max by ({ids}) ({this_account(f'wechat_logistics_account_{name}_timestamp_seconds')})", table=True)

    def ahead(count):
        return query(f"clamp_min({stock} - {count} * {usage}, 0)", t(f"in {count} day{'s' if count > 1 else ''}", f"{count} 天后"), instant=True)

    colours = {"bound": GREEN, "under_review": YELLOW, "failed": RED, "unbound": ORANGE, "unknown": "purple"}
    shown = {"bound": STATUS[0][0], "under_review": STATUS[1][0], "failed": STATUS[2][0], "unbound": STATUS[3][0], "unknown": t("Unknown", "未知")}
    codes = {"bound": "== 0", "under_review": "== 1", "failed": "== 2", "unbound": "== 3", "unknown": "> 3"}
    bands = [override(s, displayName=shown[s], color={"mode": "fixed", "fixedColor": c}) for s, c in colours.items()]
    panels = [
        stat(t("Balance", "余额"), t("Electronic waybills left (quota_num).", "剩余电子面单（quota_num）。"), [query(balance, instant=True)], (0, 0, 4, 4), colour="value", thresholds=steps(RED, (1, BLUE))),
        stat(t("Days left", "剩余天数"), t("Balance divided by the use of the last 24 hours. Empty: nothing is used, the courier bills monthly, or both balance and threshold are 0.", "余额除以最近 24 小时用量。为空：没有用量、为月结（直营）快递，或余额和阈值均为 0。"), [query(days, instant=True)], (4, 0, 4, 4), decimals=1, mappings=[SOON], colour="background", thresholds=DAYS_STEPS, noValue="–"),
        stat(t("Empty at", "预计用完"), t("When the balance reaches 0 at that rate.", "按该用量余额归零的时间。"), [query(f"1000 * (time() + {DAY} * ({days} > 0))", instant=True)], (8, 0, 4, 4), unit="time:MM-DD HH:mm", thresholds=steps(BLUE), noValue="–"),
        stat(t("To do", "处理"), t("What to do about the balance.", "针对余额的处理建议。"), [query(days, instant=True)], (12, 0, 4, 4), mappings=TODO_BY_DAYS, noValue=t("Nothing", "无需处理")),
        stat(t("Status", "绑定状态"), t("Binding status (status_code).", "绑定状态（status_code）。"), [query(code, instant=True)], (16, 0, 4, 4), mappings=[value_texts(STATUS)], thresholds=steps(GREEN, (1, RED))),
        stat(t("Balance refreshed", "余额刷新于"), t("How long ago WeChat refreshed the balance (quota_update_time). The real balance may be lower when this is long.", "微信上次刷新余额（quota_update_time）距今时间。时间过长时，真实余额可能更低。"), [query(f"time() - {one('wechat_logistics_account_quota_update_timestamp_seconds')}", instant=True)], (20, 0, 4, 4), unit="s", decimals=0, thresholds=steps(GREEN, (6 * 3600, ORANGE), (DAY, RED)), noValue="–"),
        lines(
            t("Balance and top-ups", "余额与充值"),
            t("The balance as WeChat reports it; a dot marks each top-up (a rise by 20 waybills or more from one point to the next), the dashed line the threshold.", "微信返回的余额；圆点标记充值（相邻两点间增加 20 张及以上），虚线为阈值。"),
            [
                query(balance, t("balance", "余额"), interval="1m"),
                query(f"{balance} and on ({ACCOUNT}) ({rises})", t("top-up", "充值"), interval="1m"),
                query(threshold, t("threshold", "阈值"), interval="1m"),
            ],
            (0, 4, 17, 9),
            custom={"lineInterpolation": "stepAfter", "fillOpacity": 15},
            overrides=[
                override(t("balance", "余额"), color={"mode": "fixed", "fixedColor": BLUE}),
                override(t("top-up", "充值"), color={"mode": "fixed", "fixedColor": GREEN}, custom_drawStyle="points", custom_showPoints="always", custom_pointSize=12),
                override(t("threshold", "阈值"), color={"mode": "fixed", "fixedColor": RED}, custom_lineStyle={"fill": "dash", "dash": [10, 10]}, custom_fillOpacity=0, custom_lineWidth=1),
            ],
        ),
        stat(
            t("Expected balance", "预计余额"),
            t("The balance that is left after 1, 2, 3 and 7 days at the rate of the last 24 hours without a top-up.", "不充值时，按最近 24 小时用量，1、2、3、7 天后的余额。"),
            [ahead(1), ahead(2), ahead(3), ahead(7)],
            (17, 4, 7, 9),
            decimals=0,
            text="value_and_name",
            thresholds=steps(RED, (1, ORANGE), (100, GREEN)),
        ),
        lines(
            t("Waybills used", "面单用量"),
            t("Bars: waybills used in the hour before each bar. Line: in the 24 hours before. Top-ups don't count.", "柱：之前一小时的用量；线：之前 24 小时的用量。不受充值影响。"),
            [
                query(f"30 * max by ({ACCOUNT}) (avg_over_time({this_account('wechat_logistics:account_stock:decrease2m')}[1h]))", t("per hour", "每小时"), interval="15m"),
                query(usage, t("per day", "每天"), interval="5m"),
            ],
            (0, 13, 12, 8),
            overrides=[
                override(t("per hour", "每小时"), custom_drawStyle="bars", custom_fillOpacity=60, custom_lineWidth=0, color={"mode": "fixed", "fixedColor": BLUE}),
                override(t("per day", "每天"), custom_axisPlacement="right", color={"mode": "fixed", "fixedColor": ORANGE}, custom_fillOpacity=0),
            ],
            decimals=0,
        ),
        lines(
            t("Days left", "剩余天数"),
            t("The forecast as it was at each time: balance divided by the use of the 24 hours before.", "各时间点的预测：余额除以之前 24 小时用量。"),
            [query(days, t("days left", "剩余天数"), interval="5m")],
            (12, 13, 12, 8),
            custom={"thresholdsStyle": {"mode": "area"}},
            thresholds=steps(RED, (1, ORANGE), (3, "transparent")),
        ),
        lines(
            t("Status history", "状态历史"),
            t("The binding status over time, one colour each; a gap: no data.", "绑定状态随时间变化，一种颜色一种状态；空白：无数据。"),
            [query(f"1 + 0 * ({code} {matches})", state) for state, matches in codes.items()],
            (0, 21, 12, 6),
            custom={"lineInterpolation": "stepAfter", "fillOpacity": 70, "lineWidth": 0, "spanNulls": False, "axisPlacement": "hidden"},
            overrides=bands,
            max=1,
            calcs=(),
        ),
        lines(
            t("Failed fetches of this app, by reason", "该小程序失败的调用（按原因）"),
            t("Failed calls per hour. When they go on, the balance above stands still.", "每小时失败的调用次数。持续失败时，上面的余额不再更新。"),
            [
                query(f"3600 * sum by (reason) (rate({this_app('wechat_logistics_api_failures_total')}[$__rate_interval])) > 0", "{{reason}}", interval="1m"),
                query(f"3600 * sum(rate({this_app('wechat_logistics_api_failures_total')}[$__rate_interval]))", t("all", "合计"), interval="1m"),
            ],
            (12, 21, 12, 6),
            custom={"fillOpacity": 30},
            overrides=[override(t("all", "合计"), color={"mode": "fixed", "fixedColor": GREY}, custom_fillOpacity=0)],
            decimals=0,
            calcs=("max",),
        ),
        table(
            t("Account", "账号信息"),
            t("What WeChat says about the account. The reason of a failed binding (remark_wrong_msg) is shown where the exporter's configuration asks for it.", "微信返回的账号信息。绑定失败原因（remark_wrong_msg）需在 exporter 配置中开启。"),
            [
                query(this_account("wechat_logistics_account_info"), table=True),
                query(f"max by ({ids}) ({this_account('wechat_logistics_account_status_code')})", table=True),
                stamp("create"),
                stamp("update"),
                query(f"max by ({ids}) ({this_account('wechat_logistics_account_status_code')})", table=True),
            ],
            (0, 27, 24, 5),
            {
                "delivery_name": t("Courier", "快递公司"),
                "biz_id": t("Account", "账号"),
                "alias": t("Alias", "别名"),
                "network": t("Network", "网络"),
                "Value #B": t("Status", "状态"),
                "remark_wrong_msg": t("Reason", "原因"),
                "Value #E": t("To do about the binding", "绑定处理"),
                "Value #C": t("Created", "创建时间"),
                "Value #D": t("Changed", "更新时间"),
                "appid": None,
                "delivery_id": None,
                "instance": None,
                "Value #A": None,
                "__name__": None,
            },
            t("Changed", "更新时间"),
            descending=True,
            overrides=[
                override(t("Network", "网络"), mappings=[value_texts({"franchise": (t("franchise: prepaid waybills", "加盟：预付面单"), BLUE), "direct": (t("direct: billed monthly", "直营：月结"), GREY), "unknown": (t("unknown", "未知"), GREY)})], custom_width=210),
                override(t("Status", "状态"), mappings=[value_texts(STATUS)], custom_cellOptions=COLOURED_TEXT, custom_align="left"),
                override(t("To do about the binding", "绑定处理"), mappings=[value_texts(TODO_BY_STATUS)], custom_cellOptions=COLOURED_TEXT, custom_align="left", custom_width=190),
                override(t("Created", "创建时间"), unit="time:YYYY-MM-DD HH:mm"),
                override(t("Changed", "更新时间"), unit="time:YYYY-MM-DD HH:mm"),
            ],
        ),
    ]
    biz_ids = variable(
        "biz_id",
        t("Account", "账号"),
        f'label_values(wechat_logistics_account_info{{{RAW}, appid="$appid", delivery_id="$delivery_id"}}, biz_id)',
        False,
    )
    top_up_marks = {
        "name": t("Top-ups", "充值"),
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": GREEN,
        "target": {
            "refId": "Anno",
            "expr": rises,
            "interval": "1m",
            "range": True,
        },
    }
    return dashboard(
        "account",
        t("WeChat waybill balances: account", "微信电子面单余额：单个账号"),
        t("One courier account: balance, use, forecast, status.", "一个快递账号：余额、用量、预测、状态。"),
        ("overview", t("Overview", "总览")),
        shared_variables(False) + [biz_ids],
        [top_up_marks],
        panels,
        "now-3d",
    )


def files():
    """{path: text} of everything this script writes."""
    made = {}
    for name, description in (("overview", overview()), ("account", account_view())):
        for language in LANGUAGES:
            text = json.dumps(in_language(description, language), ensure_ascii=False, indent=2) + "\n"
            made[HERE / "dashboards" / language / f"{name}.json"] = text
    return made


def main():
    stale = []
    for path, text in files().items():
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit("not what grafana/build.py writes: " + ", ".join(stale))


if __name__ == "__main__":
    main()
