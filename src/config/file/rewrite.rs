//! Adds, removes and renames a server in the text of a TOML file, preserving every other byte.
//!
//! The parser gives the positions, and the text is edited there; the result is parsed again and compared with the
//! intended one. A file with its servers in one inline table is edited with `toml_edit`, which also preserves comments
//! and order.

use std::collections::HashSet;
use std::ops::Range;

use toml_edit::{DocumentMut, Item, Key, Table, TableLike};

use super::tree::{self, ConfigMember, ConfigNode, ConfigValue};

/// Why a file could not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteError {
    /// It is not TOML.
    Syntax(String),
    /// It contains no such server.
    ServerNotFound,
    /// It already contains a server with that name.
    ServerExists,
    /// The change would have changed something else too.
    UnsafeEdit,
}

const SERVERS_KEY: &str = "servers";

/// A table header or a `key = value` of the file.
struct TomlStatement {
    /// Its full key.
    path: Vec<String>,
    /// How many of these keys come from the header above it.
    header_depth: usize,
    /// Its first key.
    key_offset: usize,
    /// Its lines, including the last line break.
    line_range: Range<usize>,
}

impl TomlStatement {
    fn belongs_to(&self, server: &str) -> bool {
        matches!(self.path.as_slice(), [top, name, ..] if top == SERVERS_KEY && name == server)
    }
}

/// Adds a server at the end; `block` is the text of its tables.
///
/// # Errors
/// See [`RewriteError`].
pub fn add(text: &str, name: &str, block: &str) -> Result<String, RewriteError> {
    add_all(text, &[(name, block.to_owned())]).map_err(|(problem, _)| problem)
}

/// Adds servers at the end, each with the text of its tables. The file is parsed only once.
///
/// # Errors
/// The problem, and the server that has it; see [`RewriteError`].
pub fn add_all<'a>(text: &str, blocks: &[(&'a str, String)]) -> Result<String, (RewriteError, &'a str)> {
    let first = blocks.first().map_or("", |(name, _)| *name);
    let fail = |problem: RewriteError| (problem, first);
    let old = parse(text).map_err(fail)?;
    let existing = server_names(&old);
    if let Some((name, _)) = blocks.iter().find(|(name, _)| existing.contains(name)) {
        return Err((RewriteError::ServerExists, name));
    }
    let newline = line_ending(text);
    let mut out = text.to_owned();
    for (_, block) in blocks {
        if !out.is_empty() {
            if !out.ends_with('\n') {
                out.push_str(newline);
            }
            out.push_str(newline);
        }
        let whole = block.replace('\n', newline);
        // A value may have line breaks of its own.
        let is_same =
            newline == "\n" || parse(block).ok().zip(parse(&whole).ok()).is_some_and(|(a, b)| a.is_equivalent(&b));
        out.push_str(if is_same { &whole } else { block });
    }
    let added: HashSet<&str> = blocks.iter().map(|(name, _)| *name).collect();
    let is_added = |new: &ConfigNode, name: &str, block: &str| {
        let meant = parse(block).ok();
        meant
            .as_ref()
            .and_then(|block| find_server(block, name))
            .zip(find_server(new, name))
            .is_some_and(|(a, b)| a.is_equivalent(b))
    };
    let meant = |new: &ConfigNode| {
        blocks.iter().all(|(name, block)| is_added(new, name, block))
            && without_servers(&old, &added).is_equivalent(&without_servers(new, &added))
    };
    if parse(&out).is_ok_and(|new| meant(&new)) {
        return Ok(out);
    }
    let mut items = Vec::new();
    for (name, block) in blocks {
        let addition: DocumentMut = block.parse().map_err(|error| (syntax_error(error), *name))?;
        let item = addition.get(SERVERS_KEY).and_then(|servers| servers.get(name)).cloned();
        items.push((*name, item.ok_or((RewriteError::UnsafeEdit, *name))?));
    }
    let insert = |servers: &mut dyn TableLike| {
        for (name, item) in items {
            servers.insert(name, to_inline(item));
        }
    };
    rewrite_with_toml_edit(text, meant, insert).map_err(fail)
}

