//! Sets of JSON types.

use std::fmt;

use serde_json::Value;

use super::number;

/// A set of JSON Schema types. [`Kinds::NUMBER`] holds the integers too, as in the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Strings.
    pub const STRING: Kinds = Kinds(1);
    /// Whole numbers.
    pub const INTEGER: Kinds = Kinds(2);
    /// Numbers that are not whole.
    const FRACTION: Kinds = Kinds(4);
    /// Numbers, whole ones too.
    pub const NUMBER: Kinds = Kinds(2 | 4);
    /// `true` and `false`.
    pub const BOOLEAN: Kinds = Kinds(8);
    /// `null`.
    pub const NULL: Kinds = Kinds(16);
    /// Arrays.
    pub const ARRAY: Kinds = Kinds(32);
    /// Objects.
    pub const OBJECT: Kinds = Kinds(64);
    /// Every type: nothing is known.
    pub const ALL: Kinds = Kinds(127);
    /// No type: nothing fits.
    pub const NONE: Kinds = Kinds(0);

    /// The type of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kinds> {
        Some(match name {
            "string" => Kinds::STRING,
            "integer" => Kinds::INTEGER,
            "number" => Kinds::NUMBER,
            "boolean" => Kinds::BOOLEAN,
            "null" => Kinds::NULL,
            "array" => Kinds::ARRAY,
            "object" => Kinds::OBJECT,
            _ => return None,
        })
    }

    /// The value of a `type` keyword; `None` where it is no valid one.
    #[must_use]
    pub fn of_keyword(value: &Value) -> Option<Kinds> {
        match value {
            Value::String(name) => Kinds::named(name),
            Value::Array(names) if !names.is_empty() => {
                names.iter().try_fold(Kinds::NONE, |all, name| Some(all.or(Kinds::named(name.as_str()?)?)))
            }
            _ => None,
        }
    }

    /// The narrowest type of a value.
    #[must_use]
    pub fn of(value: &Value) -> Kinds {
        match value {
            Value::String(_) => Kinds::STRING,
            Value::Number(number) if number::is_integer(number) => Kinds::INTEGER,
            Value::Number(_) => Kinds::FRACTION,
            Value::Bool(_) => Kinds::BOOLEAN,
            Value::Null => Kinds::NULL,
            Value::Array(_) => Kinds::ARRAY,
            Value::Object(_) => Kinds::OBJECT,
        }
    }

    /// Both sets.
    #[must_use]
    pub fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// What both sets hold.
    #[must_use]
    pub fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub fn holds(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, the widest ones only.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (Kinds::STRING, "string"),
            (Kinds::FRACTION, "number"),
            (Kinds::INTEGER, if self.holds(Kinds::FRACTION) { "" } else { "integer" }),
            (Kinds::BOOLEAN, "boolean"),
            (Kinds::ARRAY, "array"),
            (Kinds::OBJECT, "object"),
            (Kinds::NULL, "null"),
        ]
        .into_iter()
        .filter(|(kind, name)| self.holds(*kind) && !name.is_empty())
        .map(|(_, name)| name)
        .collect()
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names().as_slice() {
            [] => f.write_str("nothing"),
            names => f.write_str(&names.join(" or ")),
        }
    }
}
