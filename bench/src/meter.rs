//! What a piece of work in this process costs.

use std::time::Instant;

use anyhow::Result;

use crate::machine;

/// What one turn cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds of all threads.
    pub(crate) cpu: f64,
    /// Seconds.
    pub(crate) wall: f64,
}

/// Measures this process from now on.
pub(crate) struct Meter {
    cpu: f64,
    started: Instant,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// The kernel does not say what this process has used.
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            cpu: machine::cpu_seconds(std::process::id())?,
            started: Instant::now(),
        })
    }

    /// What was used since.
    ///
    /// # Errors
    /// As [`Meter::start`].
    pub(crate) fn stop(self) -> Result<Cost> {
        let wall = self.started.elapsed().as_secs_f64();
        Ok(Cost {
            cpu: machine::cpu_seconds(std::process::id())? - self.cpu,
            wall,
        })
    }
}
