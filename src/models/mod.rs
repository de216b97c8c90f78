//! Converts between MCP and the APIs of language models: tools, tool calls, results and prompts.
//!
//! The model selects tools and mcpipe executes the calls: nothing here connects to a model. Pure: text in, text out.

pub mod input_schema;
pub mod prompts;
pub mod reply;
pub mod results;
pub mod tool_names;
pub mod tools;
pub mod typescript;

/// The API of a language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelApi {
    /// Anthropic: Messages.
    Anthropic,
    /// OpenAI: Chat Completions, which many other providers offer too.
    OpenAiChat,
    /// OpenAI: Responses.
    OpenAiResponses,
    /// Google: Gemini.
    Gemini,
}

impl ModelApi {
    /// The company that the API belongs to, for messages.
    #[must_use]
    pub fn vendor(self) -> &'static str {
        match self {
            ModelApi::Anthropic => "Anthropic",
            ModelApi::OpenAiChat | ModelApi::OpenAiResponses => "OpenAI",
            ModelApi::Gemini => "Gemini",
        }
    }
}
