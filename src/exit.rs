//! How a command ends: one line on standard error and a stable code.
//!
//! 0 ok · 1 user error · 2 usage (clap) · 3 server · 4 not found · 130 Ctrl-C before the end

use std::process::ExitCode;

use crate::screen;

/// An error with an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server's fault, or no server (code 3).
    #[error("{0}")]
    Server(String),
    /// The thing asked for does not exist (code 4).
    #[error("{0}")]
    NotFound(String),
    /// The message is on the screen already (code 1).
    #[error("")]
    Reported,
    /// Ctrl-C, and something was left to do (code 130, as shells have it).
    #[error("interrupted")]
    Interrupted,
}

/// Prints the error, with its causes in one line, and maps it to a code.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    // Who reads our output may have seen enough (`| head`).
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed) {
        return ExitCode::SUCCESS;
    }
    let failure = error.downcast_ref::<Failure>();
    if !matches!(failure, Some(Failure::Reported)) {
        screen::message(format!("thalweg: {error:#}"));
    }
    ExitCode::from(match failure {
        Some(Failure::Server(_)) => 3,
        Some(Failure::NotFound(_)) => 4,
        Some(Failure::Interrupted) => 130,
        Some(Failure::Reported) | None => 1,
    })
}
