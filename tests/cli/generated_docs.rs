//! What is generated from the clap definitions and the tables of keys is what is committed: man pages,
//! completions, `docs/cli.md`, `docs/config.md`, `docs/suite.md` and `docs/source.md`. `UPDATE=1 cargo test generated` rewrites them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Command;

use super::command_reference::CommandReference;
use super::{config_reference, suite_reference};
use crate::support::Sandbox;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a committed file with `wanted`, or rewrites it with `UPDATE=1`.
pub fn assert_committed(path: &Path, wanted: &str) {
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
pub fn commands() -> Vec<(String, Command)> {
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

fn references() -> Vec<CommandReference> {
    commands().iter().map(|(name, command)| CommandReference::new(name, command)).collect()
}

#[test]
fn man_pages_match_the_parser() {
    let mut wanted = vec!["mcpipe-config.5".to_owned(), "mcpipe-suite.5".to_owned()];
    assert_committed(&root().join("man/mcpipe-config.5"), &config_reference::manual());
    assert_committed(&root().join("man/mcpipe-suite.5"), &suite_reference::manual());
    for command in references() {
        let file = format!("{}.1", command.page_name());
        assert_committed(&root().join("man").join(&file), &command.manual());
        wanted.push(file);
    }
    let mut found: Vec<String> = names(&root().join("man"));
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted, "man/ has other pages than there are commands");
    let mut shipped: Vec<String> = mcpipe::assets::MAN_PAGES
        .iter()
        .map(|(name, _)| match *name {
            "" => "mcpipe.1".to_owned(),
            name if name.ends_with(".5") => format!("mcpipe-{name}"),
            name => format!("mcpipe-{name}.1"),
        })
        .collect();
    shipped.sort();
    assert_eq!(shipped, wanted, "src/assets.rs ships other pages than there are commands");
}

#[test]
fn man_pages_have_no_lint() {
    let mut pages: Vec<PathBuf> = names(&root().join("man")).iter().map(|name| root().join("man").join(name)).collect();
    pages.sort();
    // `scripts/parts` installs mandoc.
    let _ = crate::support::real::parts_dir();
    let lint = std::process::Command::new("mandoc").args(["-T", "lint", "-W", "style"]).args(&pages).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&lint.stdout), "", "mandoc -T lint");
    assert!(lint.status.success());
}

#[test]
fn man_pages_have_every_section() {
    for command in references() {
        let page = command.manual();
        let sections =
            ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "FILES", "ENVIRONMENT", "EXAMPLES", "\"SEE ALSO\""];
        for section in sections {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{} has no section {section}", command.name);
        }
    }
}

