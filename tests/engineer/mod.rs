//! What a WASM engineer meets: a project of their own, transforms and functions, and guests that attack.

mod guests;
mod project;
