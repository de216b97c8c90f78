//! The dialects of JSON Schema (TOL-06).

use serde_json::Value;

use crate::schema::error::SchemaError;

/// A dialect of JSON Schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// draft-04.
    Draft4,
    /// draft-06.
    Draft6,
    /// draft-07.
    Draft7,
    /// 2019-09.
    Draft201909,
    /// 2020-12: the dialect of a schema without `$schema`.
    #[default]
    Draft202012,
}

impl Dialect {
    /// The dialect that a schema declares, or the default one.
    ///
    /// # Errors
    /// The declared dialect is unknown.
    pub fn from_schema(schema: &Value) -> Result<Dialect, SchemaError> {
        let declared = match schema.get("$schema") {
            None | Some(Value::Null) => return Ok(Dialect::default()),
            Some(Value::String(uri)) => uri,
            Some(other) => return Err(SchemaError::UnknownDialect(other.to_string())),
        };
        let name = declared.trim_end_matches('#');
        let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
        match name.trim_end_matches('/') {
            "json-schema.org/draft-04/schema" => Ok(Dialect::Draft4),
            "json-schema.org/draft-06/schema" => Ok(Dialect::Draft6),
            "json-schema.org/draft-07/schema" => Ok(Dialect::Draft7),
            "json-schema.org/draft/2019-09/schema" => Ok(Dialect::Draft201909),
            "json-schema.org/draft/2020-12/schema" | "json-schema.org/schema" => Ok(Dialect::Draft202012),
            _ => Err(SchemaError::UnknownDialect(declared.clone())),
        }
    }

    /// The name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Draft4 => "draft-04",
            Dialect::Draft6 => "draft-06",
            Dialect::Draft7 => "draft-07",
            Dialect::Draft201909 => "2019-09",
            Dialect::Draft202012 => "2020-12",
        }
    }

    /// Whether keywords beside a `$ref` are ignored.
    #[must_use]
    pub fn ref_ignores_siblings(self) -> bool {
        matches!(self, Dialect::Draft4 | Dialect::Draft6 | Dialect::Draft7)
    }
}
