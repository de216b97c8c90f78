// A server written with the official TypeScript SDK, version 2, which speaks both eras.
// Usage: sdk.mjs stdio | http PORT
import { McpServer, acceptedContent, createMcpHandler, inputRequired } from '@modelcontextprotocol/server';
import * as z from 'zod';

const Name = z.object({ name: z.string().default('nobody') });

function make() {
  const server = new McpServer({ name: 'typescript-sdk', version: '1.0' }, { instructions: 'A server for tests.' });
  const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
  server.registerTool(
    'add',
    {
      description: 'Adds two numbers',
      inputSchema: z.object({ a: z.number(), b: z.number() }),
      outputSchema: z.object({ sum: z.number() }),
    },
    async ({ a, b }) => ({ ...text(a + b), structuredContent: { sum: a + b } }),
  );
  server.registerTool('break_down', { description: 'Always fails' }, async () => ({ isError: true, ...text('out of order') }));
  server.registerTool('ask', { description: 'Asks for a name' }, async (ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'who', Name);
    if (answer) return text(`Hello ${answer.name}`);
    return inputRequired({ inputRequests: { who: inputRequired.elicit({ message: 'Who are you?', requestedSchema: Name }) } });
  });
  server.registerResource('hello', 'demo://hello', {}, async (uri) => ({ contents: [{ uri: uri.href, text: 'hello' }] }));
  server.registerPrompt('greet', { argsSchema: z.object({ who: z.string() }) }, async ({ who }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Say hello to ${who}` } }],
  }));
  return server;
}

if (process.argv[2] === 'stdio') {
  const { serveStdio } = await import('@modelcontextprotocol/server/stdio');
  await serveStdio(make);
} else {
  const { createMcpExpressApp } = await import('@modelcontextprotocol/express');
  const { toNodeHandler } = await import('@modelcontextprotocol/node');
  const app = createMcpExpressApp();
  const handle = toNodeHandler(createMcpHandler(make));
  app.all('/mcp', (request, response) => handle(request, response, request.body));
  app.listen(Number(process.argv[3]), '127.0.0.1');
}
