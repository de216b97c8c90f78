//! Between MCP and the APIs of models: tools, calls, results and prompts in the form that each takes.
//!
//! The model chooses and mcpipe executes: nothing here talks to a model. Pure: texts in, texts out.

pub mod messages;
pub mod names;
pub mod reply;
pub mod results;
pub mod tools;
pub mod typescript;

/// An API of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Anthropic: Messages.
    Anthropic,
    /// OpenAI: Chat Completions, which many others speak too.
    OpenAi,
    /// OpenAI: Responses.
    Responses,
    /// Google: Gemini.
    Gemini,
}
