//! Every block of `docs/recipes.md` runs as it is printed, and prints what the document says.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::generated_docs::root;
use super::recipe_servers::RecipeServers;
use crate::support::Sandbox;

/// A part of the document.
#[derive(Debug, PartialEq)]
enum Part {
    /// Text between blocks, and all blocks that are neither of the others.
    Text(String),
    /// A block with commands.
    Commands(String),
    /// The block with what the commands before it print.
    Output(String),
}

impl Part {
    fn commands(&self) -> Option<&str> {
        match self {
            Part::Commands(commands) => Some(commands),
            _ => None,
        }
    }
}

fn file() -> PathBuf {
    root().join("docs/recipes.md")
}

/// Splits the document by its code blocks.
fn parts(text: &str) -> Vec<Part> {
    let blocks = text.split("```").enumerate();
    let part = |(n, part): (usize, &str)| match part.split_once('\n') {
        Some(("sh", content)) if n % 2 == 1 => Part::Commands(content.to_owned()),
        Some(("text", content)) if n % 2 == 1 => Part::Output(content.to_owned()),
        _ => Part::Text(part.to_owned()),
    };
    blocks.map(part).collect()
}

/// The recipes: their titles, and the parts of each.
fn recipes(text: &str) -> Vec<(String, Vec<Part>)> {
    let sections = text.split("\n### ").skip(1);
    sections.map(|section| (section.lines().next().unwrap().to_owned(), parts(section))).collect()
}

/// What the commands of a recipe print, block by block, in a home of their own.
fn run(parts: &[Part]) -> Vec<String> {
    let sandbox = Sandbox::new();
    let commands: String = parts.iter().filter_map(Part::commands).collect();
    let servers = RecipeServers::start(&sandbox, &commands);
    let like = sandbox.mcpipe(["x"]).with_browser().command(&[]);
    let binaries = std::path::Path::new(env!("CARGO_BIN_EXE_mcpipe")).parent().unwrap();
    let mut printed = Vec::new();
    for commands in parts.iter().filter_map(Part::commands) {
        let mut bash = Command::new("bash");
        // As at a terminal, both streams are shown in the order in which they were written.
        bash.args(["-euc", &format!("exec 2>&1\n{commands}")]).env_clear().stdin(Stdio::null());
        bash.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.env("PATH", format!("{}:/usr/bin:/bin", binaries.display())).env("CRM_API", servers.crm_page());
        let output = bash.current_dir(sandbox.work()).output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            text += &format!("FAILED: {}\n", output.status);
        }
        printed.push(text);
    }
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
    printed
}

/// The section with the outputs in their places.
fn with_outputs(parts: &[Part], outputs: Vec<String>) -> String {
    let mut outputs = outputs.into_iter();
    let (mut text, mut follows_commands) = (String::new(), false);
    for (n, part) in parts.iter().enumerate() {
        match part {
            Part::Text(part) => text += if follows_commands && n + 1 < parts.len() { part.trim_start() } else { part },
            Part::Commands(commands) => {
                text += &format!("```sh\n{commands}```");
                let output = outputs.next().unwrap();
                if !output.is_empty() {
                    text += &format!("\n\n```text\n{output}```");
                }
            }
            Part::Output(_) => {}
        }
        follows_commands = matches!(part, Part::Commands(_)) && matches!(parts.get(n + 2), Some(Part::Output(_)));
    }
    text
}

#[test]
fn every_recipe_prints_what_the_document_says() {
    let text = std::fs::read_to_string(file()).unwrap();
    let recipes = recipes(&text);
    assert!(recipes.len() >= 30, "{} recipes", recipes.len());
    let next = std::sync::Mutex::new(recipes.iter().enumerate());
    let found = std::sync::Mutex::new(vec![String::new(); recipes.len()]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((n, (_, parts))) = next.lock().unwrap().next() else { return };
                    let section = with_outputs(parts, run(parts));
                    found.lock().unwrap()[n] = section;
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let before = text.split("\n### ").next().unwrap();
    let found = [before].into_iter().chain(found.iter().map(String::as_str)).collect::<Vec<_>>().join("\n### ");
    assert!(!found.contains("\nFAILED: "), "{found}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file(), found).unwrap();
    } else {
        assert!(text == found, "UPDATE=1 rewrites the document\n--- found\n{found}");
    }
}
