//! Skills (SEP-2640): listed, read and exported, with every file compared to the server's manifest.

use std::path::Path;

use expect_test::expect;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Mcp, Sandbox, real};

const MAIN: &str = "---\nname: pdf\ndescription: Reads PDF files\n---\n\n# PDF\n";
const FORM: &str = "a form\n";

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn file(uri: &str, text: &str) -> Value {
    json!({"uri": uri, "digest": digest(text.as_bytes()), "size": text.len()})
}

/// The skill `pdf`, with these additional files.
fn pdf(more: &[Value]) -> Value {
    let mut files = vec![file("skill://acme/pdf/SKILL.md", MAIN)];
    files.extend_from_slice(more);
    json!({"uri": "skill://acme/pdf/SKILL.md", "frontmatter": {"name": "pdf", "description": "Reads PDF files"},
        "resources": files})
}

fn whole() -> Value {
    pdf(&[file("skill://acme/pdf/forms/one.txt", FORM)])
}

/// A server with these skills, which answers each read with `read`.
fn serving(mcp: Mcp, skills: Vec<Value>, read: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> Mcp {
    let listed = skills.clone();
    mcp.capabilities(
        json!({"resources": {}, "tools": {}, "prompts": {}, "extensions": {"io.modelcontextprotocol/skills": {}}}),
    )
    .on("skills/list", move |call| {
        // One page for each.
        let at: usize = call.params()["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let mut result = json!({"skills": listed[at..listed.len().min(at + 1)], "ttlMs": 0, "cacheScope": "private"});
        if at + 1 < listed.len() {
            result["nextCursor"] = (at + 1).to_string().into();
        }
        call.result(result)
    })
    .on("skills/get", move |call| match skills.iter().find(|skill| skill["uri"] == call.params()["uri"]) {
        Some(skill) => call.result(json!({"skill": skill, "ttlMs": 0, "cacheScope": "private"})),
        None => call.error(-32602, "No such skill"),
    })
    .on("resources/read", move |call| match read(call.params()["uri"].as_str().unwrap()) {
        Some(mut content) => {
            content["uri"] = call.params()["uri"].clone();
            call.result(json!({"contents": [content], "ttlMs": 0, "cacheScope": "private"}))
        }
        None => call.error(-32602, "Resource not found"),
    })
}

fn honest(uri: &str) -> Option<Value> {
    match uri {
        "skill://acme/pdf/SKILL.md" => Some(json!({"text": MAIN})),
        // The bytes are compared, not their encoding.
        "skill://acme/pdf/forms/one.txt" => Some(json!({"blob": "YSBmb3JtCg=="})),
        _ => None,
    }
}

fn files_below(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else {
                all.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    all.sort();
    all
}

#[test]
fn skills_are_listed() {
    let dynamic = json!({"uri": "x://live/SKILL.md", "frontmatter": {"name": "live", "description": "Now"}, "resources": "dynamic"});
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let modern = mcp.modern;
        let server = serving(mcp, vec![whole(), dynamic.clone()], honest).http();
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--skills"]).run();
        run.succeeds();
        expect![[r#"
            pdf	skill://acme/pdf/SKILL.md	2	61	Reads PDF files
            live	x://live/SKILL.md	dynamic	-	Now
        "#]]
        .assert_eq(run.stdout());
        let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--skills", "--json", "--grep", "LIVE"]).run();
        assert_eq!(run.succeeds().json(), json!({"skills": [dynamic]}));
        // Nothing is fetched before it is needed.
        assert!(!server.exchanges().contains(&"POST resources/read".to_owned()));
        let listing = server.requests().into_iter().find(|request| request.rpc_method() == "skills/list").unwrap();
        let capabilities = &listing.json()["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(capabilities["extensions"].is_object(), modern);
    }
}

/// EXT-01: an undeclared extension is not used.
#[test]
fn a_server_without_skills_is_not_asked_for_them() {
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = mcp.http();
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--skills"]).run();
        run.exits(0).prints("").stderr_contains("offers no skills");
        sandbox.mcpipe(["read", &server.url("/mcp"), "skill://x/SKILL.md"]).run().exits(1);
        let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--all", "--json"]).run();
        assert!(run.succeeds().json().get("skills").is_none());
        assert!(!server.exchanges().iter().any(|title| title.contains("skills/")), "{:?}", server.exchanges());
    }
}

/// EXT-01: a server may declare an extension only to a client that declares it, also on first contact.
#[test]
fn the_first_request_declares_that_skills_are_supported() {
    let server = || {
        serving(Mcp::modern(), vec![whole()], honest).on("server/discover", |call| {
            let declared = &call.params()["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
            let capabilities = json!({"resources": {}, "extensions": declared});
            call.result(json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "ttlMs": 0,
                "cacheScope": "private"}))
        })
    };
    let list = |target: &str| Sandbox::new().mcpipe(["list", target, "--skills", "--json"]).run();
    assert_eq!(list(&server().stdio().target()).succeeds().json(), json!({"skills": [whole()]}));
    assert_eq!(list(&server().http().url("/mcp")).succeeds().json(), json!({"skills": [whole()]}));
}

#[test]
fn listing_everything_includes_skills() {
    let server = serving(Mcp::modern(), vec![whole()], honest).http();
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--all", "--json"]).run();
    assert_eq!(run.succeeds().json()["skills"], json!([whole()]));
}

#[test]
fn a_verified_file_is_printed() {
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = serving(mcp, vec![whole()], honest).stdio();
        let sandbox = Sandbox::new();
        sandbox.mcpipe(["read", &server.target(), "skill://acme/pdf/SKILL.md"]).run().succeeds().prints(MAIN);
        let args = ["read", &server.target(), "skill://acme/pdf/forms/one.txt", "--save", "out"];
        sandbox.mcpipe(args).run().succeeds().prints("out/one.txt\n");
        assert_eq!(std::fs::read_to_string(sandbox.work().join("out/one.txt")).unwrap(), FORM);
    }
}

#[test]
fn a_file_that_fails_verification_is_not_used() {
    let reads = |skill: Value, main: &str, uri: &str| {
        let main = main.to_owned();
        let read = move |uri: &str| match uri {
            "skill://acme/pdf/SKILL.md" => Some(json!({"text": main})),
            _ => Some(json!({"text": "anything"})),
        };
        let server = serving(Mcp::modern(), vec![skill], read).http();
        let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), uri]).run();
        run.exits(7).prints("");
        run.stderr().to_owned()
    };
    let main = "skill://acme/pdf/SKILL.md";
    let evil = MAIN.replace("# PDF", "# EVL");
    let said = reads(whole(), &evil, main);
    assert!(
        said.contains("'skill://acme/pdf/SKILL.md' does not match what the server declared\n  its digest is sha256:"),
        "{said}"
    );
    let said = reads(whole(), &format!("{MAIN}more"), main);
    assert!(said.contains("it has 58 bytes instead of 54"), "{said}");
    let mut other = whole();
    other["frontmatter"]["allowed-tools"] = "Bash".into();
    let said = reads(other, MAIN, main);
    assert!(said.contains("its frontmatter: allowed-tools is not in the file"), "{said}");
    let said = reads(whole(), MAIN, "skill://acme/pdf/new.txt");
    assert!(said.contains("it is not among the files of skill://acme/pdf/SKILL.md"), "{said}");
    let mut bare = whole();
    bare.as_object_mut().unwrap().remove("resources");
    let said = reads(bare, MAIN, main);
    assert!(said.contains("the skill 'skill://acme/pdf/SKILL.md' must not be used"), "{said}");
}

