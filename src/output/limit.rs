//! `--max-bytes`: output for readers with little room, such as models. What is longer is cut in the middle, says how
//! much is missing, and is kept whole in a temporary file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Ui;
use super::save::{FileNaming, name_ending};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{member, parse_truncated, parse_value};
use crate::protocol::rpc::RawJson;
use crate::util::count::counted;
use crate::util::lock::lock;

/// The members of a content block that have text.
const TEXT_MEMBERS: [&str; 2] = ["/text", "/resource/text"];
/// The room that every JSON value can be cut to, for example `{"…":"[99999 members omitted]"}`.
const MIN_VALUE_SIZE: usize = 40;
/// The member that says how many others are omitted.
const MARK_NAME: &str = "…";
/// An array keeps fewer items rather than cutting one to less than this part of its room.
const MAX_CUT_ITEMS: usize = 8;

impl Ui {
    /// Prints something, but at most `limit` bytes of it. `naming` is for the file that keeps a longer output.
    ///
    /// # Errors
    /// When it cannot be printed, or a longer output cannot be kept.
    pub fn print_limited(
        &self,
        limit: Option<u64>,
        naming: FileNaming<'_>,
        print: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let Some(limit) = limit else { return print() };
        *lock(&self.held_output) = Some(Vec::new());
        let printed = print();
        let output = lock(&self.held_output).take().unwrap_or_default();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let written = if output.len() <= limit {
            self.print_bytes(&output)
        } else {
            self.shorten_output(&output, limit, naming).and_then(|shorter| self.print_bytes(&shorter))
        };
        printed.and(written)
    }

    /// An output that is longer than the limit, shortened.
    fn shorten_output(&self, output: &[u8], limit: usize, naming: FileNaming<'_>) -> Result<Vec<u8>> {
        let (path, shorter, names_file) = match std::str::from_utf8(output) {
            Err(_) => {
                let path = save_whole_output(output, naming, ".bin")?;
                let mark = format!("[{} bytes of binary content, in {}]\n", output.len(), path.display());
                let fits = mark.len() <= limit;
                (path, if fits { mark } else { String::new() }, fits)
            }
            Ok(text) => match parse_container(text) {
                Some(document) => {
                    let path = save_whole_output(output, naming, ".json")?;
                    let shorter = format!("{}\n", fit_json(document, limit.saturating_sub(1)));
                    // Not even an empty object may fit.
                    (path, if shorter.len() <= limit { shorter } else { String::new() }, false)
                }
                None => {
                    let path = save_whole_output(output, naming, ".txt")?;
                    let (shorter, names_file) = cut_text(text, limit, &path);
                    (path, shorter, names_file)
                }
            },
        };
        if !names_file {
            let (shown, all) = (shorter.len(), output.len());
            self.warn(&format!("the output was cut from {all} to {shown} bytes; all of it is in {}", path.display()));
        }
        Ok(shorter.into_bytes())
    }

    /// A tool result for a model with at most `limit` bytes of text, and as many of structured content. Images and
    /// other binary content are not cut.
    ///
    /// # Errors
    /// When the whole result cannot be kept.
    pub fn limit_result(&self, tool: &str, result: RawJson, limit: u64) -> Result<RawJson> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let structured = member(&result, "structuredContent").map_or(0, |raw| raw.get().len());
        if result.get().len() <= limit {
            return Ok(result);
        }
        let Some(mut value) = parse_value(result.get()) else { return Ok(result) };
        let blocks = value.get_mut("content").and_then(Value::as_array_mut);
        let text_size: usize =
            blocks.iter().flat_map(|blocks| blocks.iter()).map(|block| block_text(block).len()).sum();
        if text_size <= limit && structured <= limit {
            return Ok(result);
        }
        let path = save_whole_output(
            result.get().as_bytes(),
            FileNaming { name: Some(tool), ..FileNaming::default() },
            ".json",
        )?;
        if text_size > limit
            && let Some(blocks) = blocks
        {
            shorten_blocks(blocks, text_size, limit, &path);
        }
        if structured > limit
            && let Some(content) = value.get_mut("structuredContent")
        {
            *content = fit_json(content.take(), limit);
        }
        self.warn(&format!("the result of {tool} was cut to {limit} bytes; all of it is in {}", path.display()));
        RawValue::from_string(value.to_string())
            .map_err(|error| Failure::new(ErrorKind::Bug, "a shortened result is not JSON").caused_by(&error))
    }

    /// A text for a model about a tool that failed, with at most `limit` bytes.
    ///
    /// # Errors
    /// When the whole text cannot be kept.
    pub fn limit_failure(&self, tool: &str, text: String, limit: u64) -> Result<String> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if text.len() <= limit {
            return Ok(text);
        }
        let path =
            save_whole_output(text.as_bytes(), FileNaming { name: Some(tool), ..FileNaming::default() }, ".txt")?;
        self.warn(&format!("the result of {tool} was cut to {limit} bytes; all of it is in {}", path.display()));
        Ok(cut_text(&text, limit, &path).0)
    }
}

