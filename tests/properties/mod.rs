//! What must hold whatever comes in: one function for each kind of input that strangers, or strange files, write.
//!
//! `fuzz/` runs them on what a fuzzer thinks of, and `tests/corpus` on the files there and on random changes of them.
//! A function that returns has found nothing wrong; it panics where a promise is broken.

pub mod account_list;
pub mod cloud_function;
pub mod configuration;
pub mod negotiation;
pub mod scrape_timeout;
mod scratch;
mod sentence;
pub mod state_file;
pub mod token_answer;
pub mod web_configuration;