/// Removes a server, with the comment directly above it.
///
/// # Errors
/// See [`RewriteError`].
pub fn remove(text: &str, name: &str) -> Result<String, RewriteError> {
    let old = parse(text)?;
    find_server(&old, name).ok_or(RewriteError::ServerNotFound)?;
    let units = statements(text)?;
    let mut out = String::new();
    let mut kept_to = 0;
    let mut at = 0;
    while at < units.len() {
        if !units[at].belongs_to(name) {
            at += 1;
            continue;
        }
        let first = at;
        while at < units.len() && units[at].belongs_to(name) {
            at += 1;
        }
        let above = first.checked_sub(1).map_or(0, |before| units[before].line_range.end);
        let cut = range_with_comment(text, above, units[first].line_range.start..units[at - 1].line_range.end);
        out.push_str(&text[kept_to..cut.start]);
        kept_to = cut.end;
    }
    out.push_str(&text[kept_to..]);
    let meant = |new: &ConfigNode| {
        without_server(&old, name).is_equivalent(&without_server(new, name)) && find_server(new, name).is_none()
    };
    if parse(&out).is_ok_and(|new| meant(&new)) {
        return Ok(out);
    }
    rewrite_with_toml_edit(text, meant, |servers| {
        servers.remove(name);
    })
}

/// Renames a server.
///
/// # Errors
/// See [`RewriteError`].
pub fn rename(text: &str, name: &str, new_name: &str) -> Result<String, RewriteError> {
    let old = parse(text)?;
    let entry = find_server(&old, name).ok_or(RewriteError::ServerNotFound)?;
    if find_server(&old, new_name).is_some() {
        return Err(RewriteError::ServerExists);
    }
    let key = Key::new(new_name).display_repr().into_owned();
    let mut out = text.to_owned();
    // From the end, so that earlier positions stay valid.
    for unit in statements(text)?.iter().rev().filter(|unit| unit.belongs_to(name)) {
        if let Some(nth) = 1usize.checked_sub(unit.header_depth) {
            let token = key_range(text, unit.key_offset, nth).ok_or(RewriteError::UnsafeEdit)?;
            out.replace_range(token, &key);
        }
    }
    let meant = |new: &ConfigNode| {
        find_server(new, name).is_none()
            && find_server(new, new_name).is_some_and(|renamed| renamed.is_equivalent(entry))
            && without_server(&old, name).is_equivalent(&without_server(new, new_name))
    };
    if parse(&out).is_ok_and(|new| meant(&new)) {
        return Ok(out);
    }
    rewrite_with_toml_edit(text, meant, |servers| {
        if let Some(item) = servers.remove(name) {
            servers.insert(new_name, item);
        }
    })
}

fn parse(text: &str) -> Result<ConfigNode, RewriteError> {
    tree::parse_toml(text).map_err(|error| RewriteError::Syntax(error.message))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn syntax_error(error: toml_edit::TomlError) -> RewriteError {
    RewriteError::Syntax(error.message().to_owned())
}

fn find_server<'a>(root: &'a ConfigNode, name: &str) -> Option<&'a ConfigNode> {
    Some(&root.get(SERVERS_KEY)?.value.get(name)?.value)
}

/// The names of the servers in a file.
fn server_names(root: &ConfigNode) -> HashSet<&str> {
    let servers = root.get(SERVERS_KEY).map(|member| member.value.members()).unwrap_or_default();
    servers.iter().map(|server| server.key.as_str()).collect()
}

/// The tree without this server; an empty table of servers is removed too.
fn without_server(root: &ConfigNode, name: &str) -> ConfigNode {
    without_servers(root, &HashSet::from([name]))
}

/// The tree without these servers; an empty table of servers is removed too.
fn without_servers(root: &ConfigNode, names: &HashSet<&str>) -> ConfigNode {
    let mut members = Vec::new();
    for member in root.members() {
        if member.key != SERVERS_KEY {
            members.push(member.clone());
            continue;
        }
        let left: Vec<ConfigMember> =
            member.value.members().iter().filter(|server| !names.contains(server.key.as_str())).cloned().collect();
        if !left.is_empty() {
            let value = ConfigNode { value: ConfigValue::Table(left), offset: member.value.offset };
            members.push(ConfigMember { value, ..member.clone() });
        }
    }
    ConfigNode { value: ConfigValue::Table(members), offset: root.offset }
}

