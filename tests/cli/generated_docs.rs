//! What is generated from the clap definitions is what is committed: man pages, completions, `docs/cli.md` and
//! the usage in the README. `UPDATE=1 cargo test generated` rewrites them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Command;
use clap::builder::Resettable;

use crate::support::Sandbox;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds a committed file equal to `wanted`, or rewrites it with `UPDATE=1`.
fn assert_committed(path: &Path, wanted: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the command line definitions say; rewrite it with: UPDATE=1 cargo test generated",
        path.display()
    );
}

/// Every command with its full name (`mcpipe config add`), parents first; `help` repeats the others.
fn commands() -> Vec<(String, Command)> {
    fn add(name: String, command: &Command, all: &mut Vec<(String, Command)>) {
        all.push((name.clone(), command.clone()));
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
            add(format!("{name} {}", sub.get_name()), sub, all);
        }
    }
    let mut command = mcpipe::cli::command().disable_help_subcommand(true);
    command.build();
    let mut all = Vec::new();
    add("mcpipe".to_owned(), &command, &mut all);
    all
}

#[test]
fn man_pages_match_the_parser() {
    let mut wanted = Vec::new();
    for (name, command) in commands() {
        let page = name.replace(' ', "-");
        assert_committed(
            &root().join(format!("man/{page}.1")),
            &manual(command.name(page.clone()).display_name(page.clone())),
        );
        wanted.push(format!("{page}.1"));
    }
    let mut found: Vec<String> = names(&root().join("man"));
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted, "man/ holds other pages than there are commands");
    let mut shipped: Vec<String> = mcpipe::assets::MAN_PAGES
        .iter()
        .map(|(name, _)| if name.is_empty() { "mcpipe.1".to_owned() } else { format!("mcpipe-{name}.1") })
        .collect();
    shipped.sort();
    assert_eq!(shipped, wanted, "src/generate.rs ships other pages than there are commands");
}

