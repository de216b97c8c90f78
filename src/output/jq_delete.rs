//! `delpaths` of `--jq`: what is deleted leaves the rest in order, and what is absent is ignored, as in jq.

use std::collections::HashMap;
use std::ops::Range;

use jaq_core::data::JustLut;
use jaq_core::native::{Fun, run, unary, v};
use jaq_json::{Error, Num, Rc, Val};

/// The function `_delpaths($paths)`.
pub(super) fn function() -> Fun<JustLut<Val>> {
    run(("_delpaths", v(1), |cv| {
        unary(cv, |value, paths| {
            let paths = list(&paths)?.iter().map(|path| list(path)).collect::<Result<Vec<_>, _>>()?;
            Ok(delete(value, &paths)?.unwrap_or_default())
        })
    }))
}

fn list(value: &Val) -> Result<&[Val], Error> {
    match value {
        Val::Arr(items) => Ok(items),
        other => Err(Error::str(format_args!("{other} is not an array"))),
    }
}

/// The value without what these paths lead to; `None` if that is the value itself.
fn delete(value: Val, paths: &[&[Val]]) -> Result<Option<Val>, Error> {
    if paths.iter().any(|path| path.is_empty()) {
        return Ok(None);
    }
    let fits = |key: &Val| {
        let pair = (&value, key);
        matches!(
            pair,
            (Val::Obj(_), Val::TStr(_) | Val::BStr(_)) | (Val::Arr(_), Val::Num(_) | Val::Obj(_)) | (Val::Null, _)
        )
    };
    if let Some(key) = paths.iter().map(|path| &path[0]).find(|key| !fits(key)) {
        return Err(Error::str(format_args!("cannot delete {key} of {value}")));
    }
    Ok(Some(match value {
        Val::Obj(members) => {
            let mut by_name: HashMap<&Val, Vec<&[Val]>> = HashMap::new();
            for path in paths {
                by_name.entry(&path[0]).or_default().push(&path[1..]);
            }
            let kept = Rc::unwrap_or_clone(members).into_iter().filter_map(|(name, member)| match by_name.get(&name) {
                Some(rest) => delete(member, rest).map(|member| Some((name, member?))).transpose(),
                None => Some(Ok((name, member))),
            });
            Val::obj(kept.collect::<Result<_, _>>()?)
        }
        Val::Arr(items) => {
            let mut by_index: HashMap<usize, Vec<&[Val]>> = HashMap::new();
            for path in paths {
                let (indexes, rest) = select(path, 0..items.len());
                indexes.for_each(|index| by_index.entry(index).or_default().push(rest));
            }
            let kept = Rc::unwrap_or_clone(items).into_iter().enumerate().filter_map(|(index, item)| {
                match by_index.get(&index) {
                    Some(rest) => delete(item, rest).transpose(),
                    None => Some(Ok(item)),
                }
            });
            Val::Arr(Rc::new(kept.collect::<Result<_, _>>()?))
        }
        other => other,
    }))
}

/// The items of a list that the beginning of a path leads to, and the rest of it. An index after a slice counts from its
/// beginning.
fn select(path: &[Val], range: Range<usize>) -> (Range<usize>, &[Val]) {
    let Some((key, rest)) = path.split_first() else { return (range, path) };
    let place = |number: &Val| match number {
        Val::Num(Num::Float(number)) => Some(number.floor() as isize),
        Val::Num(number) => number.as_isize(),
        _ => None,
    };
    // Negative numbers count from the end.
    let from_start = |number: isize| if number < 0 { number + range.len() as isize } else { number };
    match key {
        Val::Obj(slice) => {
            let bound = |name: &str| slice.get(&Val::from(name.to_owned())).and_then(place).map(from_start);
            let limit = |number: isize| range.start + number.clamp(0, range.len() as isize) as usize;
            let (start, end) = (bound("start").map_or(range.start, limit), bound("end").map_or(range.end, limit));
            select(rest, start..end.max(start))
        }
        key => match place(key).map(from_start).and_then(|index| usize::try_from(index).ok()) {
            Some(index) if index < range.len() => (range.start + index..range.start + index + 1, rest),
            _ => (0..0, rest),
        },
    }
}
