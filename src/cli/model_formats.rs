//! The forms in which models take what servers offer.

use clap::ValueEnum;

/// The API of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiFormat {
    /// Anthropic: Messages
    Anthropic,
    /// OpenAI: Chat Completions
    Openai,
    /// OpenAI: Responses
    OpenaiResponses,
    /// Google: Gemini
    Gemini,
}

/// What tools are printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ToolFormat {
    /// The `tools` of a request to Anthropic's Messages
    Anthropic,
    /// The `tools` of a request to OpenAI's Chat Completions
    Openai,
    /// The `tools` of a request to OpenAI's Responses
    OpenaiResponses,
    /// The `tools` of a request to Google's Gemini
    Gemini,
    /// An interface with a method a tool
    Typescript,
}
