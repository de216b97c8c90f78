//! References to secrets in `config`.

use super::*;

#[test]
fn secrets_are_stored_listed_and_removed_and_never_shown() {
    let referring = "[servers.a]\nurl = \"https://a/\"\nheaders = { X-Key = \"${keychain:CRM_KEY}\" }\n";
    let world = ConfigCommandFixture {
        value: "hunter2hunter2\n".into(),
        ..ConfigCommandFixture::new().with_user_config(referring)
    };
    assert_eq!(world.run(&["secret", "list"]).json["secrets"], json!([]));
    let said = world.run(&["secret", "set", "CRM_KEY"]);
    let place = world.path(".local/share/mcpipe/credentials.json").display().to_string();
    assert_eq!(said.json, json!({"name": "CRM_KEY", "stored_in": place, "replaced": false}));
    assert_eq!(said.notes, format!("stored 'CRM_KEY' in {place}"));
    let said = world.run(&["secret", "set", "OTHER"]);
    assert!(said.notes.ends_with("; refer to it as ${keychain:OTHER}"), "{}", said.notes);
    assert_eq!(world.run(&["secret", "set", "OTHER"]).json["replaced"], true);
    world.assert_fails(&["secret", "set", "other"], ErrorKind::Usage, "a secret 'OTHER' already exists");
    world.assert_fails(&["secret", "set", "a b"], ErrorKind::Usage, "is not a valid secret name");
    let said = world.run(&["secret", "list"]);
    assert_eq!(said.out, format!("CRM_KEY\ta\t{place}\nOTHER\t\t{place}\n"));
    assert_eq!(said.json["secrets"][0], json!({"name": "CRM_KEY", "stored_in": place, "used_by": ["a"]}));
    assert!(!format!("{}{}{}", said.out, said.json, said.notes).contains("hunter2"));
    let said = world.run(&["secret", "remove", "CRM_KEY"]);
    assert_eq!(said.notes, format!("removed 'CRM_KEY' from {place}\nstill used by a"));
    world.assert_fails(&["secret", "remove", "OTHR"], ErrorKind::Config, "did you mean OTHER?");
    let world = ConfigCommandFixture { value: "\n".into(), ..world };
    world.assert_fails(&["secret", "set", "EMPTY"], ErrorKind::Usage, "is empty; nothing was stored");
}

#[cfg(unix)]
#[test]
fn check_and_get_see_what_secrets_are_missing_and_show_references() {
    let text = "[servers.a]\nurl = \"https://a/\"\n[servers.a.headers]\nA = \"${keychain:HERE}\"\nB = \"${keychain:HERO}\"\n\
        C = \"Bearer ${command:no-such-program --x}\"\nD = \"${command:sh -c 'exit 1'}\"\n";
    let world = ConfigCommandFixture { value: "hunter2".into(), ..ConfigCommandFixture::new().with_user_config(text) }
        .with_variable("PATH", "/usr/bin:/bin");
    world.run(&["secret", "set", "HERE"]);
    let said = world.run(&["check"]);
    let place = world.path(".local/share/mcpipe/credentials.json").display().to_string();
    assert_eq!(
        said.out,
        format!(
            "error\t~/.config/mcpipe/config.toml:5\tthere is no secret 'HERO' in {place}; 'headers.B' in [servers.a] \
             refers to it: did you mean HERE?\tstore it: mcpipe config secret set HERO\n\
             error\t~/.config/mcpipe/config.toml:6\tprogram 'no-such-program' not found in PATH; 'headers.C' in \
             [servers.a] refers to it\tinstall no-such-program, or give its full path\n"
        )
    );
    assert!(said.failure.is_some());
    let said = world.run(&["get", "a"]);
    assert!(said.out.contains("headers.A\t${keychain:HERE}\t") && !said.out.contains("hunter2"), "{}", said.out);
    assert!(said.out.contains("headers.D\t${command:sh -c 'exit 1'}\t"), "{}", said.out);
    assert!(said.notes.contains("there is no secret 'HERO'"), "{}", said.notes);
    let world = world.with_file(".local/share/mcpipe/credentials.json", "rubbish");
    let said = world.run(&["check"]);
    assert!(said.out.contains("cannot look up the secret 'HERE'"), "{}", said.out);
    let world = world.with_user_config("[servers.a]\nurl = \"https://a/\"\n");
    let said = world.run(&["check"]);
    assert!(said.out.starts_with("error\tcredentials\t") && said.failure.is_some(), "{}", said.out);
}

#[test]
fn words_that_rule_something_are_no_secrets() {
    for (text, part) in [
        ("[servers.a]\nurl = 'https://a/'\ntimeout = '${command:x}'\n", "'timeout' in [servers.a] cannot be a secret"),
        ("[defaults]\nconfirm = '${keychain:x}'\n", "'confirm' in [defaults] cannot be a secret"),
    ] {
        let said = ConfigCommandFixture::new().with_user_config(text).run(&["check"]);
        assert!(said.out.contains(part), "{}", said.out);
    }
}