/// Keeps the whole output in a temporary file that only this user can read.
fn save_whole_output(output: &[u8], naming: FileNaming<'_>, extension: &str) -> Result<PathBuf> {
    let ending = name_ending(naming, extension);
    let kept = tempfile::Builder::new().prefix("mcpipe-").suffix(&ending).tempfile().and_then(|mut file| {
        file.write_all(output)?;
        file.keep().map_err(|error| error.error)
    });
    kept.map(|(_, path)| path).map_err(|error| {
        Failure::new(ErrorKind::Output, "cannot keep the whole output in a temporary file")
            .caused_by(&error)
            .hint("omit --max-bytes, or set TMPDIR to a directory that can be written")
    })
}

/// An object or array. What is nested deeper than any reader follows is empty in it.
fn parse_container(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    parse_truncated(text).map(|(document, _)| document)
}

fn block_text(block: &Value) -> &str {
    TEXT_MEMBERS.iter().find_map(|at| block.pointer(at)?.as_str()).unwrap_or_default()
}

/// Cuts the text of all blocks together in the middle; a single block with JSON stays JSON, and a block after it names
/// the file.
fn shorten_blocks(blocks: &mut Vec<Value>, text_size: usize, limit: usize, path: &Path) {
    let texts: Vec<usize> = (0..blocks.len()).filter(|index| !block_text(&blocks[*index]).is_empty()).collect();
    if let [only] = texts[..]
        && let Some(document) = parse_container(block_text(&blocks[only]))
    {
        let note = format!("[cut; the whole result is in {}]", path.display());
        let room = limit.checked_sub(note.len() + MIN_VALUE_SIZE);
        set_text(&mut blocks[only], fit_json(document, room.map_or(limit, |room| room + MIN_VALUE_SIZE)).to_string());
        if room.is_some() {
            blocks.insert(only + 1, json!({"type": "text", "text": note}));
        }
        return;
    }
    let room = room_beside_mark(text_size, limit, path);
    let (mut head, tail) = room.map_or((limit, 0), |room| (room.div_ceil(2), room / 2));
    // Where the tail begins, counted in the bytes of all texts.
    let tail_start = text_size - tail;
    let (mut position, mut missing) = (0, 0);
    let mut mark_block = None;
    let mut kept = Vec::with_capacity(blocks.len());
    for mut block in std::mem::take(blocks) {
        let text = block_text(&block);
        if text.is_empty() {
            kept.push(block);
            continue;
        }
        let first = text.floor_char_boundary(head);
        let last = text.ceil_char_boundary(tail_start.saturating_sub(position).max(first).min(text.len()));
        position += text.len();
        if last == first {
            head -= first;
            kept.push(block);
            continue;
        }
        missing += last - first;
        let end = text[last..].to_owned();
        let start = text[..first].to_owned();
        head = 0;
        if mark_block.is_none() {
            mark_block = Some((kept.len(), start, end));
            kept.push(block);
        } else if !end.is_empty() {
            set_text(&mut block, end);
            kept.push(block);
        }
    }
    if let Some((index, start, end)) = mark_block {
        let shorter = if room.is_some() { with_mark(&start, missing, path, &end) } else { start };
        set_text(&mut kept[index], shorter);
    }
    *blocks = kept;
}

