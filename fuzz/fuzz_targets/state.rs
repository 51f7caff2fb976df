//! The fuzzer of `floe_fuzz::state`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| floe_fuzz::state::run(data));
