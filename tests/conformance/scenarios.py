"""Which invocations of mcpipe a user would type for each scenario of the conformance suite.

A row is a scenario's name, the requirement sets it belongs to, and a function that runs the invocations:
`mcpipe(command, words…, code=…)` runs one and checks its exit code, `mcpipe.json(…)` also reads what `--json`
printed, `mcpipe.expect(holds, otherwise)` is a claim about the last one. A new scenario is a new row.
"""

import dataclasses
import json
import typing

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
REVISIONS = (LEGACY, MODERN)
# `auto`: mcpipe finds out what the server speaks; `pinned`: the user says it.
# `login`: the user logs in first, with `auth login`, where there is something to log in to.
MODES = ("auto", "pinned", "login")
# Scenarios that have no row yet, by the beginning of their name.
NOT_YET = ()


INVALID_TOOLS = (
    "invalid_empty_header",
    "invalid_object_header",
    "invalid_array_header",
    "invalid_null_header",
    "invalid_number_header",
    "invalid_duplicate_same_case",
    "invalid_duplicate_diff_case",
    "invalid_space_in_name",
    "invalid_colon_in_name",
    "invalid_non_ascii_name",
    "invalid_control_char_name",
)


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    revisions: tuple
    steps: typing.Callable
    modes: tuple = ("auto", "pinned")

    def pin(self, mode, revision):
        """The words that pin the revision.

        The mocks of the older set negotiate one of several dated revisions, so there the era is pinned.
        """
        if mode != "pinned":
            return []
        return ["--protocol", "legacy" if revision == LEGACY else MODERN]


ROWS = []


def row(name, *revisions, modes=("auto", "pinned")):
    """Registers the function below as the steps of this scenario."""

    def register(steps):
        ROWS.append(Row(name, revisions, steps, modes))
        return steps

    return register


@row("initialize", LEGACY)
def initialize(mcpipe, _context):
    mcpipe("list")
    info = mcpipe.json("list", "--info")
    mcpipe.expect(bool(info), "no identity")


@row("tools_call", LEGACY, MODERN)
def tools_call(mcpipe, _context):
    printed = mcpipe("call", "add_numbers", "a=5", "b=3")
    mcpipe.expect("8" in printed, "the sum is not printed")


@row("elicitation-sep1034-client-defaults", LEGACY)
def elicitation_defaults(mcpipe, _context):
    mcpipe("call", "test_client_elicitation_defaults", "--elicit", "accept")


@row("sse-retry", LEGACY)
def sse_retry(mcpipe, _context):
    mcpipe("call", "test_reconnection")


@row("request-metadata", MODERN)
def request_metadata(mcpipe, _context):
    mcpipe("list")


@row("http-standard-headers", MODERN)
def standard_headers(mcpipe, _context):
    everything = mcpipe.json("list", "--all")
    for tool in everything.get("tools", []):
        mcpipe("call", tool["name"])
    for resource in everything.get("resources", []):
        mcpipe("read", resource["uri"])
    for prompt in everything.get("prompts", []):
        mcpipe("prompt", prompt["name"])
    for kind in ("tools", "resources", "prompts"):
        mcpipe.expect(everything.get(kind), f"no {kind} were listed")


@row("http-custom-headers", MODERN)
def custom_headers(mcpipe, context):
    for call in context["toolCalls"]:
        mcpipe("call", call["name"], "--args", json.dumps(call["arguments"]))


@row("http-invalid-tool-headers", MODERN)
def invalid_tool_headers(mcpipe, _context):
    shown = [tool["name"] for tool in mcpipe.json("list").get("tools", [])]
    mcpipe.expect("valid_tool" in shown, "the valid tool is not listed")
    mcpipe.expect(all(name.startswith("valid") for name in shown), f"invalid tools are listed: {shown}")
    mcpipe("call", "valid_tool", "region=eu")
    # What must not be listed must not be callable either, whoever knows its name.
    for name in INVALID_TOOLS:
        mcpipe("call", name, code=7)


@row("sep-2322-client-request-state", MODERN)
def request_state(mcpipe, _context):
    for tool in mcpipe.json("list").get("tools", []):
        mcpipe("call", tool["name"], "--elicit", "accept")
    mcpipe.expect(len(mcpipe.log) == 5, "four tools were to be called")


@row("json-schema-ref-no-deref", MODERN)
def ref_no_deref(mcpipe, _context):
    mcpipe("list")
    shown = mcpipe("list", "lookup_user", "--schema")
    mcpipe.expect("canary" in shown, "the schema is shown as it came")
    # The mock knows no tools/call: what counts is that the reference is not fetched on the way there either.
    mcpipe("call", "lookup_user", "id=ada", code=(0, 1))


@row("json-schema-2020-12-preservation", LEGACY, MODERN)
def preservation(mcpipe, _context):
    tools = {tool["name"]: tool for tool in mcpipe.json("list").get("tools", [])}
    schema = tools["json_schema_2020_12_tool"]["inputSchema"]
    mcpipe("call", "json_schema_echo", "--args", json.dumps({"schema": schema}))


SKILL = "skill://pdf-processing/SKILL.md"


@row("sep-2640-client-no-prefetch", MODERN)
def skills_no_prefetch(mcpipe, _context):
    skills = mcpipe.json("list", "--skills").get("skills", [])
    mcpipe.expect([skill["uri"] for skill in skills] == [SKILL], f"other skills are listed: {skills}")
    mcpipe("list", "--all")


