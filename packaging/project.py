"""What the packaging scripts know about the project. The version, the texts and the address of the repository
come from Cargo.toml, the names of the packages from packaging/names.json."""

import functools
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"


def fail(message):
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")


@functools.lru_cache(maxsize=None)
def metadata(target=None):
    """`cargo metadata`, for one target or for all."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(ROOT / "Cargo.toml")]
    if target:
        command += ["--filter-platform", target]
    result = subprocess.run(command, stdout=subprocess.PIPE)
    if result.returncode:
        fail("cargo metadata failed")
    return json.loads(result.stdout)


@functools.lru_cache(maxsize=None)
def package():
    """The package itself, as `cargo metadata` describes it."""
    data = metadata()
    return next(package for package in data["packages"] if package["id"] == data["resolve"]["root"])


def version():
    return package()["version"]


def description():
    return package()["description"]


def repository():
    """The address of the repository, without a slash at the end."""
    return package()["repository"]


def names():
    """The names of the packages in the registries."""
    return json.loads((PACKAGING / "names.json").read_text(encoding="utf-8"))


def dependencies(target=None):
    """The packages that end up in a binary, without those for tests only: pairs of a package and the ids it needs."""
    data = metadata(target)
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    root = data["resolve"]["root"]
    needed, queue = {}, [root]
    while queue:
        id = queue.pop()
        if id in needed:
            continue
        needed[id] = sorted(
            dependency["pkg"]
            for dependency in nodes[id]["deps"]
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        )
        queue += needed[id]
    return sorted(((packages[id], ids) for id, ids in needed.items()), key=lambda pair: (pair[0]["name"], pair[0]["version"]))


@functools.lru_cache(maxsize=None)
def checksums():
    """The SHA-256 of each crate, by name and version, from Cargo.lock."""
    text = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    pattern = r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"\n(?:source = "[^"]+"\n)?(?:checksum = "([0-9a-f]+)"\n)?'
    return {(name, version): checksum or None for name, version, checksum in re.findall(pattern, text)}


@functools.lru_cache(maxsize=None)
def epoch():
    """The time that packages are dated with: SOURCE_DATE_EPOCH, or that of the last commit."""
    if value := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(value)
    result = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    return int(result.stdout) if result.returncode == 0 and result.stdout.strip() else int(time.time())


def fill(template, values):
    """A template with its @NAME@ filled in. A name that has no value, or a value that is not used, is an error."""
    unused = set(values)

    def value(match):
        unused.discard(match[1])
        if match[1] not in values:
            fail(f"the template has @{match[1]}@, which has no value")
        return values[match[1]]

    text = re.sub(r"@([A-Z][A-Z0-9_]*)@", value, template)
    if unused:
        fail(f"the template does not use {', '.join(sorted(unused))}")
    return text


def compressed(content):
    """gzip without a name and a time, as Debian wants it."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def write_tar(path, entries):
    """A .tar.gz of (name, content, mode) in the order given; nothing in it depends on this machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, mode in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), mode, epoch()
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(compressed(buffer.getvalue()))


def write_zip(path, entries):
    moment = time.gmtime(max(epoch(), 315532800))[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name, moment)
            info.external_attr = (0o100000 | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            file.writestr(info, content)
