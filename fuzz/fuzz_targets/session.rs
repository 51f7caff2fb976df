//! The fuzzer of `floe_fuzz::session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| floe_fuzz::session::run(data));
