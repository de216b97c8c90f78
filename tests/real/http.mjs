// Node's own HTTP/1.1, HTTP/2 and compressors around the smallest MCP server of the modern era: what a client says
// about them is judged by an implementation that is not ours.
//
// RS_PORT; CERT and KEY: files, https by HTTP/2 alone (HTTP1=1: by HTTP/1.1 alone); ENCODING: br, zstd, gzip or
// deflate, used whether the client asked for it or not; STREAM=1: the answer comes as an event stream.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import fs from 'node:fs';
import zlib from 'node:zlib';

const { RS_PORT, CERT, KEY, HTTP1, ENCODING, STREAM } = process.env;
const pack = { br: zlib.createBrotliCompress, zstd: zlib.createZstdCompress, gzip: zlib.createGzip, deflate: zlib.createDeflate };

const tool = { name: 'how', inputSchema: { type: 'object' } };

function result(message, request) {
  const facts = { resultType: 'complete', _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'node', version: '1' } } };
  if (message.method === 'tools/list') return { ...facts, tools: [tool], ttlMs: 60000, cacheScope: 'private' };
  const text = `HTTP/${request.httpVersion}, ${(request.headers['accept-encoding'] ?? 'nothing').split(/, */).sort().join()}`;
  return { ...facts, content: [{ type: 'text', text }] };
}

async function serve(request, response) {
  let body = '';
  for await (const piece of request) body += piece;
  const message = JSON.parse(body);
  const answer = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: result(message, request) });
  response.setHeader('Content-Type', STREAM ? 'text/event-stream' : 'application/json');
  if (ENCODING) response.setHeader('Content-Encoding', ENCODING);
  const out = ENCODING ? pack[ENCODING]() : response;
  if (ENCODING) out.pipe(response);
  out.end(STREAM ? `: hello\n\ndata: ${answer}\n\n` : answer);
}

const keys = () => ({ cert: fs.readFileSync(CERT), key: fs.readFileSync(KEY) });
let server;
if (!CERT) server = http.createServer(serve);
else if (HTTP1) server = https.createServer(keys(), serve);
else server = http2.createSecureServer(keys(), serve);
server.listen(Number(RS_PORT), '127.0.0.1');
