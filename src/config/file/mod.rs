//! Configuration files: the tree of values with positions, rewriting that keeps comments, writing, and `.mcp.json`.

pub mod client_forms;
pub mod jsonc;
pub mod mcp_json;
pub mod rewrite;
pub mod tree;
pub mod write;
