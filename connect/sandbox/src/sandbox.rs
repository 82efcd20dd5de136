//! The engine that all guests share, and its limits.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use crate::component::compile;
use crate::error::SandboxError;
use crate::instance::Guest;
use crate::log;
use crate::module::Module;
use crate::ticker::Ticker;

/// Stack of a guest's own calls; the thread that calls needs more than this.
const STACK_BYTES: usize = 512 << 10;

/// What every guest may use. Each limit holds for one instance or one call, not for all together.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Memory of one instance, bytes. 64 MiB: room for a few batches, and a thousand instances still fit a large machine.
    pub memory_bytes_max: usize,
    /// Time of one call. 1 s: a batch takes milliseconds, and whoever waits for it should not wait for long.
    pub call_deadline: Duration,
    /// What one call may return, bytes. 16 MiB: several times the largest usual batch.
    pub output_bytes_max: usize,
    /// What the instances of a module may log together, bytes a second. The rest is dropped and counted. 1 KiB: enough to say what
    /// is wrong.
    pub log_bytes_per_s: usize,
}

impl Default for SandboxConfig {
    fn default() -> SandboxConfig {
        SandboxConfig {
            memory_bytes_max: 64 << 20,
            call_deadline: Duration::from_secs(1),
            output_bytes_max: 16 << 20,
            log_bytes_per_s: 1 << 10,
        }
    }
}

/// Loads modules. Clones share one engine and one ticking thread, which ends with the last of them and of their modules.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

/// What modules and instances need of their sandbox.
pub(crate) struct Shared {
    pub(crate) config: SandboxConfig,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) ticker: Ticker,
}

impl Sandbox {
    /// A sandbox with these limits.
    ///
    /// # Errors
    /// [`SandboxError::Engine`] when the machine cannot run it.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let engine = engine().map_err(|error| engine_error(&error))?;
        let mut linker = Linker::new(&engine);
        log::link(&mut linker).map_err(|error| engine_error(&error))?;
        let ticker = Ticker::start(&engine).map_err(|error| SandboxError::Engine {
            reason: error.to_string(),
        })?;
        Ok(Sandbox {
            shared: Arc::new(Shared {
                config,
                engine,
                linker,
                ticker,
            }),
        })
    }

    /// Loads a component, or a core module that describes its component, under `name`. Compiling takes tenths of a second.
    ///
    /// The guest describes its functions in an instance that is thrown away.
    ///
    /// # Errors
    /// Bytes that are no component, imports that no guest gets, exports that are not the contract's, or a guest that fails to
    /// describe itself.
    pub fn load(&self, name: &str, wasm: &[u8]) -> Result<Module, SandboxError> {
        let component = compile(&self.shared.engine, name, wasm)?;
        Module::load(Arc::clone(&self.shared), name, wasm, &component)
    }
}

fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        // An empty call costs a third without it.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // Panics say where they come from; frames of optimised code say little more, and cost on every trap.
        .wasm_backtrace_max_frames(None)
        // Results repeat, bit for bit, on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false);
    Engine::new(&config)
}

fn engine_error(error: &wasmtime::Error) -> SandboxError {
    SandboxError::Engine {
        reason: format!("{error:#}"),
    }
}