#[test]
fn an_unverifiable_file_is_reported() {
    let mut dynamic = whole();
    dynamic["resources"] = "dynamic".into();
    let server = serving(Mcp::modern(), vec![dynamic], honest).http();
    let warning = "mcpipe: warning: cannot verify 'skill://acme/pdf/SKILL.md': the server has no digest for it\n";
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "skill://acme/pdf/SKILL.md"]).run();
    run.exits(0).prints(MAIN);
    assert_eq!(run.stderr(), warning);
    // A server that does not know it as a skill, but has the resource.
    let server = serving(Mcp::modern(), vec![], honest).http();
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "skill://acme/pdf/SKILL.md"]).run();
    run.exits(0).prints(MAIN);
    assert_eq!(run.stderr(), warning);
}

/// A list may be incomplete: a skill is found by its directories.
#[test]
fn a_skill_that_is_not_listed() {
    let server = serving(Mcp::modern(), vec![whole()], |uri| match uri {
        "skill://acme/pdf/forms/one.txt" => Some(json!({"text": "b form\n"})),
        _ => None,
    });
    let server = server.on("skills/list", |call| call.result(json!({"skills": []}))).http();
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "skill://acme/pdf/forms/one.txt"]).run();
    run.exits(7).prints("").stderr_contains("does not match what the server declared");
}

