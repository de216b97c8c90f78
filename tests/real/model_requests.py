"""Checks requests to model APIs with the types of the vendors' own packages.

Reads a JSON array of {"api", "body"} and prints a JSON array with an error text for each, or null if it is valid.
"""

import json
import re
import sys

import anthropic.types.message_create_params as anthropic
import jsonschema
import openai.types.chat.completion_create_params as chat
import openai.types.responses.response_create_params as responses
from google.genai import types as gemini
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

# The APIs refuse members that they do not know; without this, the types of the packages allow them.
for name, module in list(sys.modules.items()):
    if name.startswith(("anthropic.types.", "openai.types.")):
        for value in vars(module).values():
            if is_typeddict(value):
                value.__pydantic_config__ = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

# What the descriptions of the members `name` in the packages say. Anthropic's error for other names of parameters:
# "input_schema.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'".
TOOL_NAMES = {
    "anthropic": r"[a-zA-Z0-9_-]{1,128}",
    "openai": r"[a-zA-Z0-9_-]{1,64}",
    "openai-responses": r"[a-zA-Z0-9_-]{1,64}",
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}",
}
ANTHROPIC_PROPERTY = r"[a-zA-Z0-9_.-]{1,64}"


META_SCHEMA = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)

# Parts that are checked later need them.
BODIES = {
    "anthropic": TypeAdapter(anthropic.MessageCreateParamsNonStreaming),
    "openai": TypeAdapter(chat.CompletionCreateParamsNonStreaming),
    "openai-responses": TypeAdapter(responses.ResponseCreateParamsNonStreaming),
}


def read_all(value):
    """Pydantic checks the items of an `Iterable` only when they are read."""
    if isinstance(value, dict):
        value = value.values()
    elif isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return
    for one in value:
        read_all(one)


def subschemas(schema):
    """The schema and all inside it, without the values of `enum`, `const`, `default` and `examples`."""
    if isinstance(schema, list):
        for one in schema:
            yield from subschemas(one)
    elif isinstance(schema, dict):
        yield schema
        for word, value in schema.items():
            if word in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
                yield from subschemas(list(value.values()))
            elif word not in ("enum", "const", "default", "examples", "example"):
                yield from subschemas(value)


def check_tool(api, name, schema):
    assert re.fullmatch(TOOL_NAMES[api], name), f"the name {name!r}"
    if schema is None:
        return
    wrong = jsonschema.exceptions.best_match(META_SCHEMA.iter_errors(schema))
    assert not wrong, f"{wrong.json_path}: {wrong.message}"
    assert schema.get("type") == "object", f"the schema's type is {schema.get('type')!r}"
    for inner in subschemas(schema):
        if api != "anthropic" and inner.get("type") == "array":
            assert "items" in inner, f"an array without items: {inner}"
    if api == "anthropic":
        for key in schema.get("properties", {}):
            assert re.fullmatch(ANTHROPIC_PROPERTY, key), f"the property name {key!r}"
    if api != "gemini":
        words = {"anyOf", "oneOf", "allOf", "enum", "not"} & set(schema)
        assert not words or (api == "anthropic" and words <= {"enum", "not"}), f"{words} at the top level"


def check(api, body):
    tools = body.get("tools", [])
    if api in BODIES:
        read_all(BODIES[api].validate_python(body))
    if api == "anthropic":
        functions = [(tool["name"], tool["input_schema"]) for tool in tools]
    elif api == "openai":
        functions = [(tool["function"]["name"], tool["function"].get("parameters")) for tool in tools]
    elif api == "openai-responses":
        functions = [(tool["name"], tool["parameters"]) for tool in tools]
    else:
        assert set(body) <= {"contents", "tools"}, f"members {set(body)}"
        for content in body["contents"]:
            gemini.Content.model_validate(content)
        functions = []
        for tool in tools:
            gemini.Tool.model_validate(tool)
            for function in tool["functionDeclarations"]:
                functions.append((function["name"], function.get("parametersJsonSchema")))
    names = [name for name, _ in functions]
    assert len(set(names)) == len(names), f"a name occurs twice: {names}"
    errors = []
    for name, schema in functions:
        try:
            check_tool(api, name, schema)
        except Exception as error:
            errors.append(f"{name}: {error}")
    assert not errors, "; ".join(errors)


def error_of(case):
    try:
        check(case["api"], case["body"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"


json.dump([error_of(case) for case in json.load(sys.stdin)], sys.stdout)