/// Edits with `toml_edit`, for files whose text cannot be edited directly.
fn rewrite_with_toml_edit(
    text: &str,
    meant: impl Fn(&ConfigNode) -> bool,
    change: impl FnOnce(&mut dyn TableLike),
) -> Result<String, RewriteError> {
    let mut document: DocumentMut = text.parse().map_err(syntax_error)?;
    let servers = document.entry(SERVERS_KEY).or_insert(Item::Table(Table::new()));
    change(servers.as_table_like_mut().ok_or(RewriteError::UnsafeEdit)?);
    let out = document.to_string();
    // It writes only one kind of line break. A new value may need that kind.
    let whole = out.replace("\r\n", "\n").replace('\n', line_ending(text));
    let mut texts = [whole, out].into_iter();
    texts.find(|out| parse(out).is_ok_and(|new| meant(&new))).ok_or(RewriteError::UnsafeEdit)
}

/// A table as a value inside another value.
fn to_inline(item: Item) -> Item {
    match item.into_value() {
        Ok(value) => Item::Value(value),
        Err(item) => item,
    }
}

fn line_ending(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// All headers and keys of the file, in order.
fn statements(text: &str) -> Result<Vec<TomlStatement>, RewriteError> {
    let document = toml_edit::Document::parse(text).map_err(syntax_error)?;
    let mut found = Vec::new();
    collect_statements(document.as_table(), &mut Vec::new(), 0, text, &mut found);
    found.sort_by_key(|unit| unit.line_range.start);
    Ok(found)
}

fn collect_statements(table: &Table, path: &mut Vec<String>, said: usize, text: &str, found: &mut Vec<TomlStatement>) {
    for (name, item) in table.iter() {
        path.push(name.to_owned());
        match item {
            Item::Value(value) => {
                let at = table.key(name).and_then(Key::span).map_or(0, |span| span.start);
                let end = value.span().map_or(at, |span| span.end);
                let start = line_start(text, at);
                let keys_at = start + (text[start..].len() - text[start..].trim_start().len());
                found.push(TomlStatement {
                    path: path.clone(),
                    header_depth: said,
                    key_offset: keys_at,
                    line_range: start..line_end(text, end),
                });
            }
            Item::Table(inner) if inner.is_dotted() => collect_statements(inner, path, said, text, found),
            Item::Table(inner) => {
                found.extend(header_statement(inner, path, text, 1));
                collect_statements(inner, path, path.len(), text, found);
            }
            Item::ArrayOfTables(all) => {
                for inner in all {
                    found.extend(header_statement(inner, path, text, 2));
                    collect_statements(inner, path, path.len(), text, found);
                }
            }
            Item::None => {}
        }
        path.pop();
    }
}

fn header_statement(table: &Table, path: &[String], text: &str, brackets: usize) -> Option<TomlStatement> {
    let span = table.span().filter(|_| !table.is_implicit())?;
    let lines = line_start(text, span.start)..line_end(text, span.end);
    Some(TomlStatement { path: path.to_vec(), header_depth: 0, key_offset: span.start + brackets, line_range: lines })
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |before| before + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |after| at + after + 1)
}

/// The comment directly above is removed too (unless it begins the file), and so is one blank line, so that the number
/// of blank lines between the neighbors stays the same.
fn range_with_comment(text: &str, above: usize, mut cut: Range<usize>) -> Range<usize> {
    let mut start = cut.start;
    while start > above {
        let before = line_start(text, start - 1);
        if !text[before..start].trim_start().starts_with('#') {
            break;
        }
        start = before;
    }
    if start > 0 {
        cut.start = start;
    }
    let before = line_start(text, cut.start.saturating_sub(1));
    let blank_above = cut.start > 0 && text[before..cut.start].trim().is_empty();
    let after = line_end(text, cut.end);
    let blank_below = cut.end < text.len() && text[cut.end..after].trim().is_empty();
    if blank_below && (blank_above || cut.start == 0) {
        cut.end = after;
    } else if blank_above && cut.end == text.len() {
        cut.start = before;
    }
    cut
}

