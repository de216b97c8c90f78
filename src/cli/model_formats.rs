//! The forms in which model APIs take tools and messages.

use clap::ValueEnum;
use clap::builder::PossibleValue;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormat {
    /// `tools` of a request to a model API.
    Api(ApiFormat),
    /// A TypeScript interface.
    Typescript,
}

impl ValueEnum for ToolFormat {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [ToolFormat; 5] = [
            ToolFormat::Api(ApiFormat::Anthropic),
            ToolFormat::Api(ApiFormat::Openai),
            ToolFormat::Api(ApiFormat::OpenaiResponses),
            ToolFormat::Api(ApiFormat::Gemini),
            ToolFormat::Typescript,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            ToolFormat::Api(api) => {
                let value = api.to_possible_value()?;
                let help = format!("`tools` for {}", value.get_help()?);
                Some(value.help(help))
            }
            ToolFormat::Typescript => {
                Some(PossibleValue::new("typescript").help("A TypeScript interface with one method per tool"))
            }
        }
    }
}
