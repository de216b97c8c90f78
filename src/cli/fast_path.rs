//! Command lines without options, read without clap.
//!
//! To define what a command could be told, clap needs a third of the instructions of a short call and half of its
//! page faults. The lines that are typed most use nothing of it: words, and perhaps `--json`. They are read here, in
//! the one way that there is to read them, and everything else is left to clap.

use std::ffi::OsString;

use super::{CallArgs, Cli, Command, GlobalOptions, ListArgs, PromptArgs, ReadArgs};

/// What these words ask for; `None` where clap must say it.
pub(super) fn parse(arguments: &[OsString]) -> Option<Cli> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_str());
    let name = words.next()??;
    let mut global = GlobalOptions::default();
    let mut places = Vec::new();
    let mut command = Vec::new();
    while let Some(word) = words.next() {
        match word? {
            "--" => command = words.by_ref().map(|word| word.map(str::to_owned)).collect::<Option<_>>()?,
            "--json" => global.json = true,
            option if option.starts_with('-') => return None,
            word => places.push(word.to_owned()),
        }
    }
    let mut places = places.into_iter();
    let target = places.next();
    let command = match name {
        "call" => {
            let tool = places.next();
            let args = places.by_ref().collect();
            Command::Call(CallArgs { target, tool, args, command, global, ..CallArgs::default() })
        }
        "list" => {
            let tool = places.next();
            Command::List(ListArgs { target, tool, command, global, ..ListArgs::default() })
        }
        "read" => {
            let uris = places.by_ref().collect();
            Command::Read(ReadArgs { target, uris, command, global, ..ReadArgs::default() })
        }
        "prompt" => {
            let name = places.next();
            let args = places.by_ref().collect();
            Command::Prompt(PromptArgs { target, name, args, command, global, ..PromptArgs::default() })
        }
        _ => return None,
    };
    // One word too many is told by clap.
    places.next().is_none().then(|| Cli { command, global: GlobalOptions::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::FromArgMatches;

    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        std::iter::once(&"mcpipe").chain(words).map(Into::into).collect()
    }

    /// What clap makes of the same words.
    fn clap(arguments: &[OsString]) -> Option<Cli> {
        let matches = super::super::command().try_get_matches_from(arguments).ok()?;
        Some(Cli::from_arg_matches(&matches).unwrap())
    }

    /// All that a command is given.
    fn told(cli: Option<Cli>) -> String {
        let with_global = cli.map(|mut cli| {
            let global = cli.take_global_options();
            (cli, global)
        });
        format!("{with_global:?}")
    }

    /// Every line of at most three of these words behind a command's name.
    fn lines() -> impl Iterator<Item = Vec<&'static str>> {
        const WORDS: [&str; 8] = ["", "api", "a=1", "b:=-2", "--json", "--", "-", "--quiet"];
        let names = ["call", "list", "read", "prompt", "task", "config", "nonsense"];
        names.into_iter().flat_map(|name| {
            (0..=3u32).flat_map(move |length| {
                (0..8usize.pow(length)).map(move |number| {
                    let digits = (0..length).map(|place| WORDS[number / 8usize.pow(place) % 8]);
                    std::iter::once(name).chain(digits).collect()
                })
            })
        })
    }

    #[test]
    fn what_is_read_here_is_what_clap_would_read() {
        let mut read_here = 0;
        for line in lines() {
            let arguments = arguments(&line);
            let Some(here) = parse(&arguments) else { continue };
            read_here += 1;
            assert_eq!(told(Some(here)), told(clap(&arguments)), "{line:?}");
        }
        assert!(read_here > 600, "{read_here}");
    }

    #[test]
    fn options_help_and_what_is_no_text_are_left_to_clap() {
        for line in [
            &["call", "api", "tool", "--timeout", "5"] as &[_],
            &["--json", "call", "api", "tool"],
            &["call", "--help"],
            &["call", "api", "-", "x=1"],
            &["list", "api", "tool", "more"],
            &["help"],
            &[],
        ] {
            assert!(parse(&arguments(line)).is_none(), "{line:?}");
        }
        #[cfg(unix)]
        {
            let mut words = arguments(&["call", "api", "tool"]);
            words.push(std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff]));
            assert!(parse(&words).is_none());
        }
    }
}
