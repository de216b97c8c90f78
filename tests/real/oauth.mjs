// A certified authorization server (oidc-provider) and a protected MCP server (the official TypeScript SDK) in
// one process. Tokens are opaque, so that one that was revoked is refused at once.
//
// RS_PORT: the port of the MCP server (/mcp); NO_DCR=1: clients must be known; KEYS: a directory into which the
// private keys of the clients key-ES256, key-RS256 and key-EdDSA are written. tools/call needs the scope mcp:call,
// everything else mcp:read. POST /life/N makes access tokens live for N seconds, GET /refreshes counts renewals.
import { createHash, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose';
import Provider from 'oidc-provider';
import { McpServer, createMcpHandler, OAuthError, OAuthErrorCode } from '@modelcontextprotocol/server';
import {
  createMcpExpressApp, requireBearerAuth, mcpAuthMetadataRouter, getOAuthProtectedResourceMetadataUrl,
} from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import * as z from 'zod';

const { RS_PORT, NO_DCR, KEYS } = process.env;
let life = 3600;
let refreshes = 0;
const scopes = 'mcp:read mcp:call';

// The issuer's name depends on its port, the resource's on the other: both are bound before anything is told.
const authority = http.createServer();
await new Promise((done) => authority.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${authority.address().port}`;
const resource = `http://127.0.0.1:${RS_PORT}/mcp`;

// Clients that sign who they are.
const kinds = { ES256: ['ec', { namedCurve: 'P-256' }], RS256: ['rsa', { modulusLength: 2048 }], EdDSA: ['ed25519', {}] };
const signers = Object.entries(KEYS ? kinds : {}).map(([alg, [kind, options]]) => {
  const { publicKey, privateKey } = generateKeyPairSync(kind, options);
  writeFileSync(`${KEYS}/${alg}.pem`, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return {
    client_id: `key-${alg}`, token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: alg,
    jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), use: 'sig' }] },
    grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  };
});

const provider = new Provider(issuer, {
  cookies: { keys: ['a key of the test'] },
  clients: [
    ...signers,
    {
      client_id: 'machine', client_secret: 'machine-secret', token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    },
  ],
  scopes: ['openid', 'offline_access', ...scopes.split(' ')],
  responseTypes: ['code'],
  ttl: {
    AccessToken: () => life, ClientCredentials: () => life, AuthorizationCode: 60, RefreshToken: 86400, Session: 3600, Grant: 86400,
    Interaction: 600, IdToken: 3600, DeviceCode: 600,
  },
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: !NO_DCR },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => resource,
      useGrantedResource: async () => true,
      getResourceServerInfo: async (_context, asked) => {
        if (asked !== resource) throw new Error(`unknown resource ${asked}`);
        return { scope: scopes, audience: resource, accessTokenFormat: 'opaque', accessTokenTTL: life };
      },
    },
  },
  issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  findAccount: async (_context, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
});
authority.on('request', provider.callback());
provider.on('grant.success', (context) => { refreshes += context.oidc.params.grant_type === 'refresh_token'; });

const find = async (token) => await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token);
const verifier = {
  async verifyAccessToken(token) {
    const found = await find(token);
    if (!found || found.isExpired) throw new OAuthError(OAuthErrorCode.InvalidToken, 'unknown, expired or revoked');
    return {
      token, clientId: found.clientId, scopes: (found.scope ?? '').split(' ').filter(Boolean), expiresAt: found.exp,
      resource: new URL(resource), extra: { sub: found.accountId },
    };
  },
};
const make = () => {
  const server = new McpServer({ name: 'protected', version: '1' });
  server.registerTool('whoami', { description: 'Who the token is for', inputSchema: z.object({}) }, async (_input, context) => {
    const { clientId, extra } = context.http?.authInfo ?? context.authInfo ?? {};
    return { content: [{ type: 'text', text: extra?.sub ?? clientId ?? 'nobody' }] };
  });
  return server;
};
const app = createMcpExpressApp();
const oauthMetadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();
app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl: new URL(resource), scopesSupported: scopes.split(' ') }));
const guard = (requiredScopes) => requireBearerAuth({
  verifier, requiredScopes, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(new URL(resource)),
});
// RFC 9449: a token that is bound to a key comes with a proof, and is worth nothing without (the SDK knows none).
const proven = async (request, response, next) => {
  const [kind, token] = (request.headers.authorization ?? '').split(' ');
  const bound = (await find(token))?.jkt;
  if (kind !== 'DPoP' && !bound) return next();
  try {
    const { payload, protectedHeader } = await jwtVerify(request.headers.dpop, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] });
    const ath = createHash('sha256').update(token).digest('base64url');
    const good = kind === 'DPoP' && payload.htm === request.method && payload.htu === resource && payload.ath === ath;
    if (!good || bound !== await calculateJwkThumbprint(protectedHeader.jwk)) throw new Error('no proof of this token');
    request.headers.authorization = `Bearer ${token}`;
    next();
  } catch (error) {
    response.status(401).set('WWW-Authenticate', `DPoP error="invalid_token", error_description="${error.message}"`).end();
  }
};
const mcp = toNodeHandler(createMcpHandler(make));
app.post('/life/:seconds', (request, response) => { life = Number(request.params.seconds); response.end(); });
app.get('/refreshes', (_request, response) => response.end(String(refreshes)));
app.all('/mcp', proven,
  (request, response, next) => guard([request.body?.method === 'tools/call' ? 'mcp:call' : 'mcp:read'])(request, response, next),
  (request, response) => mcp(request, response, request.body));
http.createServer(app).listen(Number(RS_PORT), '127.0.0.1');
