//! The dated revisions of the protocol, and the family of each.

use std::fmt;

use serde_json::Value;

/// A revision that mcpipe supports; older ones compare as smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// 2024-11-05, the first.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, batches.
    V2025_03_26,
    /// 2025-06-18: structured results, the `MCP-Protocol-Version` header, elicitation.
    V2025_06_18,
    /// 2025-11-25: the last with a handshake.
    V2025_11_25,
    /// 2026-07-28: stateless.
    V2026_07_28,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Revision; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// The newest revision with a handshake; `initialize` offers it.
    pub const LATEST_LEGACY: Revision = Self::V2025_11_25;
    /// The newest revision without a handshake.
    pub const LATEST_MODERN: Revision = Self::V2026_07_28;

    /// The date that identifies it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision with this name, if mcpipe supports it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name)
    }

    /// Whether it belongs to the stateless family (no handshake, `_meta` on every request).
    #[must_use]
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The known revisions in `data.supported` of an error, or in `supportedVersions` of a `DiscoverResult`.
#[must_use]
pub fn supported_revisions(data: &Value) -> Vec<Revision> {
    let list = data.get("supported").or_else(|| data.get("supportedVersions")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|name| Revision::parse(name.as_str()?)).collect()
}

/// The known revisions that a text mentions, oldest first.
#[must_use]
pub fn revisions_in(text: &str) -> Vec<Revision> {
    Revision::ALL.into_iter().filter(|revision| text.contains(revision.as_str())).collect()
}

/// Whether a text contains a date like those of revisions (`2025-11-25`), known or not.
#[must_use]
pub fn names_revision(text: &str) -> bool {
    let is_date = |window: &[u8]| {
        window
            .iter()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() })
    };
    text.as_bytes().windows(10).any(is_date)
}

/// The revisions that may be used with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevisionPin {
    /// The newest that both sides support.
    #[default]
    Auto,
    /// Any revision with a handshake; no modern request is sent.
    Legacy,
    /// Only this revision.
    Exact(Revision),
}

impl RevisionPin {
    /// Parses `auto`, `legacy` or a revision.
    ///
    /// # Errors
    /// The allowed values, for the message.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(RevisionPin::Auto),
            "legacy" => Ok(RevisionPin::Legacy),
            other => Revision::parse(other).map(RevisionPin::Exact).ok_or_else(|| {
                let all: Vec<&str> = Revision::ALL.iter().map(|revision| revision.as_str()).collect();
                format!("unknown revision '{other}': use auto, legacy, {}", all.join(", "))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_found_in_a_text() {
        let text = "Unsupported protocol version: 2025-11-25 (supported: 2024-11-05,2025-03-26)";
        assert_eq!(revisions_in(text), [Revision::V2024_11_05, Revision::V2025_03_26, Revision::V2025_11_25]);
        assert_eq!(revisions_in("2031-01-01"), []);
        assert!(names_revision("only 2031-01-01") && names_revision(text));
        for text in ["", "2025-11", "Unsupported protocol version", "20251-1-25 2025/11/25"] {
            assert!(!names_revision(text), "{text}");
        }
    }
}
