//! A guest that attacks its host: one module of both worlds, used by the sandbox's tests.
//!
//! - Scalar functions `evil(attack) -> bigint` and `evil_text(attack) -> text`: the attack is the argument of the first row that
//!   names one; every other row gets its row number, so a well-behaved batch has `none` in every row.
//! - The transform reads `attack`, and `when`: it attacks if a record of the batch contains that text (without it: always), and
//!   forwards the batch otherwise. `attack.open` attacks while it opens.
//!
//! `doom` holds what never returns, `scalar` and `transform` the lies about results.

#[cfg(target_arch = "wasm32")]
mod doom;
#[cfg(target_arch = "wasm32")]
mod scalar;
#[cfg(target_arch = "wasm32")]
mod transform;
