// Clients written with the official TypeScript SDK: version 1, or version 2 in each of its modes.
// Usage: client.mjs v1|auto|legacy|2026-07-28 COMMAND... ; starts the server and prints what it got as JSON.
const [kind, command, ...args] = process.argv.slice(2);
const is1 = kind === 'v1';
const root = is1 ? '@modelcontextprotocol/sdk/client' : '@modelcontextprotocol/client';
const { Client } = await import(is1 ? `${root}/index.js` : root);
const { StdioClientTransport } = await import(is1 ? `${root}/stdio.js` : `${root}/stdio`);
const { ElicitRequestSchema } = is1 ? await import('@modelcontextprotocol/sdk/types.js') : {};

const mode = ['auto', 'legacy'].includes(kind) ? kind : { pin: kind };
const client = new Client(
  { name: 'typescript-client', version: '1.0' },
  { capabilities: { elicitation: { form: {} } }, ...(is1 ? {} : { versionNegotiation: { mode } }) },
);
const answer = async () => ({ action: 'accept', content: { name: 'Ada' } });
client.setRequestHandler(is1 ? ElicitRequestSchema : 'elicitation/create', answer);
const transport = new StdioClientTransport({ command, args, stderr: 'inherit', env: process.env });
await client.connect(transport);

const steps = [];
const got = {
  server: client.getServerVersion()?.name,
  tools: (await client.listTools()).tools.map((tool) => tool.name).sort(),
  resource: (await client.readResource({ uri: 'demo://hello' })).contents[0].text,
  prompt: (await client.getPrompt({ name: 'greet', arguments: { who: 'Ada' } })).messages[0].content.text,
};
const call = async (name, values, options) => {
  const request = { name, arguments: values };
  return is1 ? client.callTool(request, undefined, options) : client.callTool(request, options);
};
got.add = (await call('add', { a: 2, b: 3 })).structuredContent;
got.broken = (await call('break_down', {})).isError;
// A server may be unable to ask in this revision.
got.asked = await call('ask', {}).then((result) => result.content[0].text, (error) => error.message);
if (got.tools.includes('count')) {
  got.counted = (await call('count', { steps: 2 }, { onprogress: (one) => steps.push(one.progress) })).content[0].text;
  // The SDK itself may drop those that arrive together with the result.
  got.reported = steps.length > 0;
}
await client.close();
console.log(JSON.stringify(got));
