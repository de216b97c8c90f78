//! Command lines without options, parsed without clap.
//!
//! Defining the options of a command takes clap a third of the instructions of a short call and half of its page
//! faults. The most common command lines use no options except `--json`: they are parsed here, and all others by clap.

use std::ffi::OsString;

use crate::cli::call::CallArgs;
use crate::cli::list::ListArgs;
use crate::cli::options::GlobalOptions;
use crate::cli::prompt::PromptArgs;
use crate::cli::read::ReadArgs;
use crate::cli::root::{Cli, Command};

/// The command line; `None` if clap has to parse it.
pub(super) fn parse(arguments: &[OsString]) -> Option<Cli> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_str());
    let name = words.next()??;
    let mut global = GlobalOptions::default();
    let mut positionals = Vec::new();
    let mut command = Vec::new();
    while let Some(word) = words.next() {
        match word? {
            "--" => command = words.by_ref().map(|word| word.map(str::to_owned)).collect::<Option<_>>()?,
            "--json" => global.json = true,
            option if option.starts_with('-') => return None,
            word => positionals.push(word.to_owned()),
        }
    }
    let mut positionals = positionals.into_iter();
    let target = positionals.next();
    let command = match name {
        "call" => {
            let tool = positionals.next();
            let args = positionals.by_ref().collect();
            Command::Call(Box::new(CallArgs { target, tool, args, command, global, ..CallArgs::default() }))
        }
        "list" => {
            let tool = positionals.next();
            Command::List(ListArgs { target, tool, command, global, ..ListArgs::default() })
        }
        "read" => {
            let uris = positionals.by_ref().collect();
            Command::Read(ReadArgs { target, uris, command, global, ..ReadArgs::default() })
        }
        "prompt" => {
            let name = positionals.next();
            let args = positionals.by_ref().collect();
            Command::Prompt(PromptArgs { target, name, args, command, global, ..PromptArgs::default() })
        }
        _ => return None,
    };
    // clap reports a word too many.
    positionals.next().is_none().then(|| Cli { command, global: GlobalOptions::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::FromArgMatches;

    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        std::iter::once(&"mcpipe").chain(words).map(Into::into).collect()
    }

    /// What clap parses from the same words.
    fn clap(arguments: &[OsString]) -> Option<Cli> {
        let matches = crate::cli::command().try_get_matches_from(arguments).ok()?;
        Some(Cli::from_arg_matches(&matches).unwrap())
    }

    /// Everything that a command receives.
    fn received(cli: Option<Cli>) -> String {
        let with_global = cli.map(|mut cli| {
            let global = cli.take_global_options();
            (cli, global)
        });
        format!("{with_global:?}")
    }

    /// Every line of at most three of these words after a command's name.
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
    fn the_fast_path_agrees_with_clap() {
        let mut fast = 0;
        for line in lines() {
            let arguments = arguments(&line);
            let Some(here) = parse(&arguments) else { continue };
            fast += 1;
            assert_eq!(received(Some(here)), received(clap(&arguments)), "{line:?}");
        }
        assert!(fast > 600, "{fast}");
    }

    #[test]
    fn options_help_and_invalid_utf8_are_left_to_clap() {
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
