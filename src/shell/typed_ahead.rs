//! The terminal while no line is read: what is typed then waits, unseen, for the prompt.
//!
//! ```text
//! a statement runs            no echo, no lines, Enter stays \r; Ctrl-C is a signal
//! a prompt                    raw, by the line editor
//! an editor, pager, command   as it was found
//! ```
//!
//! In lines, Enter would wait as \n. The line editor does not stop reading at that: it would run the first line that
//! waits, and drop the others. What was typed in lines, before the shell or for another program that left it, is read
//! while the line editor has not made the terminal raw: then \n is Enter, too.

use std::io::stdin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossterm::event;
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the terminal was found; `None` where nothing was changed.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal keeps what is typed; dropped, it is as it was found.
pub(super) struct Waiting(());

impl Waiting {
    /// Without a terminal, nothing.
    pub(super) fn begin() -> Self {
        *found() = tcgetattr(stdin()).ok();
        again();
        read_lines();
        Self(())
    }

    /// Once more: who stopped this process may have set the terminal.
    pub(super) fn again(&self) {
        again();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let found = found().take();
        set(found);
    }
}

/// The terminal is another program's, as it was found.
pub(super) struct Lent(());

/// Lends it until that is dropped.
pub(super) fn lend() -> Lent {
    let found = found().clone();
    set(found);
    Lent(())
}

impl Drop for Lent {
    fn drop(&mut self) {
        again();
        read_lines();
    }
}

fn again() {
    let waiting = found().clone().map(|mut modes| {
        modes.input_modes.remove(InputModes::ICRNL);
        modes
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        modes
    });
    set(waiting);
}

/// Reads what waits, as keys for the line editor.
fn read_lines() {
    if found().is_some() {
        // What cannot be read now is when a line is.
        let _ = event::poll(Duration::ZERO);
    }
}

fn set(modes: Option<Termios>) {
    if let Some(modes) = modes {
        // A terminal that has gone needs no modes.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
    }
}

fn found() -> MutexGuard<'static, Option<Termios>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}
