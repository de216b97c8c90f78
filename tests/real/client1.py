"""A client written with version 1 of the official Python SDK.

Usage: client1.py COMMAND... ; starts the server and prints what it got as JSON.
"""

import asyncio
import json
import os
import sys

from client_calls import call_everything
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ElicitResult


async def answer(*_):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main(command, *args):
    server = StdioServerParameters(command=command, args=list(args), env=dict(os.environ))
    async with (
        stdio_client(server) as (reader, writer),
        ClientSession(reader, writer, elicitation_callback=answer) as client,
    ):
        opened = await client.initialize()
        name = opened.serverInfo.name
        got = {"server": name} | await call_everything(client, McpError, "structuredContent", "isError")
    print(json.dumps(got))


asyncio.run(main(*sys.argv[1:]))
