//! Asking a job to end.
//!
//! ```text
//! Nothing ──▶ AfterCommit ──▶ AtOnce        it only rises
//! ```
//!
//! A job that is asked to end after a commit does so between two turns. One that is asked to end at once leaves wherever it
//! awaits, and between two chunks where it computes; what it has not committed is read again by whoever goes on.

use tokio::sync::watch;

use crate::operator::Cancel;

/// What a job is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Nothing,
    AfterCommit,
    AtOnce,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: watch::Sender<Asked>,
    cancel: Cancel,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            asked: watch::Sender::new(Asked::Nothing),
            cancel: Cancel::default(),
        }
    }
}

impl Stop {
    /// Asks for an end after a last commit.
    pub(crate) fn after_commit(&self) {
        self.raise(Asked::AfterCommit);
    }

    /// Asks for an end at once.
    pub(crate) fn at_once(&self) {
        self.cancel.cancel();
        self.raise(Asked::AtOnce);
    }

    fn raise(&self, to: Asked) {
        self.asked.send_if_modified(|asked| {
            let rises = *asked < to;
            *asked = (*asked).max(to);
            rises
        });
    }

    /// What operators look at between chunks.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Whether the job is to end.
    pub(crate) fn is_asked(&self) -> bool {
        *self.asked.borrow() > Asked::Nothing
    }

    /// Returns when the job is to end, be it after a commit.
    pub(crate) async fn asked(&self) {
        self.reached(Asked::AfterCommit).await;
    }

    /// Returns when the job is to end at once.
    pub(crate) async fn asked_at_once(&self) {
        self.reached(Asked::AtOnce).await;
    }

    async fn reached(&self, what: Asked) {
        let mut asked = self.asked.subscribe();
        // The sender is `self`, so it is there.
        let _ = asked.wait_for(|asked| *asked >= what).await;
    }
}
