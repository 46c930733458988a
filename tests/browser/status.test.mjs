// The status page as people see it: contents, layout, keyboard, accessibility, hostile readings, pictures.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';

import { DESKTOP, LAPTOP, PHONE, TABLET, launch, open, violations } from './browser.mjs';
import { servePages } from './pages.mjs';

const PAGES = ['no-accounts', 'never-read', 'three-accounts', 'shops', 'failures', 'hostile'];
const LANGUAGES = { en: 'en', zh: 'zh-CN' };

const here = path.dirname(fileURLToPath(import.meta.url));

let browser;
let pages;

before(async () => {
  pages = await servePages();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await pages?.close();
});

/** What holds for every page, whatever it shows. */
async function checkInGeneral(page, noticed) {
  assert.deepEqual(await violations(page), []);
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.ok(overflow <= 0, `the page is ${overflow} px wider than the screen`);
  assert.equal(await page.locator('h1').count(), 1);
  assert.equal(await page.locator('main').count(), 1);
  assert.equal(await page.locator('script').count(), 0);
  const radius = await page.evaluate(
    () => getComputedStyle(document.querySelector('.verdict')).borderTopRightRadius,
  );
  assert.equal(radius, '8px', 'the policy let the stylesheet through');
  assert.deepEqual(noticed, []);
}

for (const name of PAGES) {
  for (const [language, tag] of Object.entries(LANGUAGES)) {
    for (const [colorScheme, viewport] of [['light', DESKTOP], ['dark', PHONE], ['dark', DESKTOP], ['light', PHONE]]) {
      const width = viewport.width;
      test(`${name} in ${language} is sound and accessible, ${colorScheme}, ${width} px`, async () => {
        await open(browser, pages.url(`${name}.${language}`), { colorScheme, viewport }, async (page, noticed) => {
          assert.equal(await page.locator('html').getAttribute('lang'), tag);
          await checkInGeneral(page, noticed);
        });
      });
    }
  }
}

test('2,000 accounts are all there, worst first, and accessible', async () => {
  await open(browser, pages.url('2000-accounts.en'), {}, async (page, noticed) => {
    const states = await page.locator('table.accounts tbody .mark').allTextContents();
    assert.equal(states.length, 2000);
    const order = ['Empty', 'Under a day', 'Binding failed', 'Under 3 days', 'Few left', 'Review stuck'];
    const seen = states.filter((state, index) => states.indexOf(state) === index);
    assert.deepEqual(seen.slice(0, order.length), order);
    await checkInGeneral(page, noticed);
  });
});

for (const viewport of [TABLET, LAPTOP]) {
  test(`no text runs out of its cell, ${viewport.width} px`, async () => {
    for (const name of ['shops.en', 'shops.zh', 'failures.en', 'hostile.en']) {
      await open(browser, pages.url(name), { viewport }, async (page, noticed) => {
        const spilt = await page.locator('td, tbody th, dd').evaluateAll((cells) =>
          cells.filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent),
        );
        assert.deepEqual(spilt, [], name);
        assert.deepEqual(noticed, []);
      });
    }
  });
}

test('colour without contrast would be noticed', async () => {
  await open(browser, pages.url('shops.en'), {}, async (page) => {
    await page.evaluate(() => document.documentElement.style.setProperty('--quiet', '#c8c8c8'));
    const found = await violations(page);
    assert.equal(found.length, 1);
    assert.match(found[0], /^color-contrast/);
  });
});

test('2,000 accounts fit a telephone', async () => {
  await open(browser, pages.url('2000-accounts.zh'), { viewport: PHONE }, async (page, noticed) => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= PHONE.width, `${width}`);
    assert.deepEqual(noticed, []);
  });
});

test('numbers stand right-aligned in tabular figures', async () => {
  await open(browser, pages.url('shops.en'), {}, async (page) => {
    const styles = await page.locator('table.accounts td.number').evaluateAll((cells) =>
      cells.map((cell) => {
        const { textAlign, fontVariantNumeric } = getComputedStyle(cell);
        return `${textAlign} ${fontVariantNumeric}`;
      }),
    );
    assert.deepEqual([...new Set(styles)], ['end tabular-nums']);
  });
});

test('table keeps its rows, heads and cells for a screen reader on a telephone', async () => {
  await open(browser, pages.url('three-accounts.en'), { viewport: PHONE }, async (page) => {
    const table = page.getByRole('table', { name: /Courier accounts/ });
    assert.equal(await table.getByRole('row').count(), 4);
    assert.equal(await table.getByRole('columnheader').count(), 7);
    assert.equal(await table.getByRole('rowheader').count(), 3);
    assert.equal(await table.getByRole('cell').count(), 18);
  });
});

test('keyboard meets the way past the head first, then the other language', async () => {
  await open(browser, pages.url('shops.en'), {}, async (page) => {
    await page.keyboard.press('Tab');
    const skip = page.locator('.skip');
    assert.ok(await skip.evaluate((link) => link === document.activeElement));
    assert.ok((await skip.boundingBox()).x >= 0, 'the link shows while it has the focus');
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => document.activeElement.textContent);
    assert.equal(focused, '中文');
  });
});

