//! Between MCP and the APIs of models: tools, calls, results and prompts in the form that each takes.
//!
//! The model chooses and mcpipe executes: nothing here talks to a model. Pure: texts in, texts out.

pub mod prompts;
pub mod reply;
pub mod results;
pub mod tool_names;
pub mod tools;
pub mod typescript;

/// An API of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelApi {
    /// Anthropic: Messages.
    Anthropic,
    /// OpenAI: Chat Completions, which many others speak too.
    OpenAiChat,
    /// OpenAI: Responses.
    OpenAiResponses,
    /// Google: Gemini.
    Gemini,
}
