//! Bundles (`.mcpb`): servers in a zip archive, unpacked and started after they were reviewed.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use expect_test::expect;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use serde_json::{Value, json};

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox, StdioServer};

/// Writes an archive with these files, each with its mode.
pub fn archive(sandbox: &Sandbox, name: &str, files: &[(&str, u32, String)]) -> PathBuf {
    let mut packed = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut packed);
    for (path, mode, content) in files {
        let path = rawzip::path::EntryPath::verbatim(path.as_bytes());
        let entry = zip.new_file(path).compression_method(CompressionMethod::DEFLATE).unix_permissions(*mode);
        let (mut entry, config) = entry.start().unwrap();
        let mut writer = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast()));
        writer.write_all(content.as_bytes()).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    zip.finish().unwrap();
    sandbox.file(name, packed)
}

fn manifest() -> Value {
    json!({"manifest_version": "0.3", "name": "demo", "version": "1.0.0", "server": {
        "type": "binary", "entry_point": "server/run", "mcp_config": {
            "command": "${__dirname}/server/run", "args": ["--level", "${user_config.level}", "${user_config.dirs}"],
            "env": {"API_KEY": "${user_config.api_key}", "REGION": "${user_config.region}"}}},
        "user_config": {
            "api_key": {"type": "string", "title": "API Key", "description": "From the \u{1b}[31msettings", "sensitive": true,
                "required": true},
            "dirs": {"type": "directory", "title": "Directories", "multiple": true},
            "level": {"type": "number", "title": "Level", "default": 3},
            "region": {"type": "string", "title": "Region"}}})
}

/// A bundle with a program that starts this server.
fn bundle(sandbox: &Sandbox, server: &StdioServer, manifest: &Value) {
    let program = format!("#!/bin/sh\nexec {} \"$@\"\n", server.words().join(" "));
    archive(sandbox, "demo.mcpb", &[("manifest.json", 0o644, manifest.to_string()), ("server/run", 0o755, program)]);
}

