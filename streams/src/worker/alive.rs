//! Knowing when everything that works for a task has let go of its state: a computation outlives the future that waited for it.

use tokio::sync::mpsc;

/// Held by who works. Clones are each one who works.
#[derive(Debug, Clone)]
pub(crate) struct Alive {
    _held: mpsc::Sender<()>,
}

/// Waits for those who work.
#[derive(Debug)]
pub(crate) struct Gone(mpsc::Receiver<()>);

impl Alive {
    /// The first who works, and who waits for all.
    pub(crate) fn new() -> (Self, Gone) {
        let (held, gone) = mpsc::channel(1);
        (Self { _held: held }, Gone(gone))
    }
}

impl Gone {
    /// Returns once nobody works any more.
    pub(crate) async fn wait(mut self) {
        // Nobody ever sends: this ends when the last sender is dropped.
        let _ = self.0.recv().await;
    }
}