/// The page of a command. What its help ends with is ours, line by line: examples and tables that are not to be filled
/// anew, under the headings that manuals have.
fn manual(command: Command) -> String {
    let end = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let end = end.map(|end| end.split("General options (").next().unwrap_or_default().to_owned());
    let end = match command.get_name() {
        "mcpipe" => end,
        _ => end.map(|end| format!("{end}\nGeneral options:\nmcpipe(1) describes the options of every command.")),
    };
    // The general options have their place in mcpipe(1).
    let general = |arg: clap::Arg| {
        let hidden = arg.is_hide_long_help_set();
        arg.hide(hidden)
    };
    let bare = command.mut_args(general).after_help(Resettable::Reset).after_long_help(Resettable::Reset);
    let mut page = Vec::new();
    clap_mangen::Man::new(bare).render(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    let at = page.find(".SH VERSION").unwrap_or(page.len());
    let sections: String = sections(end.as_deref().unwrap_or_default())
        .into_iter()
        .map(|(heading, lines)| format!(".SH {heading:?}\n.nf\n{}\n.fi\n", lines.join("\n")))
        .collect();
    format!("{}{sections}{}", &page[..at], &page[at..])
}

/// What the help ends with, by heading; lines that have none are notes.
fn sections(text: &str) -> Vec<(&'static str, Vec<String>)> {
    const HEADINGS: [(&str, &str); 6] = [
        ("General options", "GENERAL OPTIONS"),
        ("Arguments", "ARGUMENTS"),
        ("Files", "FILES"),
        ("Examples", "EXAMPLES"),
        ("Exit codes", "EXIT STATUS"),
        ("Environment", "ENVIRONMENT"),
    ];
    let mut all: Vec<(&'static str, Vec<String>)> = Vec::new();
    for line in text.trim_end().lines() {
        let heading = HEADINGS.iter().find(|(word, _)| line.ends_with(':') && line.starts_with(word));
        if let Some((word, heading)) = heading {
            // A heading that says more is kept.
            let more = (line.len() > word.len() + 1).then(|| literal(line));
            all.push((heading, more.into_iter().collect()));
            continue;
        }
        if all.is_empty() {
            all.push(("NOTES", Vec::new()));
        }
        all.last_mut().unwrap().1.push(literal(line));
    }
    for (_, lines) in &mut all {
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
    }
    all
}

/// A line as a manual shows it as it is.
fn literal(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            _ => out.push(c),
        }
    }
    // What begins so is a request.
    if out.starts_with('.') { format!("\\&{out}") } else { out }
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

const SHELLS: [(&str, &str); 5] = [
    ("bash", "mcpipe.bash"),
    ("elvish", "mcpipe.elv"),
    ("fish", "mcpipe.fish"),
    ("powershell", "mcpipe.ps1"),
    ("zsh", "_mcpipe"),
];

#[test]
fn completions_match_the_parser() {
    let mut wanted = Vec::new();
    for (shell, file) in SHELLS {
        let mut text = Vec::new();
        let completer = mcpipe::complete::SHELLS.completer(shell).unwrap();
        completer.write_registration("MCPIPE_COMPLETE", "mcpipe", "mcpipe", "mcpipe", &mut text).unwrap();
        assert_committed(&root().join("completions").join(file), &String::from_utf8(text).unwrap());
        wanted.push(file.to_owned());
    }
    let mut found = names(&root().join("completions"));
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

#[test]
fn the_binary_prints_what_is_committed() {
    let sandbox = Sandbox::new();
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    for (shell, file) in SHELLS {
        let run = sandbox.mcpipe(["completions", shell]).run();
        assert!(run.succeeds().stdout() == read(root().join("completions").join(file)), "{file}");
    }
    for (page, file) in
        [(None, "mcpipe.1"), (Some("call"), "mcpipe-call.1"), (Some("config-add"), "mcpipe-config-add.1")]
    {
        let run = sandbox.mcpipe(["man"].into_iter().chain(page)).run();
        assert!(run.succeeds().stdout() == read(root().join("man").join(file)), "{file}");
    }
    let run = sandbox.mcpipe(["man", "cal"]).run();
    run.exits(2);
    assert_eq!(run.stderr(), "mcpipe: error: unknown command 'cal'\nhint: did you mean mcpipe man call?\n");
}

#[test]
fn the_reference_matches_the_parser() {
    let mut text = String::from(
        "# The commands\n\nGenerated from the definitions in `src/cli/`; do not edit. The contract behind them: \
         targets, streams and exit codes are in the README, the shapes of `--json` in `json.md`.\n",
    );
    for (name, mut command) in commands() {
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        write!(text, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n")).unwrap();
    }
    text.push_str(
        "\n## Environment\n\nEvery variable that mcpipe itself looks at.\n\n| variable | what for |\n|---|---|\n",
    );
    for (name, what) in mcpipe::env::DOCUMENTED {
        writeln!(text, "| `{name}` |{what} |").unwrap();
    }
    assert_committed(&root().join("docs/cli.md"), &text);
}

#[test]
fn the_readme_shows_the_real_usage() {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- usage -->\n").expect("the README has a usage block");
    let (_, after) = rest.split_once("<!-- /usage -->").expect("the README's usage block ends");
    let help = mcpipe::cli::command().term_width(100).render_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let usage = format!("```text\n{}\n```\n", help.join("\n"));
    assert_committed(&path, &format!("{before}<!-- usage -->\n{usage}<!-- /usage -->{after}"));
}

/// The command itself comes first: its own options, and the general ones only by name.
#[test]
fn help_shows_the_command() {
    let all = commands();
    let (_, root) = &all[0];
    let general: Vec<String> = root
        .get_arguments()
        .filter(|arg| arg.get_help_heading() == Some("General options"))
        .map(|arg| format!("--{}", arg.get_long().unwrap()))
        .collect();
    assert!(general.len() > 15, "{general:?}");
    for (name, command) in &all {
        let short = command.clone().term_width(80).render_help().to_string();
        let lines = short.trim_end().lines().count();
        assert!(lines <= 40, "{name} -h has {lines} lines:\n{short}");
        let long = command.clone().term_width(80).render_long_help().to_string();
        for option in &general {
            assert!(long.contains(option.as_str()), "{name} --help does not name {option}");
        }
        let ours = long.split("\nExamples:").last().unwrap();
        assert!(ours.lines().all(|line| line.chars().count() <= 90), "{name} --help has a wide line:\n{ours}");
        if name != "mcpipe" {
            let (_, block) = long.split_once("\nGeneral options (").expect("a block of general options");
            assert!(block.trim_end().lines().count() <= 6, "{name}:\n{block}");
            assert!(!command.get_about().unwrap().to_string().ends_with('.'), "{name}");
            let text = command.get_long_about().unwrap_or_else(|| panic!("{name} has no description"));
            assert!(text.to_string().contains("\n\n"), "{name} has no description");
        }
    }
}

#[test]
fn a_page_is_asked_for_in_the_words_of_the_command() {
    let sandbox = Sandbox::new();
    let read = |file: &str| std::fs::read_to_string(root().join("man").join(file)).unwrap();
    for (words, file) in [
        (&["config", "add"][..], "mcpipe-config-add.1"),
        (&["config-add"], "mcpipe-config-add.1"),
        (&["config", "secret", "set"], "mcpipe-config-secret-set.1"),
    ] {
        let run = sandbox.mcpipe(["man"]).args(words).run();
        assert!(run.succeeds().stdout() == read(file), "{words:?}");
    }
    let run = sandbox.mcpipe(["man", "config", "ad"]).run();
    assert_eq!(
        run.exits(2).stderr(),
        "mcpipe: error: unknown command 'config ad'\nhint: did you mean mcpipe man config add?\n"
    );
}

#[test]
fn examples_in_pages_are_set_as_they_are() {
    let sandbox = Sandbox::new();
    let page = |words: &[&str]| sandbox.mcpipe(["man"]).args(words).run().stdout().to_owned();
    for (words, section, line) in [
        (&[][..], "EXAMPLES", "  mcpipe list linear \\-\\-json | jq \\-r \\(aq.tools[].name\\(aq"),
        (&[], "EXIT STATUS", "  2 usage              5 unreachable        8 refused"),
        (&[], "ENVIRONMENT", "  NO_COLOR, TERM=dumb"),
        (&["call"], "ARGUMENTS", "  name=@FILE       the file\\(aqs text; @\\- is stdin; @@x is the literal text @x"),
        (&["call"], "EXAMPLES", "  mcpipe call files write_file path=out.txt content=@report.md"),
        (&["config", "add"], "EXAMPLES", "  mcpipe config add "),
    ] {
        let text = page(words);
        assert!(!text.contains("EXTRA"), "{words:?}");
        let (_, after) = text
            .split_once(&format!(".SH {section:?}\n"))
            .unwrap_or_else(|| panic!("{words:?} has no section {section}:\n{text}"));
        let section = after.split(".SH").next().unwrap();
        let (_, literal) = section.split_once(".nf\n").unwrap_or_else(|| panic!("{words:?} {section}"));
        let literal = literal.split(".fi").next().unwrap();
        assert!(literal.lines().any(|found| found.starts_with(line)), "{line:?} is not in:\n{literal}");
    }
}

#[test]
fn every_variable_is_documented() {
    let sandbox = Sandbox::new();
    let help = sandbox.mcpipe(["--help"]).run();
    let (_, table) = help.succeeds().stdout().split_once("\nEnvironment:\n").expect("the help names the variables");
    let reference = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    for (name, what) in mcpipe::env::DOCUMENTED {
        assert!(reference.contains(&format!("| `{name}` |{what} |\n")), "docs/cli.md does not explain {name}");
        // What every program reads is not told by each.
        let usual = ["HOME", "PATH", "COLUMNS", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "MCPIPE_COMPLETE"];
        assert!(usual.contains(name) || table.contains(name), "the help does not name {name}");
    }
    assert!(table.lines().count() <= 16 && table.lines().all(|line| line.len() <= 80), "{table}");
    // The short help stays short.
    assert!(!sandbox.mcpipe(["-h"]).run().succeeds().stdout().contains("Environment:"));
}