fn unpacked(sandbox: &Sandbox) -> Vec<PathBuf> {
    let bundles = std::fs::read_dir(sandbox.path().join("home/.cache/mcpipe/bundles"));
    bundles.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_bundle_is_unpacked_and_started_only_after_it_is_trusted() {
    let (sandbox, server) = (Sandbox::new(), Mcp::modern().stdio());
    bundle(&sandbox, &server, &manifest());
    let call = || sandbox.mcpipe(["call", "./demo.mcpb", "echo", "text=hi", "-e", "api_key=s3cret-key"]);
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: [ROOT]/work/demo.mcpb is not trusted
          using a bundle runs the programs in it
        hint: review and trust it: mcpipe config trust [ROOT]/work/demo.mcpb
    "#]]
    .assert_eq(&call().run().snapshot());
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: [ROOT]/work/demo.mcpb is not trusted
          cannot prompt: not a terminal
        hint: review the file, then run: mcpipe config trust --yes [ROOT]/work/demo.mcpb
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "trust", "./demo.mcpb"]).run().snapshot());
    assert!(unpacked(&sandbox).is_empty());
    let trusted = sandbox.mcpipe(["config", "trust", "--yes", "--json", "demo.mcpb"]).run();
    let hash = trusted.exits(0).json()["files"][0]["sha256"].as_str().unwrap().to_owned();
    assert!(unpacked(&sandbox).is_empty());
    call().run().exits(0).prints("hi\n");
    let directory = unpacked(&sandbox).pop().unwrap();
    assert_eq!(directory.file_name().unwrap().to_str(), Some(hash.as_str()));
    let process = server.single_process();
    assert_eq!((process.args.join(" ").as_str(), process.cwd.as_path()), ("--level 3", directory.as_path()));
    assert_eq!(process.env.get("API_KEY").map(String::as_str), Some("s3cret-key"));
    assert!(!process.env.contains_key("REGION") && !process.env.contains_key("api_key"));
    let mode = std::fs::metadata(directory.join("server/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    // Values of the user; the files are not unpacked again.
    let inode = std::fs::metadata(&directory).unwrap().ino();
    let given = ["-e", "level=4", "-e", r#"dirs=["a", "/b"]"#, "-e", "region=eu", "-e", "OTHER=x"];
    call().args(given).run().exits(0).prints("hi\n");
    let process = server.wait_until_all_ended().pop().unwrap();
    assert_eq!(process.args, ["--level", "4", sandbox.work().join("a").to_str().unwrap(), "/b"]);
    assert_eq!(["REGION", "OTHER"].map(|name| process.env[name].as_str()), ["eu", "x"]);
    assert_eq!((unpacked(&sandbox), std::fs::metadata(&directory).unwrap().ino()), (vec![directory], inode));
}

#[test]
fn a_changed_bundle_is_another_one_and_needs_to_be_trusted_again() {
    let (sandbox, server) = (Sandbox::new(), Mcp::modern().stdio());
    bundle(&sandbox, &server, &manifest());
    sandbox.mcpipe(["config", "trust", "--yes", "demo.mcpb"]).run().exits(0);
    let list = || sandbox.mcpipe(["list", "./demo.mcpb", "-e", "api_key=k"]);
    // Commands that run at the same time unpack it once, and leave nothing else.
    let running: Vec<_> = (0..4).map(|_| list().start()).collect();
    for run in running {
        run.wait().exits(0);
    }
    assert_eq!(unpacked(&sandbox).len(), 1);
    let mut changed = manifest();
    changed["version"] = json!("1.0.1");
    bundle(&sandbox, &server, &changed);
    list().run().exits(3).stderr_contains("demo.mcpb has changed since it was trusted");
    assert_eq!(unpacked(&sandbox).len(), 1);
    sandbox.mcpipe(["config", "trust", "--yes", "demo.mcpb"]).run().exits(0);
    list().run().exits(0);
    assert_eq!(unpacked(&sandbox).len(), 2);
    sandbox.mcpipe(["config", "trust", "--revoke", "demo.mcpb"]).run().exits(0);
    list().run().exits(3);
}

#[test]
fn a_person_sees_what_a_bundle_runs_before_it_is_trusted() {
    let (sandbox, server) = (Sandbox::new(), Mcp::modern().stdio());
    let mut manifest = manifest();
    manifest["user_config"]["api_key"]["title"] = json!("API\u{1b}[2K");
    bundle(&sandbox, &server, &manifest);
    let mut terminal = sandbox.mcpipe(["config", "trust", "demo.mcpb"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("continue? [y/N] ").type_keys("n\r");
    let seen = terminal.wait();
    seen.exits(8);
    let shown = seen.final_screen();
    let shown: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    expect![[r#"
          demo 1.0.0
            runs  ${__dirname}/server/run --level ${user_config.level} ${user_config.dirs}
            env.API_KEY = "${user_config.api_key}"
            env.REGION = "${user_config.region}"
            user_config.api_key: API\u{1b}[2K (required)
            user_config.dirs: Directories (optional)
            user_config.level: Level (optional)
            user_config.region: Region (optional)"#]]
    .assert_eq(&shown.join("\n"));
    assert!(unpacked(&sandbox).is_empty());
}

#[test]
fn a_missing_value_is_named_and_an_entry_keeps_the_values() {
    let (sandbox, server) = (Sandbox::new(), Mcp::modern().stdio());
    bundle(&sandbox, &server, &manifest());
    sandbox.mcpipe(["config", "trust", "--yes", "demo.mcpb"]).run().exits(0);
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: [ROOT]/work/demo.mcpb needs a value for 'api_key'
          api_key: API Key: From the \u{1b}[31msettings
        hint: add: -e api_key=VALUE
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "./demo.mcpb"]).run().snapshot());
    sandbox.mcpipe(["config", "add", "demo", "./demo.mcpb", "-e", "api_key=${KEY}"]).run().exits(0);
    // Nothing is unpacked to show or check the configuration.
    sandbox.mcpipe(["config", "check"]).env("KEY", "from-the-entry").run().exits(0);
    sandbox.mcpipe(["config", "list"]).env("KEY", "from-the-entry").run().exits(0);
    assert!(unpacked(&sandbox).is_empty());
    let call = sandbox.mcpipe(["call", "demo", "echo", "text=hi"]).cwd(sandbox.path());
    call.env("KEY", "from-the-entry").run().exits(0).prints("hi\n");
    assert_eq!(server.single_process().env["API_KEY"], "from-the-entry");
}

#[test]
fn an_archive_that_is_damaged_or_leaves_its_directory_is_refused() {
    let sandbox = Sandbox::new();
    let text = json!({"name": "x", "server": {"mcp_config": {"command": "true"}}}).to_string();
    let refuse = |file: &str| {
        let trusted = sandbox.mcpipe(["config", "trust", "--yes", file]).run();
        let used = sandbox.mcpipe(["list", &format!("./{file}")]).run();
        used.exits(3);
        assert!(unpacked(&sandbox).is_empty(), "{:?}", unpacked(&sandbox));
        let failed = if trusted.code() == 0 { used } else { trusted };
        failed.stderr().lines().nth(1).unwrap().trim().to_owned()
    };
    sandbox.file("text.mcpb", "no zip");
    assert!(refuse("text.mcpb").starts_with("not a zip archive: "));
    archive(&sandbox, "empty.mcpb", &[("readme", 0o644, String::new())]);
    assert_eq!(refuse("empty.mcpb"), "there is no manifest.json in it");
    archive(&sandbox, "out.mcpb", &[("manifest.json", 0o644, text.clone()), ("../../out", 0o644, "x".to_owned())]);
    assert_eq!(refuse("out.mcpb"), "it has a file outside of it: ../../out");
    archive(&sandbox, "link.mcpb", &[("manifest.json", 0o644, text.clone()), ("link", 0o120_777, "/etc".to_owned())]);
    assert_eq!(refuse("link.mcpb"), "link is a link or a special file");
    let twice = [("manifest.json", 0o644, text.clone()), ("a", 0o644, "1".to_owned()), ("a", 0o644, "2".to_owned())];
    archive(&sandbox, "twice.mcpb", &twice);
    assert!(refuse("twice.mcpb").starts_with("cannot write a: "));
    let other = json!({"name": "x", "server": {"mcp_config": {"command": "true"}},
        "compatibility": {"platforms": ["beos"]}});
    archive(&sandbox, "other.mcpb", &[("manifest.json", 0o644, other.to_string())]);
    assert_eq!(refuse("other.mcpb"), "it supports: beos");
    let missing = sandbox.mcpipe(["list", "./missing.mcpb"]).run();
    missing.exits(3).stderr_contains("cannot read the bundle");
}