#[test]
fn a_whole_skill_is_exported() {
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = serving(mcp, vec![whole()], honest).http();
        let sandbox = Sandbox::new();
        let export = |more: &[&str]| {
            let args = ["read", &server.url("/mcp"), "skill://acme/pdf/SKILL.md", "--save", "skills"];
            sandbox.mcpipe(args).args(more.iter().copied()).run()
        };
        export(&[]).succeeds().prints("skills/pdf/SKILL.md\nskills/pdf/forms/one.txt\n");
        assert_eq!(files_below(&sandbox.work()), ["skills/pdf/SKILL.md", "skills/pdf/forms/one.txt"]);
        assert_eq!(std::fs::read_to_string(sandbox.work().join("skills/pdf/forms/one.txt")).unwrap(), FORM);
        // Nothing is overwritten.
        export(&[]).exits(2).prints("").stderr_contains("'skills/pdf' already exists");
        std::fs::remove_dir_all(sandbox.work().join("skills")).unwrap();
        let run = export(&["--json"]);
        let files = json!(["skills/pdf/SKILL.md", "skills/pdf/forms/one.txt"]);
        assert_eq!(
            run.succeeds().json(),
            json!({"skill": "skill://acme/pdf/SKILL.md", "directory": "skills/pdf", "files": files})
        );
    }
}

#[test]
fn an_export_is_whole_or_nothing() {
    let export = |skill: Value, main: &'static str| {
        let read = move |uri: &str| match uri {
            "skill://acme/pdf/SKILL.md" => Some(json!({"text": main})),
            _ => Some(json!({"text": "not the form"})),
        };
        let server = serving(Mcp::modern(), vec![skill], read).http();
        let sandbox = Sandbox::new();
        let args = ["read", &server.url("/mcp"), "skill://acme/pdf/SKILL.md", "--save", "skills"];
        let run = sandbox.mcpipe(args).run();
        run.prints("");
        assert!(files_below(&sandbox.work()).is_empty(), "{:?}", files_below(&sandbox.work()));
        let reads = server.exchanges().into_iter().filter(|title| title == "POST resources/read").count();
        (run.code(), reads, run.stderr().to_owned())
    };
    let (code, reads, _) = export(whole(), MAIN);
    assert_eq!((code, reads), (7, 2));
    // If its SKILL.md differs from the manifest, nothing else is requested.
    let (code, reads, _) = export(whole(), "---\nname: pdf\n---\n");
    assert_eq!((code, reads), (7, 1));
    for trick in [
        "skill://acme/pdf/../../evil",
        "skill://acme/pdf/%2e%2e/evil",
        "skill://acme/pdf/a%2f..%2f..%2fevil",
        "skill://acme/pdf//etc/passwd",
        "skill://acme/pdf/a\\..\\evil",
        "skill://acme/pdf/a?b",
        "skill://acme/pdf/con",
        "skill://acme/pdf/x%00",
        "skill://acme/pdf/",
    ] {
        let (code, reads, said) = export(pdf(&[file(trick, "x")]), MAIN);
        assert_eq!(reads, 0, "{trick}");
        assert!(
            (code == 8 && said.contains("has a file that cannot be written")) || code == 7,
            "{trick}: {code} {said}"
        );
    }
    // Two names for the same file.
    let (code, ..) =
        export(pdf(&[file("skill://acme/pdf/a", "not the form"), file("skill://acme/pdf/%61", "not the form")]), MAIN);
    assert_eq!(code, 1);
    let (code, reads, said) =
        export(pdf(&[json!({"uri": "skill://acme/pdf/big", "digest": "sha256:0", "size": 17_000_000})]), MAIN);
    assert_eq!((code, reads), (8, 0));
    assert!(said.contains("16777216 are the limit"), "{said}");
}

/// A folder name from the server never leaves the directory.
#[test]
fn a_skills_name_is_no_path() {
    let skill = json!({"uri": "skill://../SKILL.md", "frontmatter": {"name": ".."}, "resources": [file("skill://../SKILL.md", MAIN)]});
    let server = serving(Mcp::modern(), vec![skill], |_| Some(json!({"text": MAIN}))).http();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["read", &server.url("/mcp"), "skill://../SKILL.md", "--save", "skills"]).run();
    run.exits(8).stderr_contains("'..' is not a valid directory name");
    assert!(files_below(&sandbox.work()).is_empty());
}

