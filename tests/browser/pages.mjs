// Serves the rendered pages from loopback, each with the policy that the exporter would send.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.resolve(here, process.env.STATUS_PAGES ?? '../../target/status-pages');

/** Starts the server; `url(name)` is a page's address. */
export async function servePages() {
  const policy = await readFile(path.join(folder, 'policy.txt'), 'utf8').catch(() => {
    throw new Error(`no pages in ${folder}; run "npm run pages" first`);
  });
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, 'http://loopback').pathname.slice(1);
    const known = /^[a-z0-9-]+\.(en|zh)\.html$/.test(name);
    const page = known ? await readFile(path.join(folder, name)).catch(() => null) : null;
    if (page === null) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
    });
    response.end(page);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return {
    url: (name) => `http://127.0.0.1:${port}/${name}.html`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}
