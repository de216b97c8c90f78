"""A server that needs a login, with its authorization server, for the tests of the packages: Streamable HTTP, a device flow
that is approved at once, and revocation. Prints its port.

    python3 packaging/provider.py [CERTIFICATE KEY]      HTTP, or HTTPS with a certificate for 127.0.0.1
"""

import http.server
import json
import ssl
import sys
import urllib.parse

TOKEN = "token-of-the-test"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, document, status=200, headers=()):
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        base = self.server.base
        if self.path.startswith("/.well-known/oauth-protected-resource"):
            self.reply({"resource": f"{base}/mcp", "authorization_servers": [base]})
        elif self.path.startswith("/.well-known/"):
            places = ["token", "registration", "device_authorization", "revocation"]
            document = {f"{place}_endpoint": f"{base}/{place}" for place in places}
            document["grant_types_supported"] = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
            document["token_endpoint_auth_methods_supported"] = ["none"]
            document["revocation_endpoint_auth_methods_supported"] = ["none"]
            self.reply({"issuer": base, **document})
        else:
            self.reply(None, 405)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        base = self.server.base
        if self.path == "/registration":
            self.reply({**json.loads(body), "client_id": "registered"}, 201)
        elif self.path == "/device_authorization":
            page = f"{base}/device"
            self.reply({"device_code": "d", "user_code": "AB-CD", "verification_uri": page, "expires_in": 60, "interval": 1})
        elif self.path == "/token":
            assert urllib.parse.parse_qs(body.decode())["client_id"] == ["registered"]
            self.reply({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
        elif self.path == "/revocation":
            self.reply({})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer resource_metadata="{base}/.well-known/oauth-protected-resource/mcp"'
            self.reply(None, 401, [("WWW-Authenticate", challenge)])
        else:
            self.serve(json.loads(body))

    def serve(self, message):
        if "id" not in message:
            self.reply(None, 202)
            return
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "initialize":
            about = {"name": "private", "version": "1"}
            answer["result"] = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": about}
        elif message["method"] == "tools/list":
            answer["result"] = {"tools": [{"name": "whoami", "inputSchema": {"type": "object"}}]}
        elif message["method"] == "tools/call":
            answer["result"] = {"content": [{"type": "text", "text": "Ada"}]}
        else:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        self.reply(answer)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
scheme = "http"
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https"
server.base = f"{scheme}://127.0.0.1:{server.server_port}"
print(server.server_port, flush=True)
server.serve_forever()
