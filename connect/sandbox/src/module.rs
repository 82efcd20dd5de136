//! A loaded module: its compiled component, the functions it describes, and what it exports.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::Field;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre};

use crate::error::{CallError, SandboxError};
use crate::instance::{Export, Guest, Instance, function};
use crate::log::{GuestLog, GuestMessage};
use crate::sandbox::Shared;
use crate::scalar::{ScalarArguments, ScalarFunction, ScalarReturn};
use crate::transform::{
    CloseArguments, OpenArguments, OpenReturn, ProcessArguments, ProcessReturn, Transform,
};
use crate::{schema, wire};

const META: &str = "thalweg:plugin/meta@0.1.0";
const SCALAR: &str = "thalweg:plugin/scalar@0.1.0";
const TRANSFORM: &str = "thalweg:plugin/transform@0.1.0";

/// Most functions of a module.
const FUNCTIONS_MAX: usize = 256;
/// Longest name of a function, bytes.
const NAME_BYTES_MAX: usize = 64;

/// How often a function must be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Volatility {
    /// Same arguments, same result, for ever: may be folded and cached.
    Immutable,
    /// Same arguments, same result within one query.
    Stable,
    /// Never folded, never evaluated again on replay.
    Volatile,
}

/// What a module says of one of its functions.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionSignature {
    /// The name: `[a-z_][a-z0-9_]*`, at most 64 bytes, unique in its module.
    pub name: String,
    /// Name, type and nullability of each argument. Types are flat: boolean, numbers, dates, timestamps, `Utf8`, `Binary`.
    pub args: Vec<Field>,
    /// The result, always nullable in effect: a row that fails has none.
    pub returns: Field,
    /// How often it must be asked.
    pub volatility: Volatility,
    /// A null argument gives null and the guest is not asked.
    pub strict: bool,
    /// Several instances may run at once. Otherwise calls wait for each other.
    pub parallel_safe: bool,
}

/// A loaded module. Clones share the compiled code.
#[derive(Clone)]
pub struct Module {
    loaded: Arc<Loaded>,
}

/// What functions and transforms need of their module.
pub(crate) struct Loaded {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: Arc<str>,
    hash: String,
    pre: InstancePre<Guest>,
    log: Arc<GuestLog>,
    functions: Vec<FunctionSignature>,
    pub(crate) invoke: Option<Export>,
    pub(crate) transform: Option<TransformExports>,
}

/// Where a transform's functions are.
#[derive(Clone, Copy)]
pub(crate) struct TransformExports {
    pub(crate) open: Export,
    pub(crate) process: Export,
    pub(crate) close: Export,
}

