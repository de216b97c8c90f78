//! Exit code, stdout and stderr as one text, with placeholders for what differs between runs.
//!
//! Used with `expect_test`: `expect![[…]].assert_eq(&run.snapshot())`; `UPDATE_EXPECT=1 cargo test` updates
//! the expectations in place, so that the diff of a commit shows what changes for users.

use super::sandbox::Run;

impl Run {
    /// Everything that a user sees of this run.
    pub fn snapshot(&self) -> String {
        self.snapshot_with(&[])
    }

    /// The same after replacing these words (such as the target's name).
    pub fn snapshot_with(&self, replaced: &[(&str, &str)]) -> String {
        let mut text = format!("exit: {}\n", self.code());
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if bytes.is_empty() {
                continue;
            }
            text.push_str(&format!("--- {name}\n"));
            let mut content = String::from_utf8_lossy(bytes).into_owned();
            for (from, to) in replaced {
                content = content.replace(from, to);
            }
            let content = normalize(&content, &self.root);
            text.push_str(&content);
            if !content.ends_with('\n') {
                text.push_str("<no newline>\n");
            }
        }
        text
    }
}

/// Replaces what differs from run to run: the sandbox's path, ports, and measured times.
pub fn normalize(text: &str, root: &str) -> String {
    let text = text.replace(root, "[ROOT]").replace(env!("CARGO_MANIFEST_DIR"), "[REPO]");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, from) = rest.split_at(at + "127.0.0.1:".len());
        let digits = from.len() - from.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        out.push_str(before);
        out.push_str(if digits > 0 { "[PORT]" } else { "" });
        rest = &from[digits..];
    }
    out.push_str(rest);
    // Control characters are visible in the expectation, regardless of the editor.
    out.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
