"""A server written with fastmcp that offers the skills below a directory. Usage: skills.py DIRECTORY"""

import sys
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.server.providers.skills import SkillsDirectoryProvider
from fastmcp.skills.extension import SkillsExtension

server = FastMCP("skills", version="1.0")
provider = SkillsDirectoryProvider(roots=Path(sys.argv[1]), experimental_skills=True)
server.add_provider(provider)
server.add_extension(SkillsExtension(providers=[provider]))
server.run("stdio", show_banner=False)
