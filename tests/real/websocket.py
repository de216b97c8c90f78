"""A server over a WebSocket, which the Python SDK served up to version 1. Usage: websocket.py PORT"""

import sys
import warnings

import uvicorn

warnings.filterwarnings("ignore", category=DeprecationWarning)

from mcp.server.fastmcp import FastMCP  # noqa: E402
from mcp.server.websocket import websocket_server  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.routing import WebSocketRoute  # noqa: E402

server = FastMCP("python-websocket")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two integers"""
    return a + b


@server.resource("demo://hello")
def hello() -> str:
    return "hello"


class Endpoint:
    async def __call__(self, scope, receive, send):
        inner = server._mcp_server
        async with websocket_server(scope, receive, send) as (incoming, outgoing):
            await inner.run(incoming, outgoing, inner.create_initialization_options())


app = Starlette(routes=[WebSocketRoute("/ws", Endpoint())])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
