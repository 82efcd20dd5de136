//! From bytes to a compiled component: wraps core modules, refuses what is no guest, and checks what it imports.
//!
//! ```text
//! 00 61 73 6d 01 00 00 00   core module: wrapped as its section `component-type:…` describes
//! 00 61 73 6d 0d 00 01 00   component
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wit_component::ComponentEncoder;

use crate::error::SandboxError;
use crate::log::HOST_LOG;

/// Largest module. Rust guests have about 100 KiB, interpreters of other languages 2 to 20 MiB.
const MODULE_BYTES_MAX: usize = 32 << 20;

const CORE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Compiles `wasm` and checks that it imports nothing but the log.
pub(crate) fn compile(engine: &Engine, name: &str, wasm: &[u8]) -> Result<Component, SandboxError> {
    let format = |reason: String| SandboxError::Format {
        module: name.to_owned(),
        reason,
    };
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(SandboxError::Size {
            module: name.to_owned(),
            bytes: wasm.len(),
            limit: MODULE_BYTES_MAX,
        });
    }
    let compiled = if wasm.starts_with(CORE) {
        let component = wrap(wasm).map_err(format)?;
        Component::from_binary(engine, &component)
    } else if wasm.starts_with(COMPONENT) {
        Component::from_binary(engine, wasm)
    } else {
        return Err(format("it does not begin as WASM does".to_owned()));
    };
    let component = compiled.map_err(|error| format(format!("{error:#}")))?;
    check_imports(engine, name, &component)?;
    Ok(component)
}

/// Wraps a core module as its embedded description says.
fn wrap(wasm: &[u8]) -> Result<Vec<u8>, String> {
    // The encoder is made for the output of compilers. Should foreign bytes make it panic, they are as wrong as if it had said so.
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        ComponentEncoder::default()
            .validate(true)
            .module(wasm)?
            .encode()
    }));
    match encoded {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("its description cannot be read".to_owned()),
    }
}

/// Interfaces of types alone may be imported: there is nothing in them to call.
fn check_imports(engine: &Engine, name: &str, component: &Component) -> Result<(), SandboxError> {
    for (import, item) in component.component_type().imports(engine) {
        let allowed = import == HOST_LOG
            || match item.ty {
                ComponentItem::ComponentInstance(instance) => instance
                    .exports(engine)
                    .all(|(_, item)| matches!(item.ty, ComponentItem::Type(_))),
                ComponentItem::Type(_) => true,
                _ => false,
            };
        if !allowed {
            return Err(SandboxError::Import {
                module: name.to_owned(),
                import: import.to_owned(),
                allowed: HOST_LOG,
            });
        }
    }
    Ok(())
}
