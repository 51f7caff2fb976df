//! The fuzzer of `floe_fuzz::raw`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| floe_fuzz::raw::run(data));
