//! The targets without a fuzzer: their corpora again, and a short run of changed inputs.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod corpus; // every kept input, again
mod mutations; // inputs near them