fn set_text(block: &mut Value, new: String) {
    for at in TEXT_MEMBERS {
        if let Some(Value::String(text)) = block.pointer_mut(at) {
            *text = new;
            return;
        }
    }
}

/// The line in place of what is missing from a text.
fn omission(missing: usize, path: &Path) -> String {
    format!("[{missing} bytes omitted; the whole text is in {}]\n", path.display())
}

/// The room that `limit` leaves for the text beside the line about what is missing; `None` if that line does not fit.
fn room_beside_mark(text_size: usize, limit: usize, path: &Path) -> Option<usize> {
    // The number of missing bytes has no more digits than that of all bytes.
    limit.checked_sub(omission(text_size, path).len() + 1)
}

/// Both ends of a text, and between them how much is missing.
fn with_mark(head: &str, missing: usize, path: &Path, tail: &str) -> String {
    let lead = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
    format!("{head}{lead}{}{tail}", omission(missing, path))
}

/// A text with at most `limit` bytes, and whether it says how much is missing: its beginning and its end, or only the
/// beginning if there is no room for that line.
fn cut_text(text: &str, limit: usize, path: &Path) -> (String, bool) {
    let Some(room) = room_beside_mark(text.len(), limit, path) else {
        return (text[..text.floor_char_boundary(limit)].to_owned(), false);
    };
    let (head, tail) = ends(text, room);
    (with_mark(head, text.len() - head.len() - tail.len(), path, tail), true)
}

/// The beginning and the end of a text, cut between characters, with at most `room` bytes together.
fn ends(text: &str, room: usize) -> (&str, &str) {
    let head = text.floor_char_boundary(room.div_ceil(2));
    let tail = text.ceil_char_boundary(text.len() - (room / 2).min(text.len() - head));
    (&text[..head], &text[tail..])
}

/// A JSON value with at most `limit` bytes: shortened, or empty if that is not enough.
fn fit_json(value: Value, limit: usize) -> Value {
    let empty = if value.is_array() { json!([]) } else { json!({}) };
    let shorter = shorten_json(value, limit);
    if json_size(&shorter) <= limit { shorter } else { empty }
}

/// A JSON value with at most `limit` bytes, or [`MIN_VALUE_SIZE`] if that is more. Long strings are cut in the middle,
/// and of too many items or members the ones in the middle are omitted.
fn shorten_json(value: Value, limit: usize) -> Value {
    let size = json_size(&value);
    let limit = limit.max(MIN_VALUE_SIZE);
    if size <= limit {
        return value;
    }
    match value {
        Value::String(text) => Value::String(shorten_string(&text, limit)),
        Value::Array(items) => shorten_array(items, limit),
        Value::Object(members) => shorten_object(members, limit),
        Value::Null | Value::Bool(_) | Value::Number(_) => Value::String(bytes_omitted(size)),
    }
}

fn bytes_omitted(missing: usize) -> String {
    format!("[{missing} bytes omitted]")
}

fn shorten_string(text: &str, limit: usize) -> String {
    let mut room = limit.saturating_sub(bytes_omitted(text.len()).len() + 2);
    loop {
        let (head, tail) = ends(text, room);
        let shorter = format!("{head}{}{tail}", bytes_omitted(text.len() - head.len() - tail.len()));
        // Characters that are escaped take more room.
        let size = json_size(&shorter);
        if size <= limit || room == 0 {
            return shorter;
        }
        room = room.saturating_sub(((size - limit) / 6).max(1));
    }
}

fn shorten_array(items: Vec<Value>, limit: usize) -> Value {
    let sizes: Vec<usize> = items.iter().map(json_size).collect();
    let least = MIN_VALUE_SIZE.max(limit / MAX_CUT_ITEMS);
    let mark = |missing: usize| Value::String(format!("[{missing} items omitted]"));
    // Two brackets, and a comma after each item.
    let plan = KeptItems::new(&sizes, &vec![1; sizes.len()], least, limit - 2, json_size(&mark(sizes.len())) + 1);
    let mut kept = Vec::new();
    for (index, (item, room)) in items.into_iter().zip(plan.rooms).enumerate() {
        if index == plan.head && plan.missing > 0 {
            kept.push(mark(plan.missing));
        }
        if let Some(room) = room {
            kept.push(shorten_json(item, room));
        }
    }
    Value::Array(kept)
}