#[test]
fn import_moves_secrets_into_the_store() {
    let world = ConfigCommandFixture { value: "another".into(), ..ConfigCommandFixture::new() }
        .with_file(".cursor/mcp.json", CURSOR);
    // A secret with that name and another value is already stored.
    world.run(&["secret", "set", "API_KEY"]);
    let said = world.run(&["import", "cursor", "--only", "docs", "--secrets", "keychain"]);
    assert!(said.out.contains("secret: env.API_KEY becomes ${keychain:API_KEY_2}"), "{}", said.out);
    assert_eq!(world.run(&["secret", "list"]).json["secrets"].as_array().unwrap().len(), 1, "nothing was agreed to");
    let said = world.run(&["import", "cursor", "--only", "docs", "--secrets", "keychain", "--yes"]);
    assert_eq!(
        said.json["servers"][0]["secrets"],
        json!([
            {"key": "env.API_KEY", "name": "API_KEY_2", "reference": "${keychain:API_KEY_2}"},
            {"key": "args[3]", "name": "DOCS_TOKEN", "reference": "${keychain:DOCS_TOKEN}"},
        ])
    );
    let file = world.read(".config/mcpipe/config.toml");
    assert!(
        file.contains("API_KEY = \"${keychain:API_KEY_2}\"") && file.contains("\"${keychain:DOCS_TOKEN}\""),
        "{file}"
    );
    let stored = world.read(".local/share/mcpipe/credentials.json");
    assert!(stored.contains("\"s3cret\"") && stored.contains("\"t0k\"") && stored.contains("\"another\""), "{stored}");
    assert!(!format!("{}{}{}", said.out, said.json, said.notes).contains("s3cret"));
    assert_eq!(world.run(&["check", "docs"]).json["findings"].as_array().map(Vec::len), Some(1), "npx is not in PATH");
}

#[test]
fn add_checks_first_and_says_what_is_missing() {
    let world = ConfigCommandFixture::new();
    world.assert_fails(&["add", "x", "https://x/mcp", "--check"], ErrorKind::Unreachable, "x is not there");
    assert!(!world.path(".config/mcpipe/config.toml").exists());
    let said = world.run(&["add", "x", "https://x/mcp", "-H", "X-Key: ${keychain:K}"]);
    assert!(
        said.notes.contains("there is no secret 'K' in") && !said.notes.contains("as plain text"),
        "{}",
        said.notes
    );
}

#[test]
fn a_failed_import_leaves_no_secrets_behind() {
    const THREE: &str = r#"{"mcpServers": {
        "a": {"url": "https://a/", "headers": {"X-Api-Key": "k3y-of-a-0001"}},
        "b": {"url": "https://b/", "headers": {"X-Api-Key": "k3y-of-b-0002"}},
        "c": {"url": "https://c/", "headers": {"X-Api-Key": "k3y-of-c-0003"}}}}"#;
    let import = ["import", "../.cursor/mcp.json", "--yes", "--secrets", "keychain"];
    let names = |world: &ConfigCommandFixture| {
        let listed = world.run(&["secret", "list"]).json["secrets"].clone();
        listed.as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The store fails at the last secret. The one that was stored before the import stays.
    let world = ConfigCommandFixture { value: "k3y-of-a-0001".into(), ..ConfigCommandFixture::new() }
        .with_file(".cursor/mcp.json", THREE);
    world.run(&["secret", "set", "A_X_API_KEY"]);
    let fail: Arc<BeforePut> =
        Arc::new(|puts| if puts == 1 { Err(Failure::new(ErrorKind::Config, "the store is full")) } else { Ok(()) });
    let world = ConfigCommandFixture { before_put: Some(fail), ..world };
    world.assert_fails(&import, ErrorKind::Config, "the store is full");
    assert_eq!(names(&world), ["A_X_API_KEY"]);
    assert!(!world.path(".config/mcpipe/config.toml").exists());
    // The file cannot be written after the secrets were stored.
    let file = world.path(".config/mcpipe/config.toml");
    let block: Arc<BeforePut> = Arc::new({
        let file = file.clone();
        move |_| {
            fs::create_dir_all(file.join("in the way")).unwrap();
            Ok(())
        }
    });
    let world = ConfigCommandFixture { before_put: Some(block), ..world };
    world.assert_fails(&import, ErrorKind::Config, "cannot write");
    fs::remove_dir_all(&file).unwrap();
    assert_eq!(names(&world), ["A_X_API_KEY"]);
    let world = ConfigCommandFixture { before_put: None, ..world };
    assert!(world.run(&import).notes.contains("wrote 3 servers"));
    assert_eq!(names(&world), ["A_X_API_KEY", "B_X_API_KEY", "C_X_API_KEY"]);
}
