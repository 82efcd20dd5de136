//! What a WASM engineer meets: transforms and functions, and guests that attack.

mod guests;
