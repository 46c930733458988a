"""The status page in Chromium: soundness, accessibility, languages, themes, widths, hostile texts.

    cargo test --lib status                    writes the pages into target/status-pages
    python3 -m pip install --require-hashes --no-deps --target target/axe -r tests/browser/requirements.txt
    /usr/bin/python3 tests/browser/test_status.py
    PICTURES=docs/pictures /usr/bin/python3 tests/browser/test_status.py

Debian's packages: chromium chromium-driver python3-selenium fonts-noto-cjk. EXPORTER names a binary other than
target/debug/wechat-logistics-exporter.
"""

import functools
import http.server
import os
import pathlib
import re
import subprocess
import threading
import unittest
import urllib.request

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ROOT / "target/status-pages"
AXE = ROOT / "target/axe/axe_playwright_python/axe.min.js"
EXPORTER = os.environ.get("EXPORTER", str(ROOT / "target/debug/wechat-logistics-exporter"))
DESKTOP, TABLET, PHONE = (1280, 900), (768, 1024), (390, 844)
RUN_AXE = """
const done = arguments[arguments.length - 1];
const describe = (rule) => rule.id + ": " + rule.nodes.map((node) => node.html.slice(0, 200)).join(" | ");
axe.run().then(({ violations }) => done(violations.map(describe)), (error) => done([String(error)]));
"""
FAULTS = """
const faults = [];
const { scrollWidth, clientWidth } = document.documentElement;
if (scrollWidth > clientWidth) faults.push(`${scrollWidth} px in a window of ${clientWidth}`);
for (const cell of document.querySelectorAll("td, tbody th, dd")) {
  if (cell.scrollWidth > cell.clientWidth + 1) faults.push("runs out of its cell: " + cell.textContent);
}
if (document.querySelector("script, img, iframe, form, [style]")) faults.push("an element that must not be there");
if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
if (getComputedStyle(document.querySelector(".sheet")).borderRadius !== "8px") faults.push("no stylesheet");
for (const { name } of performance.getEntriesByType("resource")) {
  if (!name.startsWith("data:")) faults.push("loads " + name);
}
return faults;
"""


class Pages(http.server.SimpleHTTPRequestHandler):
    """The pages with the policy that the exporter sends."""

    def end_headers(self):
        self.send_header("Content-Security-Policy", (PAGES / "policy.txt").read_text(encoding="utf-8"))
        super().end_headers()

    def log_message(self, *_):
        pass


class StatusPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        handler = functools.partial(Pages, directory=PAGES)
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        options = webdriver.ChromeOptions()
        for flag in ["headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars"]:
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        cls.addClassCleanup(cls.driver.quit)
        cls.driver.set_script_timeout(60)

    def open(self, page, theme="light", size=DESKTOP, scale=1):
        """Opens a page of the fixtures, or a URL."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        local = f"http://127.0.0.1:{self.server.server_port}/{page}.html"
        self.driver.get(page if page.startswith("http") else local)

    def run_axe(self):
        # Injected through the debugger, because the page's own policy allows no script.
        self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        return self.driver.execute_async_script(RUN_AXE)

    def check(self, language):
        """What holds for every page."""
        self.assertEqual(self.driver.execute_script("return document.documentElement.lang"), language)
        self.assertEqual(self.driver.execute_script(FAULTS), [])
        self.assertEqual([entry["message"] for entry in self.driver.get_log("browser")], [])

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def test_pages_are_sound_and_accessible(self):
        for page in ["shops", "failures", "hostile"]:
            for suffix, language in [("en", "en"), ("zh", "zh-CN")]:
                for theme, size in [("light", DESKTOP), ("dark", PHONE), ("light", TABLET)]:
                    with self.subTest(page=page, language=language, theme=theme, width=size[0]):
                        self.open(f"{page}.{suffix}", theme, size)
                        self.check(language)
                        # axe's results don't depend on the combination of language and width.
                        if (language, size) in [("en", DESKTOP), ("zh-CN", PHONE)]:
                            self.assertEqual(self.run_axe(), [])

    def test_thousands_of_accounts_are_bounded_and_fit_a_phone(self):
        self.open("2000-accounts.zh", "light", PHONE)
        self.assertEqual(len(self.all("table.accounts tbody tr")), 1000)
        self.check("zh-CN")

    def test_dark_theme_is_dark(self):
        for theme, is_dark in [("light", False), ("dark", True)]:
            self.open("shops.en", theme)
            color = self.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            self.assertEqual(int(re.search(r"\d+", color)[0]) < 128, is_dark, color)

    def test_faults_would_be_noticed(self):
        self.open("shops.en")
        self.driver.execute_script("document.documentElement.style.setProperty('--quiet', '#c8c8c8')")
        self.assertRegex(self.run_axe()[0], "^color-contrast")

    def test_table_keeps_its_roles_on_a_phone(self):
        self.open("shops.en", "light", PHONE)
        table = self.all("table.accounts")[0]
        self.assertEqual(table.aria_role, "table")
        for selector, role in [("tbody tr", "row"), ("thead th", "columnheader"), ("tbody th", "rowheader"), ("td", "cell")]:
            self.assertEqual(table.find_element(By.CSS_SELECTOR, selector).aria_role, role)

    def test_keyboard_reaches_the_accounts_first(self):
        self.open("shops.en")
        self.all("body")[0].send_keys(Keys.TAB)
        focused = self.driver.switch_to.active_element
        self.assertEqual(focused.text, "Skip to the accounts")
        self.assertGreaterEqual(focused.rect["x"], 0)

    def test_severity_has_a_shape_beside_its_colour(self):
        self.open("shops.en")
        shapes = self.driver.execute_script(
            """return [...document.querySelectorAll(".counts .mark")].map((mark) => {
                 const { clipPath, backgroundColor } = getComputedStyle(mark, "::before");
                 return [mark.className, clipPath + (backgroundColor === "rgba(0, 0, 0, 0)")];
               });"""
        )
        self.assertEqual(len(dict(shapes)), 4)
        self.assertEqual(len(set(dict(shapes).values())), 4)

    def test_reversed_text_stays_in_its_cell(self):
        self.open("hostile.en")
        row = next(row for row in self.all("table.accounts tbody tr") if "txet desrever" in row.text)
        positions = [cell.rect["x"] for cell in row.find_elements(By.CSS_SELECTOR, "td, th")]
        self.assertEqual(positions, sorted(positions))

    def test_running_exporter_serves_the_page_in_the_browsers_language(self):
        command = [EXPORTER, "demo", "--web.listen-address=127.0.0.1:0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exporter:
            self.addCleanup(self.driver.execute_cdp_cmd, "Network.setExtraHTTPHeaders", {"headers": {}})
            try:
                address = next(filter(None, (re.search(r'"Listening on" address=(\S+)', line) for line in exporter.stderr)))[1]
                threading.Thread(target=exporter.stderr.read, daemon=True).start()
                urllib.request.urlopen(f"http://{address}/metrics").read()
                self.driver.execute_cdp_cmd("Network.enable", {})
                for tag, other in [("en", "zh-CN"), ("zh-CN", "en")]:
                    headers = {"headers": {"Accept-Language": f"{tag},de;q=0.5"}}
                    self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", headers)
                    self.open(f"http://{address}/")
                    self.check(tag)
                    for link in self.all("footer a"):
                        if address in link.get_attribute("href"):
                            urllib.request.urlopen(link.get_attribute("href")).read()
                    self.all("table.apps a")[0].click()
                    self.assertEqual(len(self.all("section.app")), 1)
                    self.check(tag)
                    self.all(f"header a[hreflang={other}]")[0].click()
                    self.assertEqual(len(self.all("section.app")), 1)
                    self.check(other)
            finally:
                exporter.terminate()

    if "PICTURES" in os.environ:

        def test_pictures_for_the_documentation(self):
            for page, theme, name in [("shops.en", "light", "status-light"), ("shops.zh", "dark", "status-zh-dark")]:
                self.open(page, theme, (1280, 1180))
                self.driver.save_screenshot(str(pathlib.Path(os.environ["PICTURES"]) / f"{name}.png"))


if __name__ == "__main__":
    unittest.main()
