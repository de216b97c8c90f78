#!/usr/bin/env node
// Runs the binary of the platform package that npm installed beside this one.
'use strict';

const { spawn } = require('node:child_process');
const { isatty } = require('node:tty');

const platforms = require('./platforms.json');
const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime;
const wanted = `${process.platform}-${process.arch}`;
const fits = (entry) => entry.platform === wanted && !(musl && entry.libc === 'glibc');

function find() {
  const names = platforms.filter(fits).map((entry) => entry.name);
  if (names.length === 0) {
    return fail(`there is no mcpipe binary for ${wanted}${musl ? ' (musl)' : ''}; build it from source with cargo`);
  }
  for (const name of names) {
    try {
      return require.resolve(`${name}/${process.platform === 'win32' ? 'mcpipe.exe' : 'mcpipe'}`);
    } catch {
      // The next one.
    }
  }
  return fail(`the package ${names.join(' or ')} is missing; install again without --omit=optional`);
}

function fail(message) {
  process.stderr.write(`mcpipe: ${message}\n`);
  process.exit(70);
}

const child = spawn(find(), process.argv.slice(2), { stdio: 'inherit', windowsHide: true });
const forward = {};
// Any of the streams may be redirected.
const atTerminal = [0, 1, 2].some(isatty);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGBREAK']) {
  // A key at a terminal is sent to all processes there, as is every signal on Windows, where it comes from the console; a
  // second signal would make mcpipe end at once.
  const fromTerminal = process.platform === 'win32' || ((signal === 'SIGINT' || signal === 'SIGQUIT') && atTerminal);
  forward[signal] = () => fromTerminal || child.kill(signal);
  process.on(signal, forward[signal]);
}
child.on('error', (error) => fail(`cannot start ${child.spawnfile}: ${error.message}`));
child.on('exit', (code, signal) => {
  for (const name of Object.keys(forward)) {
    process.removeListener(name, forward[name]);
  }
  if (signal) {
    process.kill(process.pid, signal);
  } else {
    process.exitCode = code;
  }
});