test('every failure names its cure, and a paused app its next try', async () => {
  await open(browser, pages.url('failures.en'), {}, async (page) => {
    const apps = await page.locator('section.app').count();
    assert.equal(await page.locator('section.app .trouble').count(), apps);
    const whitelisted = page.locator('section.app', { has: page.getByRole('heading', { name: 'ip_whitelist' }) });
    await whitelisted.getByText('203.0.113.7', { exact: false }).first().waitFor();
    await whitelisted.getByText('with the first scrape after', { exact: false }).waitFor();
  });
});

test('state is said in words and shapes, not by colour alone', async () => {
  await open(browser, pages.url('failures.en'), {}, async (page) => {
    const shapes = await page.locator('section.app > .name > .mark').evaluateAll((marks) =>
      marks.map((mark) => {
        const { clipPath, backgroundColor, borderRadius } = getComputedStyle(mark, '::before');
        const filled = backgroundColor !== 'rgba(0, 0, 0, 0)';
        return [mark.className, `${clipPath} ${borderRadius} ${filled}`, mark.textContent.trim()];
      }),
    );
    const byLevel = new Map(shapes.map(([level, shape]) => [level, shape]));
    assert.equal(new Set(byLevel.values()).size, byLevel.size);
    assert.ok(shapes.every(([, , text]) => text.length > 0));
  });
});

test('texts from outside run no script and turn no line around', async () => {
  await open(browser, pages.url('hostile.en'), {}, async (page, noticed) => {
    assert.match(await page.title(), /WeChat waybill balances$/);
    assert.equal(await page.locator('img, svg, iframe').count(), 0);
    // A reversed customer code stays in its cell: the courier is left of it and the balance right.
    const row = page.locator('table.accounts tbody tr', { hasText: 'txet desrever' });
    const left = async (cell) => (await row.locator(cell).boundingBox()).x;
    assert.ok((await left('td:nth-child(2)')) < (await left('th')));
    assert.ok((await left('th')) < (await left('td:nth-child(4)')));
    assert.deepEqual(noticed, []);
  });
});

/** The exporter itself, serving its simulated apps, which one scrape has read. */
async function demo() {
  const program = path.resolve(here, '../../target/debug/wechat-logistics-exporter');
  const child = spawn(program, ['demo', '--web.listen-address=127.0.0.1:0'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const address = await new Promise((resolve, reject) => {
    let log = '';
    child.on('error', reject);
    child.on('exit', () => reject(new Error(`the exporter ended: ${log}`)));
    child.stderr.on('data', (text) => {
      log += text;
      const found = /"Listening on" address=(\S+)/.exec(log);
      if (found) resolve(found[1]);
    });
  });
  const url = `http://${address}/`;
  assert.equal((await fetch(`${url}metrics`)).status, 200);
  return { url, end: () => child.kill() };
}

test('running exporter serves a sound page in both languages', async () => {
  const exporter = await demo();
  after(exporter.end);
  for (const [locale, tag] of [['en-GB', 'en'], ['zh-CN', 'zh-CN']]) {
    await open(browser, exporter.url, { locale }, async (page, noticed) => {
      assert.equal(await page.locator('html').getAttribute('lang'), tag);
      await checkInGeneral(page, noticed);
      for (const link of await page.locator('footer a[href^="."]').evaluateAll((all) => all.map((a) => a.href))) {
        const answer = await page.request.get(link);
        assert.equal(answer.status(), 200, link);
      }
      await page.locator('header nav a').click();
      assert.notEqual(await page.locator('html').getAttribute('lang'), tag);
    });
  }
});

test('pictures for the documentation', async () => {
  const folder = path.resolve(here, process.env.STATUS_PICTURES ?? '../../target/status-pictures');
  await mkdir(folder, { recursive: true });
  const desk = { viewport: { width: 1280, height: 1180 } };
  const phone = { viewport: PHONE, deviceScaleFactor: 2 };
  const pictures = [
    ['shops.en', 'status-light', desk],
    ['shops.en', 'status-dark', { ...desk, colorScheme: 'dark' }],
    ['shops.zh', 'status-zh-light', desk],
    ['shops.zh', 'status-zh-dark', { ...desk, colorScheme: 'dark' }],
    ['three-accounts.zh', 'status-zh-phone', phone],
    ['three-accounts.en', 'status-phone-dark', { ...phone, colorScheme: 'dark' }],
    ['failures.en', 'status-failures', desk],
    ['never-read.en', 'status-never-read', { viewport: { width: 1280, height: 520 } }],
    ['2000-accounts.zh', 'status-zh-2000-accounts', desk],
  ];
  for (const [name, picture, options] of pictures) {
    await open(browser, pages.url(name), options, async (page) => {
      await page.screenshot({ path: path.join(folder, `${picture}.png`) });
    });
  }
});