def skill_that_is_tampered_with(mcpipe, _context):
    mcpipe("list", "--skills")
    printed = mcpipe("read", SKILL, code=7)
    mcpipe.expect(not printed, "content was printed that is not what was promised")
    mcpipe("read", SKILL, "--save", "skills", code=7)
    mcpipe.expect(not any((mcpipe.home / "skills").glob("*")), "something was written")


for name in ("digest", "size", "frontmatter"):
    row(f"sep-2640-client-verify-{name}", MODERN)(skill_that_is_tampered_with)


# Authorization. In the modes `auto` and `pinned` mcpipe logs in on the spot; in `login` that is done before.

REFUSED = 4


def protected(name, *revisions, code=0, login=None, settings=None):
    """A scenario in which one tool is called on a protected server.

    `code`: how the call ends; `login`: how `auth login` ends, where not in the same way; `settings`: makes the
    `[servers.suite.auth]` of a configured server from the scenario's context.
    """

    def steps(mcpipe, context):
        options = {}
        if settings:
            mcpipe.configure_server(settings(mcpipe, context))
            options["target"] = "suite"
        if mcpipe.mode == "login":
            ended = code if login is None else login
            mcpipe("auth login", code=ended, **options)
            if ended == 0:
                mcpipe("auth status", **options)
                mcpipe("call", "test-tool", "--login", "never" if code == 0 else "always", code=code, **options)
        else:
            mcpipe("call", "test-tool", "--login", "always", code=code, **options)

    ROWS.append(Row(f"auth/{name}", revisions, steps, MODES))


for name in (
    "metadata-default",
    "metadata-var1",
    "metadata-var2",
    "metadata-var3",
    "scope-from-www-authenticate",
    "scope-from-scopes-supported",
    "scope-omitted-when-undefined",
    "token-endpoint-auth-basic",
    "token-endpoint-auth-post",
    "token-endpoint-auth-none",
):
    protected(name, LEGACY, MODERN)

for name in ("offline-access-scope", "offline-access-not-supported", "iss-supported", "iss-not-advertised"):
    protected(name, MODERN)

for name in (
    "resource-mismatch",
    "metadata-issuer-mismatch",
    "iss-supported-missing",
    "iss-wrong-issuer",
    "iss-unexpected",
    "iss-normalized",
):
    protected(name, MODERN, code=REFUSED)

# Not in the requirement sets: servers without protected resource metadata, and without any.
protected("2025-03-26-oauth-metadata-backcompat", LEGACY)
protected("2025-03-26-oauth-endpoint-fallback", LEGACY)

protected(
    "basic-cimd",
    LEGACY,
    MODERN,
    settings=lambda mcpipe, context: {"client_metadata_url": "https://conformance-test.local/client-metadata.json"},
)
protected(
    "pre-registration",
    LEGACY,
    MODERN,
    settings=lambda mcpipe, context: {"client_id": context["client_id"], "client_secret": context["client_secret"]},
)
protected(
    "client-credentials-jwt",
    LEGACY,
    MODERN,
    settings=lambda mcpipe, context: {
        "grant": "client_credentials",
        "client_id": context["client_id"],
        "private_key_file": mcpipe.file("key.pem", context["private_key_pem"]),
        "signing_algorithm": context["signing_algorithm"],
    },
)
protected(
    "client-credentials-basic",
    LEGACY,
    MODERN,
    settings=lambda mcpipe, context: {
        "grant": "client_credentials",
        "client_id": context["client_id"],
        "client_secret": context["client_secret"],
    },
)
protected(
    "enterprise-managed-authorization",
    LEGACY,
    MODERN,
    settings=lambda mcpipe, context: {
        "grant": "enterprise",
        "client_id": context["client_id"],
        "client_secret": context["client_secret"],
        "idp_client_id": context["idp_client_id"],
        "idp_token_endpoint": context["idp_token_endpoint"],
        "id_token_file": mcpipe.file("id-token", context["idp_id_token"]),
    },
)
protected(
    "wif-jwt-bearer",
    LEGACY,
    MODERN,
    settings=lambda mcpipe, context: {
        "grant": "jwt_bearer",
        "client_id": context["client_id"],
        "assertion_file": mcpipe.file("assertion", context["valid_jwt"]),
    },
)
for name in ("dpop", "dpop-nonce"):
    protected(name, LEGACY, MODERN, settings=lambda mcpipe, context: {"dpop": True})


@row("auth/scope-step-up", LEGACY, MODERN, modes=MODES)
def scope_step_up(mcpipe, _context):
    if mcpipe.mode == "login":
        mcpipe("auth login")
    mcpipe("list", "--login", "always")
    mcpipe("call", "test-tool", "--login", "always")


@row("auth/scope-retry-limit", LEGACY, MODERN, modes=MODES)
def scope_retry_limit(mcpipe, _context):
    if mcpipe.mode == "login":
        mcpipe("auth login")
    mcpipe("call", "test-tool", "--login", "always", code=REFUSED)


@row("auth/authorization-server-migration", MODERN, modes=MODES)
def authorization_server_migration(mcpipe, _context):
    if mcpipe.mode == "login":
        mcpipe("auth login")
    mcpipe("list", "--login", "always")
    mcpipe("call", "test-tool", "--login", "always")
