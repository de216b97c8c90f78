//! The examples of `docs/ci.md` work as they are printed.

use std::path::Path;
use std::time::Duration;

use crate::support::Sandbox;
use crate::support::real::{node_package_file, node_program, python_program};
use crate::test::reports::follows_the_junit_schema;

/// The shell parts of the examples, in order: whole `sh` blocks, the steps of YAML, and the steps of a Jenkinsfile.
fn shell_parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let (language, content) = block.split_once('\n').unwrap();
        match language {
            "sh" => parts.push(content.to_owned()),
            "yaml" => add_yaml_steps(content, &mut parts),
            "groovy" => {
                let steps = content.lines().filter_map(|line| line.trim().strip_prefix("sh '")?.strip_suffix('\''));
                parts.extend(steps.map(ToOwned::to_owned));
            }
            other => panic!("what is '{other}'?"),
        }
    }
    parts
}

fn add_yaml_steps(content: &str, parts: &mut Vec<String>) {
    let mut lines = content.lines().peekable();
    while let Some(line) = lines.next() {
        let (step, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        let is_inside = |line: &&str| line.len() - line.trim_start().len() > indent;
        if step == "- run: |" {
            let mut script = String::new();
            while let Some(line) = lines.next_if(is_inside) {
                script += &format!("{}\n", line.trim_start());
            }
            parts.push(script);
        } else if let Some(command) = step.strip_prefix("- run: ") {
            parts.push(command.to_owned());
        } else if step == "script:" {
            while let Some(line) = lines.next_if(is_inside) {
                parts.push(line.trim_start().strip_prefix("- ").unwrap().to_owned());
            }
        }
    }
}

#[test]
fn every_example_of_ci_md_works_as_it_is_printed() {
    let sandbox = Sandbox::new();
    let (memory, time) = ("@modelcontextprotocol/server-memory", "mcp-server-time");
    // The packages are installed already: nothing is downloaded.
    let script = node_package_file(&format!("{memory}/dist/index.js"));
    sandbox.script("bin/npx", &format!("[ \"$1 $2\" = '-y {memory}' ] || exit 1\nexec {} {script}", node_program()));
    let python = python_program(time);
    sandbox.script("bin/uvx", &format!("[ \"$1\" = {time} ] || exit 1\nshift\nexec {python} \"$@\""));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mcpipe"), sandbox.work().join("bin/mcpipe")).unwrap();
    let path = format!("{}:/usr/bin:/bin", sandbox.work().join("bin").display());
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap();
    let parts = shell_parts(&text);
    assert_eq!(parts.len(), 8, "{parts:#?}");
    for part in parts {
        let run = sandbox
            .mcpipe(Vec::<String>::new())
            .env("PATH", &path)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", "summary.md");
        let output = run.timeout(Duration::from_secs(120)).command(&["/bin/sh", "-eu", "-c", &part]).output().unwrap();
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{part}\n{}\n{}", shown(&output.stdout), shown(&output.stderr));
    }
    follows_the_junit_schema(&sandbox.work().join("report.xml"));
    for report in ["report.html", "summary.md"] {
        assert!(std::fs::read_to_string(sandbox.work().join(report)).unwrap().contains("mcp/time.toml"), "{report}");
    }
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}