fn shorten_object(members: Map<String, Value>, limit: usize) -> Value {
    let sizes: Vec<usize> = members.values().map(json_size).collect();
    // A colon and a comma.
    let names: Vec<usize> = members.keys().map(|name| json_size(name) + 2).collect();
    let mark = |missing: usize| Value::String(format!("[{} omitted]", counted(missing, "member")));
    let mark_size = json_size(MARK_NAME) + 2 + json_size(&mark(sizes.len()));
    let plan = KeptItems::new(&sizes, &names, MIN_VALUE_SIZE, limit - 2, mark_size);
    // A member of the name that is needed is omitted too.
    let is_replaced =
        plan.missing > 0 && members.keys().zip(&plan.rooms).any(|(name, room)| name == MARK_NAME && room.is_some());
    let mut kept = Map::new();
    for (index, ((name, value), room)) in members.into_iter().zip(plan.rooms).enumerate() {
        if index == plan.head && plan.missing > 0 {
            kept.insert(MARK_NAME.to_owned(), mark(plan.missing + usize::from(is_replaced)));
        }
        if let Some(room) = room.filter(|_| !(is_replaced && name == MARK_NAME)) {
            kept.insert(name, shorten_json(value, room));
        }
    }
    Value::Object(kept)
}

/// Which items of an array or object are kept, and the room for each.
struct KeptItems {
    /// The room of each item; `None` for those that are omitted.
    rooms: Vec<Option<usize>>,
    /// How many items are kept before those that are omitted.
    head: usize,
    /// How many items are omitted.
    missing: usize,
}

impl KeptItems {
    /// `extras` are the bytes that an item takes besides its value, and no value is cut to less than `least`. If there
    /// is no room for all items, those at both ends are kept, and `mark` bytes are used to say so.
    fn new(sizes: &[usize], extras: &[usize], least: usize, room: usize, mark: usize) -> KeptItems {
        let cost = |index: usize| sizes[index].min(least) + extras[index];
        let (mut head, mut tail) = (0, sizes.len());
        let mut left = room;
        if let Some(rest) = room.checked_sub((0..sizes.len()).map(cost).sum()) {
            head = tail;
            left = rest;
        } else {
            left = left.saturating_sub(mark);
            let used = |left: &mut usize, index: usize| match left.checked_sub(cost(index)) {
                Some(rest) => {
                    *left = rest;
                    true
                }
                None => false,
            };
            while head < tail && used(&mut left, head) {
                head += 1;
                if head < tail && used(&mut left, tail - 1) {
                    tail -= 1;
                }
            }
        }
        let is_kept = |index: &usize| *index < head || *index >= tail;
        // What is left goes to the values that are longer: first to those that need the least.
        let mut order: Vec<usize> = (0..sizes.len()).filter(is_kept).collect();
        order.sort_by_key(|index| sizes[*index]);
        left += order.iter().map(|index| sizes[*index].min(least)).sum::<usize>();
        let mut rooms = vec![None; sizes.len()];
        for (done, index) in order.iter().enumerate() {
            let share = (left / (order.len() - done)).min(sizes[*index]);
            rooms[*index] = Some(share);
            left -= share;
        }
        KeptItems { rooms, head, missing: tail - head }
    }
}

