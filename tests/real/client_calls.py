"""What the clients of both generations of the Python SDK do with a server."""


async def call_everything(client, error_type, structured, is_error):
    """Returns what the server answers; `structured` and `is_error` are the names of a result's attributes."""
    steps = []

    async def progress(done, *_):
        steps.append(done)

    tools = sorted(tool.name for tool in (await client.list_tools()).tools)
    got = {
        "tools": tools,
        "resource": (await client.read_resource("demo://hello")).contents[0].text,
        "prompt": (await client.get_prompt("greet", {"who": "Ada"})).messages[0].content.text,
        "add": getattr(await client.call_tool("add", {"a": 2, "b": 3}), structured),
        "broken": getattr(await client.call_tool("break_down", {}), is_error),
    }
    try:
        got["asked"] = (await client.call_tool("ask", {})).content[0].text
    except error_type as error:  # A server may be unable to ask in this revision.
        got["asked"] = str(error)
    if "count" in tools:
        counted = await client.call_tool("count", {"steps": 2}, progress_callback=progress)
        # The SDK itself may drop those that arrive together with the result.
        got |= {"counted": counted.content[0].text, "reported": len(steps) > 0}
    return got
