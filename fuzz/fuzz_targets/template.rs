#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mcpipe_fuzz::template(data));