impl Module {
    pub(crate) fn load(
        shared: Arc<Shared>,
        name: &str,
        wasm: &[u8],
        component: &Component,
    ) -> Result<Module, SandboxError> {
        let contract = |reason: String| SandboxError::Contract {
            module: name.to_owned(),
            reason,
        };
        let find = |interface: &str, function: &str| {
            let interface = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&interface), function)
        };
        let describe = find(META, "describe");
        let invoke = find(SCALAR, "invoke");
        let transform = match (
            find(TRANSFORM, "open"),
            find(TRANSFORM, "process"),
            find(TRANSFORM, "close"),
        ) {
            (Some(open), Some(process), Some(close)) => Some(TransformExports {
                open,
                process,
                close,
            }),
            _ => None,
        };
        if (describe.is_none() || invoke.is_none()) && transform.is_none() {
            let exports: Vec<String> = component
                .component_type()
                .exports(&shared.engine)
                .map(|(name, _)| name.to_owned())
                .collect();
            let found = if exports.is_empty() {
                "it exports nothing".to_owned()
            } else {
                exports.join(", ")
            };
            return Err(SandboxError::World {
                module: name.to_owned(),
                found,
            });
        }

        let pre = shared
            .linker
            .instantiate_pre(component)
            .map_err(|error| contract(format!("{error:#}")))?;
        let module_name: Arc<str> = name.into();
        let log = Arc::new(GuestLog::new(
            Arc::clone(&module_name),
            shared.config.log_bytes_per_s,
        ));
        let mut loaded = Loaded {
            shared,
            name: module_name,
            hash: format!("{:x}", Sha256::digest(wasm)),
            pre,
            log,
            functions: Vec::new(),
            invoke,
            transform,
        };
        loaded
            .check_types()
            .map_err(|failure| failure.into_error(name))?;
        if let (Some(describe), Some(_)) = (describe, invoke) {
            loaded.functions = loaded
                .describe(describe)
                .map_err(|failure| failure.into_error(name))?;
        } else {
            loaded.invoke = None;
        }
        Ok(Module {
            loaded: Arc::new(loaded),
        })
    }

    /// The name it was loaded under.
    pub fn name(&self) -> &str {
        &self.loaded.name
    }

    /// SHA-256 of the bytes it was loaded from, 64 lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        self.loaded.hash.clone()
    }

    /// Its scalar functions, in its own order; empty if it has none.
    pub fn functions(&self) -> &[FunctionSignature] {
        &self.loaded.functions
    }

    /// Whether [`Module::transform`] can be asked.
    pub fn is_transform(&self) -> bool {
        self.loaded.transform.is_some()
    }

    /// What its instances have said lately, the oldest first.
    pub fn said(&self) -> Vec<GuestMessage> {
        self.loaded.said()
    }

    /// One of its functions, ready to be called.
    ///
    /// # Errors
    /// [`SandboxError::Function`] if there is none of this name.
    pub fn scalar(&self, function: &str) -> Result<ScalarFunction, SandboxError> {
        let functions = &self.loaded.functions;
        let index = functions
            .iter()
            .position(|own| own.name == function)
            .ok_or_else(|| SandboxError::Function {
                module: self.name().to_owned(),
                function: function.to_owned(),
                known: known_functions(functions),
            })?;
        Ok(ScalarFunction::new(Arc::clone(&self.loaded), index))
    }

    /// Its transform, opened with the user's configuration.
    ///
    /// # Errors
    /// [`SandboxError::Transform`] if it has none; [`SandboxError::Call`] with [`CallError::Refused`] if it does not like the
    /// configuration, or with a trap.
    pub fn transform(&self, config: &[(String, String)]) -> Result<Transform, SandboxError> {
        let Some(exports) = self.loaded.transform else {
            return Err(SandboxError::Transform {
                module: self.name().to_owned(),
                known: known_functions(&self.loaded.functions),
            });
        };
        Ok(Transform::open(
            Arc::clone(&self.loaded),
            exports,
            config.to_vec(),
        )?)
    }
}

impl Loaded {
    /// Its functions, by number.
    pub(crate) fn functions(&self) -> &[FunctionSignature] {
        &self.functions
    }

    /// What its instances have said lately.
    pub(crate) fn said(&self) -> Vec<GuestMessage> {
        self.log.said()
    }

    /// A new instance, for `callee`.
    pub(crate) fn instantiate(&self, callee: &str) -> Result<Instance, CallError> {
        metrics::counter!("thalweg_wasm_instances_total", "module" => self.name.to_string())
            .increment(1);
        Instance::new(&self.shared, &self.pre, &self.log, callee)
    }

    /// Counts a failure if it is the guest's misbehaviour.
    pub(crate) fn count(&self, error: &CallError) {
        if let Some(class) = error.trap_class() {
            metrics::counter!("thalweg_wasm_traps_total", "module" => self.name.to_string(), "class" => class)
                .increment(1);
        }
    }

