"""A client written with version 1 of the official Python SDK.

Usage: client1.py COMMAND... ; starts the server and prints what it got as JSON.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ElicitResult


async def answer(*_):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main(command, *args):
    server = StdioServerParameters(command=command, args=list(args), env=dict(os.environ))
    steps = []

    async def progress(done, *_):
        steps.append(done)

    async with (
        stdio_client(server) as (reader, writer),
        ClientSession(reader, writer, elicitation_callback=answer) as client,
    ):
        opened = await client.initialize()
        tools = sorted(tool.name for tool in (await client.list_tools()).tools)
        got = {
            "server": opened.serverInfo.name,
            "tools": tools,
            "resource": (await client.read_resource("demo://hello")).contents[0].text,
            "prompt": (await client.get_prompt("greet", {"who": "Ada"})).messages[0].content.text,
            "add": (await client.call_tool("add", {"a": 2, "b": 3})).structuredContent,
            "broken": (await client.call_tool("break_down", {})).isError,
        }
        try:
            got["asked"] = (await client.call_tool("ask", {})).content[0].text
        except McpError as error:  # A server may be unable to ask in this revision.
            got["asked"] = str(error)
        if "count" in tools:
            counted = await client.call_tool("count", {"steps": 2}, progress_callback=progress)
            # The SDK itself may drop those that arrive together with the result.
            got |= {"counted": counted.content[0].text, "reported": len(steps) > 0}
    print(json.dumps(got))


asyncio.run(main(*sys.argv[1:]))