/// The bytes of a value as compact JSON.
fn json_size<T: serde::Serialize + ?Sized>(value: &T) -> usize {
    struct Counter(usize);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let counted = serde_json::to_writer(&mut counter, value);
    debug_assert!(counted.is_ok(), "a counter takes everything");
    counter.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_beginning_and_its_end() {
        let path = Path::new("/t/a.txt");
        let text = "é".repeat(500);
        let (cut, has_mark) = cut_text(&text, 151, path);
        assert!(has_mark);
        assert!(cut.len() <= 151, "{}", cut.len());
        assert!(cut.starts_with("éé") && cut.ends_with("éé"), "{cut}");
        assert!(cut.contains(" bytes omitted; the whole text is in /t/a.txt]\n"), "{cut}");
        let missing: usize = cut.split(['[', ' ']).nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
        assert_eq!(cut.matches('é').count() * 2 + missing, 1000);
        assert_eq!(cut_text("aéb", 2, path), ("a".to_owned(), false));
    }

    #[test]
    fn json_stays_json_within_the_limit() {
        let rows = |count: usize| (0..count).map(|n| json!({"id": n, "name": "row \"quoted\" ü"})).collect::<Vec<_>>();
        let documents = [
            json!({"content": [{"type": "text", "text": "x".repeat(5000)}], "isError": false}),
            json!({"rows": rows(2000), "total": 2000}),
            json!({"pages": rows(300).chunks(2).map(Vec::from).collect::<Vec<_>>()}),
            json!((0..400).map(|n| json!({"a": {"b": n}, "c": [n, n], "d": "y".repeat(n)})).collect::<Vec<_>>()),
            json!({"a": "\u{1}".repeat(3000), "b": ["x".repeat(300), "\"".repeat(3000)]}),
            json!((0..5000).collect::<Vec<_>>()),
            json!((0..3000).map(|n| (format!("member {n}"), json!(n))).collect::<Map<_, _>>()),
            json!((0..90).map(|n| ("…".repeat(n + 1), json!(["z".repeat(99)]))).collect::<Map<_, _>>()),
            json!({"deep": {"deeper": {"deepest": ["z".repeat(4000)]}}}),
            json!(vec![json!({}); 2000]),
            json!(vec![json!([[[[1, 2, 3]]]]); 2000]),
        ];
        for document in documents {
            for limit in [2, 5, 39] {
                assert!(json_size(&fit_json(document.clone(), limit)) <= limit, "{limit}");
            }
            for limit in [40, 45, 100, 300, 1000, 2500] {
                let shorter = shorten_json(document.clone(), limit);
                assert!(json_size(&shorter) <= limit, "{} > {limit}: {shorter}", json_size(&shorter));
                assert!(shorter.to_string().contains("omitted]"), "{shorter}");
            }
        }
        let kept = shorten_json(json!({"id": 12, "text": "abcdefghij".repeat(100)}), 120);
        assert_eq!(kept["id"], 12);
        let text = kept["text"].as_str().unwrap_or_default();
        assert!(text.starts_with("abc") && text.ends_with("hij"), "{text}");
        let kept = shorten_json(json!((0..100).collect::<Vec<_>>()), 60);
        assert_eq!(kept.to_string(), r#"[0,1,2,3,4,5,6,"[86 items omitted]",93,94,95,96,97,98,99]"#);
    }

    #[test]
    fn blocks_share_the_limit() {
        let path = Path::new("/t/a.json");
        for count in [1, 2, 7, 300] {
            let mut blocks: Vec<Value> =
                (0..count).map(|n| json!({"type": "text", "text": format!("{n}é").repeat(2000 / count)})).collect();
            blocks.insert(count / 2, json!({"type": "image", "data": "AAAA", "mimeType": "image/png"}));
            let whole: String = blocks.iter().map(block_text).collect();
            let size = whole.len();
            for limit in [0, 1, 20, 40] {
                let mut blocks = blocks.clone();
                shorten_blocks(&mut blocks, size, limit, path);
                let text: String = blocks.iter().map(block_text).collect();
                assert!(text.len() <= limit && text.len() + 1 >= limit && whole.starts_with(&text), "{limit}: {text}");
            }
            shorten_blocks(&mut blocks, size, 400, path);
            let texts: Vec<&str> = blocks.iter().map(block_text).collect();
            let text = texts.concat();
            assert!(text.len() <= 400 && text.len() > 380, "{count}: {} {text}", text.len());
            assert_eq!(text.matches(" bytes omitted; the whole text is in /t/a.json]\n").count(), 1, "{text}");
            assert!(text.starts_with("0é") && text.ends_with(&format!("{}é", count - 1)), "{text}");
            assert_eq!(texts.iter().filter(|text| text.is_empty()).count(), 1, "the image stays");
            let number = text.split(" bytes omitted").next().and_then(|start| start.rsplit('[').next());
            let missing: usize = number.and_then(|number| number.parse().ok()).unwrap_or_default();
            let mark = omission(missing, path).len();
            assert!(text.len() - mark + missing - size <= 1, "{text}");
        }
    }
}
