"""A server written with fastmcp that lists 25 tools in pages of ten. Usage: paged.py stdio | http PORT"""

import sys

from fastmcp import FastMCP

server = FastMCP("paged", version="1.0", list_page_size=10)


def numbered(n):
    def tool(x: int = n) -> int:
        return x

    tool.__name__ = f"tool_{n:02}"
    tool.__doc__ = f"Returns {n} unless told otherwise"
    return tool


for n in range(25):
    server.tool(numbered(n))

if sys.argv[1] == "stdio":
    server.run("stdio", show_banner=False)
else:
    server.run("http", host="127.0.0.1", port=int(sys.argv[2]), show_banner=False, log_level="error")
