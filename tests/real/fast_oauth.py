"""FastMCP with its own authorization server on one origin, which lets everybody in. Usage: fast_oauth.py PORT"""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers import in_memory

port = int(sys.argv[1])
# As short as a test can wait for.
in_memory.DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS = 5


class Provider(in_memory.InMemoryOAuthProvider):
    """Counts the renewals."""

    count = 0

    async def exchange_refresh_token(self, *args):
        self.count += 1
        return await super().exchange_refresh_token(*args)


provider = Provider(
    base_url=f"http://127.0.0.1:{port}",
    client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=["use"], default_scopes=[]),
    revocation_options=RevocationOptions(enabled=True),
    required_scopes=["use"],
)
server = FastMCP("fast", auth=provider)


@server.tool
def add(a: int, b: int) -> int:
    """Adds two integers"""
    return a + b


@server.tool
def lifetime(seconds: int) -> int:
    """Sets how long new tokens are valid, and returns how often a token has been renewed"""
    in_memory.DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS = seconds
    return provider.count


server.run("http", host="127.0.0.1", port=port, show_banner=False)
