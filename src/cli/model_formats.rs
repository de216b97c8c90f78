//! The forms in which model APIs take tools and messages.

use clap::ValueEnum;

/// A model API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiFormat {
    /// Anthropic Messages
    Anthropic,
    /// OpenAI Chat Completions
    Openai,
    /// OpenAI Responses
    OpenaiResponses,
    /// Google Gemini
    Gemini,
}

/// What tools are printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ToolFormat {
    /// `tools` of an Anthropic Messages request
    Anthropic,
    /// `tools` of an OpenAI Chat Completions request
    Openai,
    /// `tools` of an OpenAI Responses request
    OpenaiResponses,
    /// `tools` of a Google Gemini request
    Gemini,
    /// A TypeScript interface with one method per tool
    Typescript,
}
