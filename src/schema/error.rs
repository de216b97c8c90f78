//! Why a schema cannot be used for validation.

use std::fmt;

/// Why a schema cannot be used to validate a value. The server may still accept the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// `$schema` names a dialect that mcpipe does not know.
    UnknownDialect(String),
    /// A `$ref` points outside the schema; it is never fetched (TOL-07).
    ExternalRef(String),
    /// A `$ref` points to a place that does not exist.
    DanglingRef(String),
    /// Not a valid schema of its dialect.
    Invalid(String),
    /// Larger, deeper or slower than mcpipe allows.
    TooCostly(&'static str),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::UnknownDialect(uri) => write!(f, "the schema uses an unknown dialect, {uri}"),
            SchemaError::ExternalRef(uri) => write!(f, "the schema refers to {uri}, which mcpipe does not fetch"),
            SchemaError::DanglingRef(reference) => {
                write!(f, "the schema refers to {reference}, which does not exist in it")
            }
            SchemaError::Invalid(why) => write!(f, "the schema is invalid: {why}"),
            SchemaError::TooCostly(why) => write!(f, "the schema is too costly to check: {why}"),
        }
    }
}

impl std::error::Error for SchemaError {}

/// A schema that cannot be used, and the keywords that are to blame, if known.
#[derive(Clone, Debug)]
pub(super) struct UnusableSchema {
    /// The first thing that is wrong.
    pub error: SchemaError,
    /// Without these keywords, the rest of the schema may be usable.
    pub keywords: Vec<UnusableKeyword>,
}

impl From<SchemaError> for UnusableSchema {
    fn from(error: SchemaError) -> Self {
        UnusableSchema { error, keywords: Vec::new() }
    }
}

/// A keyword that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnusableKeyword {
    /// Names and positions down from the schema's root.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub reason: SchemaError,
}
