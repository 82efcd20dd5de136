//! Messages to the host's log, the one thing that a guest may do besides computing.
//!
//! The host cuts a message to 1 KiB and a flood to a rate. Natively messages go to standard error.

use std::sync::Once;

use crate::bindings::functions::thalweg::plugin::host_log::Level;

/// For whoever debugs the guest.
pub fn debug(message: &str) {
    send(Level::Debug, message);
}

/// Something happened as it should.
pub fn info(message: &str) {
    send(Level::Info, message);
}

/// Something is odd, and the guest went on.
pub fn warn(message: &str) {
    send(Level::Warn, message);
}

/// Something failed.
pub fn error(message: &str) {
    send(Level::Error, message);
}

/// Sends a panic's message and place to the host before the trap, which itself says neither. Called by every export.
pub(crate) fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    if cfg!(target_arch = "wasm32") {
        INSTALLED.call_once(|| {
            std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
        });
    }
}

#[cfg(target_arch = "wasm32")]
fn send(level: Level, message: &str) {
    crate::bindings::functions::thalweg::plugin::host_log::log(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn send(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
