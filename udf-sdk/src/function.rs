//! Scalar functions: what the attribute makes of a Rust function, and the table that a module exports.

use crate::bindings::functions::exports::thalweg::plugin::{meta, scalar};
use crate::column::{Column, columns};
use crate::log::install_panic_hook;
use crate::results::Results;
use crate::schema::{self, DataType};
use crate::{Batch, Fault};

/// How often a function must be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Same arguments, same result, for ever.
    Immutable,
    /// Same arguments, same result within one query.
    Stable,
    /// Any result at any time.
    Volatile,
}

/// A function's description.
pub struct Signature {
    /// The name in SQL.
    pub name: &'static str,
    /// Name, type and nullability of each argument.
    pub args: Vec<(&'static str, DataType, bool)>,
    /// The type of the result.
    pub returns: DataType,
    /// How often it must be asked.
    pub volatility: Volatility,
    /// A null argument gives null and the function is not asked.
    pub strict: bool,
    /// Several instances may run at once.
    pub parallel_safe: bool,
}

/// What `#[scalar_function]` implements, on a type of the function's name.
pub trait ScalarFunction {
    /// The function's description.
    fn signature() -> Signature;

    /// All rows of a batch.
    ///
    /// # Errors
    /// [`Fault::InvalidArgument`] when the batch does not have the arguments of [`ScalarFunction::signature`].
    fn invoke(args: &Batch) -> Result<Results, Fault>;
}

/// One entry of a module's table of functions.
pub struct Function {
    signature: fn() -> Signature,
    invoke: fn(&Batch) -> Result<Results, Fault>,
}

impl Function {
    /// The entry of `F`.
    pub const fn of<F: ScalarFunction>() -> Function {
        Function {
            signature: F::signature,
            invoke: F::invoke,
        }
    }
}

/// The signatures of a module, in the order of its table.
pub fn describe(functions: &[Function]) -> Vec<meta::Signature> {
    install_panic_hook();
    functions
        .iter()
        .map(|function| signature((function.signature)()))
        .collect()
}

/// Calls function `number` of a module's table.
///
/// # Errors
/// [`Fault::InvalidArgument`] when there is no such function or its arguments have another shape.
pub fn invoke(functions: &[Function], number: u32, args: &Batch) -> Result<scalar::Output, Fault> {
    install_panic_hook();
    let function = functions.get(number as usize).ok_or_else(|| {
        let count = functions.len();
        Fault::InvalidArgument(format!(
            "there is no function {number}: the module has {count}"
        ))
    })?;
    Ok((function.invoke)(args)?.finish())
}

/// The argument columns of a batch. For the code that `#[scalar_function]` writes.
#[doc(hidden)]
pub fn arguments<'a, const N: usize>(
    batch: &'a Batch,
    types: [DataType; N],
) -> Result<[Column<'a>; N], Fault> {
    columns(batch, types)
}

fn signature(own: Signature) -> meta::Signature {
    let args: Vec<schema::Field<'_>> = own
        .args
        .iter()
        .map(|&(name, data_type, nullable)| schema::Field {
            name,
            data_type,
            nullable,
        })
        .collect();
    let returns = [schema::Field {
        name: own.name,
        data_type: own.returns,
        nullable: true,
    }];
    meta::Signature {
        name: own.name.to_owned(),
        args: meta::Schema {
            ipc: schema::encode(&args),
        },
        returns: meta::Schema {
            ipc: schema::encode(&returns),
        },
        volatility: match own.volatility {
            Volatility::Immutable => meta::Volatility::Immutable,
            Volatility::Stable => meta::Volatility::Stable,
            Volatility::Volatile => meta::Volatility::Volatile,
        },
        strict: own.strict,
        parallel_safe: own.parallel_safe,
    }
}

/// Makes a module of functions that carry `#[scalar_function]`; at most one use a module.
#[macro_export]
macro_rules! export_functions {
    ($($function:ident),+ $(,)?) => {
        const _: () = {
            const FUNCTIONS: &[$crate::Function] = &[$($crate::Function::of::<$function>()),+];

            struct Module;

            impl $crate::bindings::functions::exports::thalweg::plugin::meta::Guest for Module {
                fn describe() -> Vec<$crate::bindings::functions::exports::thalweg::plugin::meta::Signature> {
                    $crate::describe(FUNCTIONS)
                }
            }

            impl $crate::bindings::functions::exports::thalweg::plugin::scalar::Guest for Module {
                fn invoke(
                    function: u32,
                    args: $crate::Batch,
                ) -> Result<$crate::bindings::functions::exports::thalweg::plugin::scalar::Output, $crate::Fault> {
                    $crate::invoke(FUNCTIONS, function, &args)
                }
            }

            #[cfg(target_arch = "wasm32")]
            $crate::bindings::functions::export_scalar_udf!(Module with_types_in $crate::bindings::functions);
        };
    };
}
