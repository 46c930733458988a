// One Chromium for all tests, and a page that notices whatever a page must not do.

import axe from 'axe-core';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts Chromium with a profile of its own, which is gone afterwards. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
  });
}

export const DESKTOP = { width: 1280, height: 800 };
export const TABLET = { width: 768, height: 1024 };
export const LAPTOP = { width: 1000, height: 700 };
export const PHONE = { width: 390, height: 844 };

/**
 * Opens an address and hands the page to `look`. `noticed` collects complaints of the browser's (a policy violated, a
 * dialog, a fault on the page) and requests beyond the document itself.
 */
export async function open(browser, url, options, look) {
  const { colorScheme = 'light', viewport = DESKTOP, ...rest } = options;
  const context = await browser.newContext({ colorScheme, viewport, ...rest });
  context.setDefaultTimeout(30_000);
  try {
    const page = await context.newPage();
    const noticed = [];
    page.on('console', (message) => noticed.push(`console: ${message.text()}`));
    page.on('pageerror', (error) => noticed.push(`error: ${error.message}`));
    page.on('dialog', async (dialog) => {
      noticed.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    page.on('request', (request) => {
      const address = request.url();
      if (address !== url && !address.startsWith('data:')) {
        noticed.push(`request: ${address}`);
      }
    });
    await page.goto(url);
    await look(page, noticed);
  } finally {
    await context.close();
  }
}

/** What axe-core holds against the page, one line for each rule. */
export async function violations(page) {
  // Through the debugger: the page's own policy allows no script, not even this one.
  await page.evaluate(axe.source);
  const results = await page.evaluate(() =>
    window.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      resultTypes: ['violations'],
    }),
  );
  return results.violations.map(({ id, nodes }) => {
    const { target, failureSummary } = nodes[0];
    return `${id} at ${nodes.length} places, first ${target}: ${failureSummary}`;
  });
}
