//! From CREATE FUNCTION to a bound object: the function of its module, and what was declared of it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use connect_sandbox::{FunctionSignature, Module};

use super::object::{Function, Identity};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{CreateFunction, DeclaredSignature, Name};
use crate::plan::{arrow_type, settled, type_name};

/// A module with its bytes, on its way into the catalog.
pub(crate) struct FunctionModule {
    pub module: Module,
    pub bytes: Vec<u8>,
}

/// Finds the function in its module and checks the declared shape against it.
pub(crate) fn bind_function(
    create: &CreateFunction,
    identity: Identity,
    module: &Module,
) -> Result<Function, Diagnostic> {
    let functions = module.functions();
    let name = &create.name;
    let Some(signature) = functions.iter().find(|function| function.name == name.name) else {
        let names: Vec<&str> = functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        let diagnostic = Diagnostic::new(
            Code::Signature,
            format!("the module has no function {}", name.written),
        )
        .at(name.span);
        let diagnostic = diagnostic.suggest_nearest(&name.name, names.iter().copied());
        return Err(match (diagnostic.help.is_some(), names.is_empty()) {
            (true, _) => diagnostic,
            (false, true) => diagnostic.help("it has no scalar functions at all"),
            (false, false) => diagnostic.help(format!("it has {}", names.join(", "))),
        });
    };
    let args = signature
        .args
        .iter()
        .map(|field| settled_type(field, signature))
        .collect::<Result<Vec<_>, _>>()?;
    let returns = settled_type(&signature.returns, signature)?;
    if let Some(declared) = &create.signature {
        check_signature(declared, &args, &returns, name)?;
    }
    let scalar = module
        .scalar(&name.name)
        .map_err(|error| Diagnostic::new(Code::Module, error.to_string()).at(name.span))?;
    Ok(Function {
        module: module.sha256(),
        args,
        returns,
        scalar: Arc::new(scalar),
        identity,
    })
}

fn settled_type(field: &Field, signature: &FunctionSignature) -> Result<DataType, Diagnostic> {
    settled(field.data_type()).ok_or_else(|| {
        let message = format!(
            "function {} speaks of {}, which SQL has no type for",
            signature.name,
            type_name(field.data_type())
        );
        Diagnostic::new(Code::Signature, message)
    })
}

fn check_signature(
    declared: &DeclaredSignature,
    args: &[DataType],
    returns: &DataType,
    name: &Name,
) -> Result<(), Diagnostic> {
    let module_says = || {
        let args: Vec<String> = args.iter().map(type_name).collect();
        format!(
            "the module says {}({}) RETURNS {}",
            name.name,
            args.join(", "),
            type_name(returns)
        )
    };
    if declared.args.len() != args.len() {
        let message = format!(
            "{} is declared with {} arguments, the module's function has {}",
            name.written,
            declared.args.len(),
            args.len()
        );
        return Err(Diagnostic::new(Code::Signature, message)
            .at(declared.span)
            .help(module_says()));
    }
    for ((declared, span), arg) in declared.args.iter().zip(args) {
        let data_type = arrow_type(declared).map_err(|error| error.at(*span))?;
        if &data_type != arg {
            let message = format!(
                "declared as {}, the module's function takes {}",
                type_name(&data_type),
                type_name(arg)
            );
            return Err(Diagnostic::new(Code::Signature, message)
                .at(*span)
                .suggest(type_name(arg)));
        }
    }
    let data_type =
        arrow_type(&declared.returns).map_err(|error| error.at(declared.returns_span))?;
    if &data_type != returns {
        let message = format!(
            "declared as {}, the module's function returns {}",
            type_name(&data_type),
            type_name(returns)
        );
        return Err(Diagnostic::new(Code::Signature, message)
            .at(declared.returns_span)
            .suggest(type_name(returns)));
    }
    Ok(())
}