#[test]
fn a_watched_skill_is_verified_each_time() {
    let mcp = serving(Mcp::legacy("2025-11-25"), vec![whole()], honest)
        .capabilities(json!({"resources": {"subscribe": true}, "extensions": {"io.modelcontextprotocol/skills": {}}}))
        .on("resources/subscribe", |call| {
            let mut outs = call.result(json!({}));
            outs.push(crate::support::mcp::ServerAction::Pause(std::time::Duration::from_millis(100)));
            let params = json!({"uri": "skill://acme/pdf/SKILL.md"});
            outs.push(crate::support::mcp::ServerAction::Send(
                json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params}),
            ));
            outs
        })
        .on("resources/read", |call| {
            let text = if call.n == 0 { MAIN } else { "changed" };
            call.result(json!({"contents": [{"uri": call.params()["uri"], "text": text}]}))
        });
    let server = mcp.stdio();
    let args = ["read", &server.target(), "skill://acme/pdf/SKILL.md", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !run.stderr_so_far().contains("does not match what the server declared") {
        assert!(std::time::Instant::now() < end, "{}", run.stderr_so_far());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run.signal(rustix::process::Signal::INT);
    run.wait().exits(130).prints(MAIN);
}

#[test]
fn a_real_server_has_skills() {
    let sandbox = Sandbox::new();
    let main =
        "---\nname: pdf\ndescription: Reads PDF files\nlicense: MIT\nmetadata:\n  version: \"1.10\"\n---\n\n# PDF\n";
    sandbox.file("source/pdf/SKILL.md", main);
    sandbox.file("source/pdf/forms/one.txt", FORM);
    sandbox.file("source/pdf/picture.bin", [0, 159, 146, 150]);
    let words = [real::python_program("python"), real::real_test_file("skills.py"), "source".to_owned()];
    let run = |args: &[&str]| sandbox.mcpipe(args.iter().copied()).arg("--").args(words.iter().cloned()).run();
    let listed = run(&["list", "--skills"]);
    listed
        .exits(0)
        .prints(&format!("pdf\tskill://pdf/SKILL.md\t3\t{}\tReads PDF files\n", main.len() + FORM.len() + 4));
    run(&["read", "skill://pdf/SKILL.md"]).exits(0).prints(main);
    run(&["read", "skill://pdf/SKILL.md", "--save", "out"]).exits(0);
    assert_eq!(files_below(&sandbox.work().join("out")), files_below(&sandbox.work().join("source")));
    for name in ["SKILL.md", "forms/one.txt", "picture.bin"] {
        let read = |dir: &str| std::fs::read(sandbox.work().join(dir).join("pdf").join(name)).unwrap();
        assert_eq!(read("out"), read("source"), "{name}");
    }
}

#[test]
fn a_skill_among_others_is_one_document() {
    let server = serving(Mcp::modern(), vec![whole()], |uri| match uri {
        "demo://plain" => Some(json!({"text": "plain"})),
        _ => honest(uri),
    })
    .http();
    let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
    let read = |uris: &[&str]| {
        let words = [&["read", url.as_str()], uris, &["--save", "out", "--json"]].concat();
        sandbox.mcpipe(words).run()
    };
    let skill = json!({"skill": "skill://acme/pdf/SKILL.md", "directory": "out/pdf",
        "files": ["out/pdf/SKILL.md", "out/pdf/forms/one.txt"]});
    let run = read(&["demo://plain", "skill://acme/pdf/SKILL.md", "demo://missing"]);
    let document = run.exits(1).json();
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.len(), 3, "{document}");
    assert_eq!(
        (&results[0]["uri"], &results[0]["result"]["contents"][0]["text"]),
        (&json!("demo://plain"), &json!("plain"))
    );
    assert_eq!(results[1], json!({"uri": "skill://acme/pdf/SKILL.md", "export": skill}));
    assert_eq!((&results[2]["uri"], &results[2]["error"]["code"]), (&json!("demo://missing"), &json!(1)));
    // A failed skill does not affect the others: its folder already exists.
    let run = read(&["skill://acme/pdf/SKILL.md", "demo://plain"]);
    let document = run.exits(2).json();
    assert_eq!(document["results"][0]["error"]["class"], "usage", "{document}");
    assert_eq!(document["results"][1]["result"]["contents"][0]["text"], "plain");
    // Alone it is printed as a document of its own.
    std::fs::remove_dir_all(sandbox.work().join("out")).unwrap();
    assert_eq!(read(&["skill://acme/pdf/SKILL.md"]).exits(0).json(), skill);
}
