//! Runs each fuzz target on every file of its corpus, which contains inputs that once failed.

mod targets;

use std::path::Path;

fn run_corpus(name: &str) {
    let run = targets::TARGETS.iter().find(|target| target.0 == name).expect("a target of this name").1;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "the corpus of {name} is too small");
    for file in files {
        println!("{}", file.display());
        run(&std::fs::read(&file).unwrap());
    }
}

/// One test per target. `every_target_has_a_test` fails if one is missing.
macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run_corpus(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let mut tested = vec![$(stringify!($name)),*];
            tested.sort_unstable();
            let all: Vec<&str> = targets::TARGETS.iter().map(|target| target.0).collect();
            assert_eq!(tested, all);
        }
    };
}

corpora! {
    arguments challenge config_file import rpc_message schema sse target_word template tool_use
}