#[test]
fn the_references_of_files_match_their_keys() {
    assert_committed(&root().join("docs/config.md"), &config_reference::markdown());
    assert_committed(&root().join("docs/suite.md"), &suite_reference::markdown());
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

const SHELLS: [(&str, &str); 6] = [
    ("bash", "mcpipe.bash"),
    ("elvish", "mcpipe.elv"),
    ("fish", "mcpipe.fish"),
    ("nushell", "mcpipe.nu"),
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
fn the_picture_in_the_readme_shows_what_the_binary_prints() {
    let script = root().join("scripts/picture");
    let drawn = std::process::Command::new("python3").arg(script).arg(env!("CARGO_BIN_EXE_mcpipe")).output().unwrap();
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    assert_committed(&root().join("docs/session.svg"), &String::from_utf8(drawn.stdout).unwrap());
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("](docs/session.svg)"));
}

#[test]
fn the_reference_matches_the_parser() {
    let mut text = String::from(
        "# The commands\n\nGenerated from the definitions in `src/cli/`; do not edit. Targets and exit codes are described \
         in the README, the output of `--json` in `json.md`, the configuration in `config.md`.\n\nThe general options are \
         listed once, under `mcpipe`; every command accepts them. Every command also has `-h` and `--help`.\n",
    );
    let references = references();
    for command in &references {
        text.push_str(&command.markdown());
    }
    text.push_str("\n## Target options\n\nHow to reach the server: options of every command that connects.\n");
    let call = references.iter().find(|command| command.name == "mcpipe call").unwrap();
    text.push_str(&call.target_options_as_markdown());
    text.push_str(
        "\n## Environment\n\nEvery variable that mcpipe itself reads.\n\n| variable | purpose |\n|---|---|\n",
    );
    for (name, what) in mcpipe::env::DOCUMENTED {
        writeln!(text, "| `{name}` |{what} |").unwrap();
    }
    assert_committed(&root().join("docs/cli.md"), &text);
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
        assert!(lines <= 44, "{name} -h has {lines} lines:\n{short}");
        let long = command.clone().term_width(80).render_long_help().to_string();
        for option in &general {
            assert!(long.contains(option.as_str()), "{name} --help does not name {option}");
        }
        let ours = long.split("\nExamples:").last().unwrap();
        assert!(ours.lines().all(|line| line.chars().count() <= 90), "{name} --help has a wide line:\n{ours}");
        if name != "mcpipe" {
            let (_, block) = long.split_once("\nGeneral options (").expect("a block of general options");
            assert!(block.trim_end().lines().count() <= 7, "{name}:\n{block}");
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
        (&["mcpipe-config-add.1"], "mcpipe-config-add.1"),
        (&["config"], "mcpipe-config.1"),
        (&["mcpipe"], "mcpipe.1"),
        (&["config.5"], "mcpipe-config.5"),
        (&["5", "mcpipe-config"], "mcpipe-config.5"),
        (&["suite.5"], "mcpipe-suite.5"),
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
        (
            &["call"],
            "ARGUMENTS",
            "  name=@FILE       the file\\(aqs text; @\\- is standard input; @@x is the literal text @x",
        ),
        (&["call"], "EXAMPLES", "  mcpipe call files write_file path=out.txt content=@report.md"),
        (&["config", "add"], "EXAMPLES", "  mcpipe config add "),
        (&["config.5"], "DESCRIPTION", "[servers.linear]"),
    ] {
        let text = page(words);
        let (_, after) = text
            .split_once(&format!("\n.SH {section}\n"))
            .unwrap_or_else(|| panic!("{words:?} has no section {section}:\n{text}"));
        let section = after.split("\n.SH").next().unwrap();
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
        // Variables that every program reads, or that a CI system sets, are only in docs/cli.md.
        let usual = [
            "HOME",
            "PATH",
            "PWD",
            "COLUMNS",
            "TERM_PROGRAM",
            "KITTY_WINDOW_ID",
            "LC_TERMINAL",
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "WSL_DISTRO_NAME",
            "MCPIPE_COMPLETE",
            "XDG_RUNTIME_DIR",
            "TMPDIR",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "CI_SERVER_URL",
        ];
        assert!(usual.contains(name) || table.contains(name), "the help does not name {name}");
    }
    assert!(table.lines().count() <= 17 && table.lines().all(|line| line.len() <= 80), "{table}");
    // The short help stays short.
    assert!(!sandbox.mcpipe(["-h"]).run().succeeds().stdout().contains("Environment:"));
}

/// `docs/source.md`: what each source file is for, as its first paragraph says.
#[test]
fn the_list_of_source_files_is_complete() {
    let mut files = rust_files(&root().join("src"));
    files.sort_by_key(|file| (file.parent().map(Path::to_owned), file.clone()));
    let mut text = "# Source files\n\nWhat each file in `src/` is for: the first paragraph of its documentation. \
                    [architecture.md](architecture.md) says\nhow they work together. Generated by \
                    `tests/cli/generated_docs.rs`; do not edit.\n"
        .to_owned();
    let mut folder = PathBuf::new();
    for file in files {
        let inner = file.strip_prefix(root()).unwrap();
        if inner.components().any(|part| part.as_os_str() == "tests") || inner.ends_with("tests.rs") {
            continue;
        }
        if inner.parent() != Some(&folder) {
            folder = inner.parent().unwrap().to_owned();
            write!(text, "\n## `{}/`\n\n", folder.display()).unwrap();
        }
        let name = inner.file_name().unwrap().display();
        writeln!(text, "{}", wrapped(&format!("* `{name}`: {}", first_paragraph(&file)))).unwrap();
    }
    assert_committed(&root().join("docs/source.md"), &text);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect()
}

/// The first paragraph of the documentation of a module, in one line.
fn first_paragraph(file: &Path) -> String {
    let source = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//! ")).map(str::trim_end).collect();
    assert!(!lines.is_empty(), "{} does not say what it is for", file.display());
    lines.join(" ")
}

/// An item of a list in lines of at most 120 columns.
fn wrapped(item: &str) -> String {
    let mut lines = vec![String::new()];
    for word in item.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.chars().count() + 1 + word.chars().count() > 120 {
            lines.push(format!("  {word}"));
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}
