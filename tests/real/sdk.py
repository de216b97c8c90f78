"""A server written with the official Python SDK. Usage: sdk.py stdio | streamable-http PORT | sse PORT"""

import asyncio
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

server = MCPServer("python-sdk", version="1.0", instructions="A server for tests.")


class Sum(BaseModel):
    total: int


class Name(BaseModel):
    name: str = "nobody"


@server.tool()
def add(a: int, b: int) -> Sum:
    """Adds two integers"""
    return Sum(total=a + b)


@server.tool()
def break_down() -> str:
    """Always fails"""
    raise ValueError("out of order")


@server.tool()
async def count(steps: int, ctx: Context) -> str:
    """Counts slowly"""
    for step in range(steps):
        await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        await asyncio.sleep(0.05)
    return f"counted to {steps}"


@server.tool()
async def ask(ctx: Context) -> str:
    """Asks for a name"""
    answer = await ctx.elicit("Who are you?", Name)
    return f"{answer.action} {getattr(getattr(answer, 'data', None), 'name', '')}".strip()


@server.resource("demo://hello")
def hello() -> str:
    return "hello"


touched = 0


@server.resource("demo://touched")
def touches() -> str:
    return f"touched {touched}"


@server.tool()
async def touch(ctx: Context) -> str:
    """Changes demo://touched"""
    global touched
    touched += 1
    await ctx.notify_resource_updated("demo://touched")
    return "done"


@server.resource("demo://item/{id}")
def item(id: str) -> str:
    return f"item {id}"


@server.prompt()
def greet(who: str) -> str:
    """Greets someone"""
    return f"Say hello to {who}"


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run(sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]))
