// A person with a real browser: opens the page in headless Chromium, types a name where one is asked for, presses
// the button until the browser has come back to this machine's /callback, or a page says that it was a success.
// DENY=1 presses nothing but "Cancel".
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const page = process.argv[2];
const profile = mkdtempSync(join(tmpdir(), 'browser-'));
const browser = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', `--user-data-dir=${profile}`,
  // The pages want fonts from elsewhere; nothing but this machine is asked.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--remote-debugging-port=0', 'about:blank',
], { stdio: ['ignore', 'ignore', 'pipe'] });
const limit = setTimeout(() => { browser.kill('SIGKILL'); process.exit(1); }, 40_000);

const address = await new Promise((found) => {
  let said = '';
  browser.stderr.on('data', (chunk) => {
    said += chunk;
    const match = said.match(/DevTools listening on (ws:\S+)/);
    if (match) found(match[1]);
  });
});
const socket = new WebSocket(address);
await new Promise((open) => socket.addEventListener('open', open));
const waiting = new Map();
let next = 1;
socket.addEventListener('message', ({ data }) => {
  const { id, result, error } = JSON.parse(data);
  waiting.get(id)?.(error ? {} : result);
  waiting.delete(id);
});
const ask = (method, params = {}, sessionId = undefined) => new Promise((done) => {
  waiting.set(next, done);
  socket.send(JSON.stringify({ id: next++, method, params, sessionId }));
});

const { targetId } = await ask('Target.createTarget', { url: page });
const { sessionId } = await ask('Target.attachToTarget', { targetId, flatten: true });
const look = async (expression) =>
  (await ask('Runtime.evaluate', { expression, returnByValue: true }, sessionId)).result?.value;
const act = `(() => {
  if (document.readyState !== 'complete') return '';
  if (location.pathname === '/callback' || /success/i.test(document.title)) return 'back';
  const cancel = document.querySelector('a[href$="abort"]');
  if (${Boolean(process.env.DENY)} && cancel) { cancel.click(); return ''; }
  const login = document.querySelector('input[name=login]');
  if (login) { login.value = 'alice'; document.querySelector('input[name=password]').value = 'x'; }
  document.querySelector('[type=submit]')?.click();
  return '';
})()`;
while (await look(act) !== 'back') await new Promise((pause) => setTimeout(pause, 150));
await ask('Browser.close');
await new Promise((ended) => browser.exitCode === null ? browser.on('exit', ended) : ended());
rmSync(profile, { recursive: true, force: true });
clearTimeout(limit);
socket.close();
