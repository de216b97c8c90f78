//! Tools as servers in use define them, in two versions.

use serde_json::json;

use crate::support::{Mcp, Sandbox};

#[test]
fn a_renamed_tool_breaks_and_new_options_do_not() {
    let schema = |properties: serde_json::Value, required: serde_json::Value| {
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": properties,
            "required": required, "additionalProperties": false})
    };
    let path = json!({"type": "string"});
    let before = json!([
        {"name": "read_file", "description": "Read the complete contents of a file.", "inputSchema": schema(json!({"path": path}), json!(["path"]))},
        {"name": "search_files", "description": "Search.", "inputSchema": schema(
            json!({"path": path, "pattern": {"type": "string"}, "excludePatterns": {"type": "array", "items": {"type": "string"}, "default": []}}),
            json!(["path", "pattern"]))},
    ]);
    let after = json!([
        {"name": "read_text_file", "description": "Read a file as text.", "inputSchema": schema(
            json!({"path": path, "head": {"type": "number"}}), json!(["path"]))},
        {"name": "search_files", "description": "Search.", "annotations": {"readOnlyHint": true}, "inputSchema": schema(
            json!({"path": path, "pattern": {"type": "string"}, "excludePatterns": {"type": "array", "items": {"type": "string"}},
                "limit": {"type": "integer", "minimum": 1}}),
            json!(["path", "pattern"]))},
    ]);
    let server = |tools| Mcp::legacy("2025-06-18").capabilities(json!({"tools": {}})).tools(tools).stdio();
    let sandbox = Sandbox::new();
    let configure = |server: &crate::support::StdioServer| {
        let words = server.words();
        sandbox.config(&format!("[servers.files]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]));
    };
    let old = server(before);
    configure(&old);
    sandbox.mcpipe(["lock", "files"]).run().exits(0);
    let new = server(after);
    configure(&new);
    sandbox.mcpipe(["lock", "--check"]).run().exits(9).prints(
        "files: 5 changes: 1 breaking, 4 compatible\n  \
         breaking    tool 'read_file': it is gone\n  \
         compatible  tool 'search_files' /annotations/readOnlyHint: readOnlyHint is new\n  \
         compatible  tool 'search_files' /inputSchema/properties/excludePatterns/default: default is gone: []\n  \
         compatible  tool 'search_files' /inputSchema/properties/limit: 'limit' is new\n  \
         compatible  tool 'read_text_file': it is new\n",
    );
}
