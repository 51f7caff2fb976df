//! The fuzzer of `floe_fuzz::tickets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| floe_fuzz::tickets::run(data));
