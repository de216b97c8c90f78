"""A client written with the official Python SDK, in each of its modes.

Usage: client.py auto|legacy|2026-07-28 COMMAND... ; starts the server and prints what it got as JSON.
"""

import asyncio
import json
import os
import sys

from client_calls import call_everything
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult


async def answer(*_):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main(mode, command, *args):
    server = StdioServerParameters(command=command, args=list(args), env=dict(os.environ))
    async with Client(server, mode=mode, elicitation_callback=answer) as client:
        # Without server/discover it is unknown.
        name = client.server_info and client.server_info.name
        got = {"server": name} | await call_everything(client, MCPError, "structured_content", "is_error")
    print(json.dumps(got))


asyncio.run(main(*sys.argv[1:]))
