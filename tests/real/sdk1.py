"""A server written with version 1 of the official Python SDK, which is what FastMCP 2 and 3 stand on.

Usage: sdk1.py streamable-http|sse PORT [stateless] [json]
"""

import sys

from mcp.server.fastmcp import FastMCP

kind, port, *manner = sys.argv[1:]
server = FastMCP(
    "python-sdk-1",
    host="127.0.0.1",
    port=int(port),
    stateless_http="stateless" in manner,
    json_response="json" in manner,
    log_level="WARNING",
)


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two integers"""
    return a + b


@server.tool()
def break_down() -> str:
    """Always fails"""
    raise ValueError("out of order")


@server.resource("demo://hello")
def hello() -> str:
    return "hello"


@server.prompt()
def greet(who: str) -> str:
    return f"Say hello to {who}"


server.run(transport=kind)