    /// Checks the types of all exports, so that a later call cannot fail for them.
    fn check_types(&self) -> Result<(), LoadFailure> {
        let callee = format!("start of module {}", self.name);
        let Instance {
            mut store,
            instance,
            ..
        } = self.instantiate(&callee)?;
        let mut check = || -> wasmtime::Result<()> {
            if let Some(invoke) = self.invoke {
                function::<ScalarArguments<'_>, ScalarReturn>(&mut store, &instance, invoke)?;
            }
            if let Some(exports) = self.transform {
                function::<OpenArguments<'_>, OpenReturn>(&mut store, &instance, exports.open)?;
                function::<ProcessArguments<'_>, ProcessReturn>(
                    &mut store,
                    &instance,
                    exports.process,
                )?;
                function::<CloseArguments, ()>(&mut store, &instance, exports.close)?;
            }
            Ok(())
        };
        check().map_err(|error| LoadFailure::Contract(format!("{error:#}")))
    }

    fn describe(&self, describe: Export) -> Result<Vec<FunctionSignature>, LoadFailure> {
        let callee = format!("describe of module {}", self.name);
        let mut instance = self.instantiate(&callee)?;
        let (signatures,) = instance.call(
            &callee,
            self.shared.config.call_deadline,
            |store, instance| {
                function::<(), (Vec<wire::Signature>,)>(store, instance, describe)?.call(store, ())
            },
        )?;
        if signatures.len() > FUNCTIONS_MAX {
            return Err(LoadFailure::Contract(format!(
                "it describes {} functions, at most {FUNCTIONS_MAX} are allowed",
                signatures.len()
            )));
        }
        let mut names = HashSet::new();
        let mut functions = Vec::with_capacity(signatures.len());
        for signature in signatures {
            let function = read_signature(signature).map_err(LoadFailure::Contract)?;
            if !names.insert(function.name.clone()) {
                let reason = format!("it describes function {} twice", function.name);
                return Err(LoadFailure::Contract(reason));
            }
            functions.push(function);
        }
        Ok(functions)
    }
}

/// Why a module could not be taken, before its name is known to the error.
enum LoadFailure {
    Call(CallError),
    Contract(String),
}

impl LoadFailure {
    fn into_error(self, module: &str) -> SandboxError {
        match self {
            LoadFailure::Call(error) => SandboxError::Call(error),
            LoadFailure::Contract(reason) => SandboxError::Contract {
                module: module.to_owned(),
                reason,
            },
        }
    }
}

impl From<CallError> for LoadFailure {
    fn from(error: CallError) -> LoadFailure {
        LoadFailure::Call(error)
    }
}

fn read_signature(signature: wire::Signature) -> Result<FunctionSignature, String> {
    let name = signature.name;
    let mut characters = name.bytes();
    let starts_well = characters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
    let goes_on =
        characters.all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == b'_');
    if !starts_well || !goes_on || name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        return Err(format!(
            "function name {shown:?} is not a lower-case word of at most {NAME_BYTES_MAX} letters, digits and underscores"
        ));
    }
    let read = |schema: &wire::Schema, what: &str| {
        schema::decode(&schema.ipc)
            .map_err(|reason| format!("{what} of function {name} have {reason}"))
    };
    let args = read(&signature.args, "arguments")?;
    let mut returns = read(&signature.returns, "results")?;
    let (Some(returns), true) = (returns.pop(), returns.is_empty()) else {
        return Err(format!(
            "function {name} does not return exactly one column"
        ));
    };
    let volatility = match signature.volatility {
        wire::Volatility::Immutable => Volatility::Immutable,
        wire::Volatility::Stable => Volatility::Stable,
        wire::Volatility::Volatile => Volatility::Volatile,
    };
    Ok(FunctionSignature {
        name,
        args,
        returns,
        volatility,
        strict: signature.strict,
        parallel_safe: signature.parallel_safe,
    })
}

fn known_functions(functions: &[FunctionSignature]) -> String {
    let names: Vec<&str> = functions
        .iter()
        .map(|function| function.name.as_str())
        .collect();
    match names.as_slice() {
        [] => "no functions".to_owned(),
        [one] => format!("function {one}"),
        many => format!("functions {}", many.join(", ")),
    }
}