/// The `nth` key of a dotted key that begins at `at`.
fn key_range(text: &str, at: usize, nth: usize) -> Option<Range<usize>> {
    let mut rest = at;
    for index in 0..=nth {
        rest += text[rest..].len() - text[rest..].trim_start().len();
        let length = match text[rest..].chars().next()? {
            '\'' => text[rest + 1..].find('\'')? + 2,
            '"' => {
                let mut escaped = false;
                let closing = |c: char| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                };
                text[rest + 1..].find(closing)? + 2
            }
            _ => text[rest..].find(|c: char| c == '.' || c == '=' || c == ']' || c.is_whitespace())?,
        };
        if index == nth {
            return Some(rest..rest + length);
        }
        rest += length;
        rest += text[rest..].find('.')? + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BLOCK: &str = "[servers.new]\nurl = \"https://new/\"\n\n[servers.new.auth]\nclient_id = \"c\"\n";

    const FILE: &str = "# top\n\n[defaults]  # d\njobs=3\n\n# about x\n[ servers . 'x' ] # hdr\nurl  =  'u' # c\n\n# more\nallow_tools = [\n  'a', # a\n]\n\n\
        # ---- floating ----\n\n[servers.y]\ncommand='c'\nenv.A = \"\"\"\n# no comment\n[servers.x]\n\"\"\"\n[servers.x.headers]\nB='2'\n\n\
        [servers]\nz = {url='z'}\nw.url = 'w'\n  w . args = []\n# end";

    #[test]
    fn adding_appends_and_removing_restores_the_text() {
        for text in ["", "# only\n", "[defaults]\njobs = 1\n", &format!("{FILE}\n"), "servers.a.url = 'x'\n", "\n\n"] {
            for text in [text.to_owned(), text.replace('\n', "\r\n")] {
                let added = add(&text, "new", BLOCK).unwrap();
                assert!(added.starts_with(&text), "{added}");
                assert_eq!(added.contains("\r\n"), text.contains("\r\n"));
                assert_eq!(remove(&added, "new").unwrap(), text);
                assert_eq!(add(&added, "new", BLOCK), Err(RewriteError::ServerExists));
            }
        }
    }

    #[test]
    fn values_keep_their_line_breaks_whatever_those_of_the_file_are() {
        let block = "[servers.new]\ncommand = \"\"\"\na\nb\\r\nc\"\"\"\n";
        for text in ["# x\r\n", "servers = { a = { url = 'a' } }\r\n", "# x\n"] {
            let added = parse(&add(text, "new", block).unwrap()).unwrap();
            let command = &find_server(&added, "new").unwrap().get("command").unwrap().value;
            assert_eq!(command.as_str(), Some("a\nb\r\nc"), "{text:?}");
        }
    }

    #[test]
    fn removing_keeps_every_other_byte() {
        let x = FILE
            .replace(
                "# about x\n[ servers . 'x' ] # hdr\nurl  =  'u' # c\n\n# more\nallow_tools = [\n  'a', # a\n]\n\n",
                "",
            )
            .replace("[servers.x.headers]\nB='2'\n", "");
        assert_eq!(remove(FILE, "x").unwrap(), x);
        let y = FILE.replace("[servers.y]\ncommand='c'\nenv.A = \"\"\"\n# no comment\n[servers.x]\n\"\"\"\n", "");
        assert_eq!(remove(FILE, "y").unwrap(), y);
        assert_eq!(remove(FILE, "z").unwrap(), FILE.replace("z = {url='z'}\n", ""));
        assert_eq!(remove(FILE, "w").unwrap(), FILE.replace("w.url = 'w'\n  w . args = []\n", ""));
        assert_eq!(remove(FILE, "v"), Err(RewriteError::ServerNotFound));
    }

    #[test]
    fn renaming_changes_the_name_and_nothing_else() {
        let x = FILE.replace("'x' ]", "new ]").replace("[servers.x.headers]", "[servers.new.headers]");
        assert_eq!(rename(FILE, "x", "new").unwrap(), x);
        let w = FILE.replace("w.url", "\"a b\".url").replace("w . args", "\"a b\" . args");
        assert_eq!(rename(FILE, "w", "a b").unwrap(), w);
        assert_eq!(rename(&w, "a b", "w").unwrap(), FILE);
        assert_eq!(rename(FILE, "z", "q").unwrap(), FILE.replace("z = {url", "q = {url"));
        assert_eq!(rename(FILE, "x", "y"), Err(RewriteError::ServerExists));
        assert_eq!(rename(FILE, "v", "u"), Err(RewriteError::ServerNotFound));
        assert_eq!(rename("servers.a.url = 'x'\n", "a", "b").unwrap(), "servers.b.url = 'x'\n");
    }

    #[test]
    fn servers_in_one_inline_table_are_changed_too() {
        let text = "# top\r\nservers = { a = { url = 'a' }, b = { url = 'b' } } # s\r\n";
        let added = add(text, "new", BLOCK).unwrap();
        assert!(added.starts_with("# top\r\nservers = { a = { url = 'a' }") && added.ends_with("} # s\r\n"), "{added}");
        assert!(find_server(&parse(&added).unwrap(), "new").unwrap().get("auth").is_some());
        assert_eq!(remove(text, "a").unwrap(), "# top\r\nservers = { b = { url = 'b' } } # s\r\n");
        let renamed = rename(text, "a", "c").unwrap();
        assert!(find_server(&parse(&renamed).unwrap(), "c").is_some(), "{renamed}");
    }

    #[test]
    fn a_broken_file_is_not_touched() {
        assert!(matches!(add("a = = 1", "new", BLOCK), Err(RewriteError::Syntax(_))));
        assert!(matches!(remove("a = = 1", "new"), Err(RewriteError::Syntax(_))));
        assert_eq!(add("servers = 5\n", "new", BLOCK), Err(RewriteError::UnsafeEdit));
    }

    /// Files made of pieces in every order that a small generator finds.
    #[test]
    fn random_files_keep_all_other_bytes() {
        let pieces: [(&str, &str); 8] = [
            ("", "# banner\n# of two lines\n\n"),
            ("", "[defaults]\ntimeout = '1s'\n\n"),
            ("a", "# about a\n[servers.a]\nurl = 'https://a/'\n\n"),
            ("b", "[servers.b]\ncommand = 'x'\nargs = [\n  '[servers.a]',\n]\n\n"),
            ("b2", "[servers.b2]\ncommand = '''\n# y\n'''\n\n"),
            ("c", "[servers.\"c.d\"] # remark\nurl = 'https://c/'\n[servers.\"c.d\".headers]\nA = '1'\n\n"),
            ("d", "[servers.d]\n\n\nurl = 'd'\n\n[servers.d.auth]\ndpop = true\n\n"),
            ("", "# a last word\n\n"),
        ];
        let mut state = 1u64;
        for _ in 0..300 {
            let mut left: Vec<usize> = (0..pieces.len()).collect();
            let mut text = String::new();
            let mut chosen = Vec::new();
            while !left.is_empty() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let piece = left.remove((state >> 33) as usize % left.len());
                if !(state >> 20).is_multiple_of(3) {
                    chosen.push(piece);
                    text.push_str(pieces[piece].1);
                }
            }
            for piece in &chosen {
                let name = match pieces[*piece].0 {
                    "" => continue,
                    "c" => "c.d",
                    name => name,
                };
                let without: String =
                    chosen.iter().filter(|other| *other != piece).map(|other| pieces[*other].1).collect();
                let removed = remove(&text, name).unwrap();
                // A comment that begins the file stays.
                if !(name == "a" && chosen.first() == Some(piece)) {
                    assert_eq!(removed, without, "removing {name} from\n{text}");
                }
                assert_eq!(rename(&rename(&text, name, "zz").unwrap(), "zz", name).unwrap(), text);
            }
        }
    }
}
