//! The title of an HTML page.

/// The title of a page, with single spaces; `None` if it has none, or the text is not a page.
#[must_use]
pub fn page_title(text: &str) -> Option<String> {
    if !is_page(text) {
        return None;
    }
    // Lowercasing ASCII keeps every position.
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let words: Vec<&str> = text[start..start + lower[start..].find("</title")?].split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Whether a text is a page rather than text for people.
#[must_use]
pub fn is_page(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_have_titles() {
        let page = "<!DOCTYPE HTML>\n<html><head><TITLE lang=en>Error\n response</TITLE></head>";
        assert_eq!(page_title(page).as_deref(), Some("Error response"));
        assert_eq!(page_title("<html>no title"), None);
        assert_eq!(page_title("<title> </title>"), None);
        assert_eq!(page_title("see <title>x</title>"), None);
    }
}
