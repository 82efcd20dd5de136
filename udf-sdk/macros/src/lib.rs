//! `#[scalar_function]`: a plain Rust function becomes one that Thalweg can call on packed columns.
//!
//! The function stays as it is. Beside it the attribute puts a type of the same name (functions and types have namespaces of their
//! own) that implements `thalweg_udf::ScalarFunction`: the signature, and the loop over a batch.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::{Error, FnArg, ItemFn, LitBool, LitStr, Pat, ReturnType, parse_macro_input};

/// Makes a function callable from SQL.
///
/// Arguments: `i32`, `i64`, `f64`, `bool`, `&str`, or `Option` of one. Results: the same, `String`, `Option` or `Result` of one
/// (an error is that row's alone). If no argument is an `Option`, a null argument gives null and the function is not called.
///
/// `#[scalar_function(name = "…", volatility = "immutable" | "stable" | "volatile", parallel_safe = true)]`; the name is the
/// function's, the volatility immutable, and parallel use safe, unless said otherwise.
#[proc_macro_attribute]
pub fn scalar_function(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut own = Options::default();
    let parser = syn::meta::parser(|meta| own.read(&meta));
    parse_macro_input!(options with parser);
    let function = parse_macro_input!(item as ItemFn);
    expand(&own, &function)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

#[derive(Default)]
struct Options {
    name: Option<String>,
    volatility: Option<Tokens>,
    parallel_safe: Option<bool>,
}

impl Options {
    fn read(&mut self, meta: &syn::meta::ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("name") {
            self.name = Some(meta.value()?.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("volatility") {
            let text: LitStr = meta.value()?.parse()?;
            let variant = match text.value().as_str() {
                "immutable" => quote!(Immutable),
                "stable" => quote!(Stable),
                "volatile" => quote!(Volatile),
                _ => {
                    return Err(Error::new(
                        text.span(),
                        "expected immutable, stable or volatile",
                    ));
                }
            };
            self.volatility = Some(variant);
        } else if meta.path.is_ident("parallel_safe") {
            self.parallel_safe = Some(meta.value()?.parse::<LitBool>()?.value);
        } else {
            return Err(meta.error("expected name, volatility or parallel_safe"));
        }
        Ok(())
    }
}

fn expand(options: &Options, function: &ItemFn) -> syn::Result<Tokens> {
    let signature = &function.sig;
    if !signature.generics.params.is_empty() || signature.asyncness.is_some() {
        return Err(Error::new_spanned(
            signature,
            "a function of SQL is neither generic nor async",
        ));
    }
    let ReturnType::Type(_, returns) = &signature.output else {
        return Err(Error::new_spanned(
            signature,
            "a function of SQL returns a value",
        ));
    };
    let mut names = Vec::new();
    let mut kinds = Vec::new();
    for input in &signature.inputs {
        let FnArg::Typed(input) = input else {
            return Err(Error::new_spanned(input, "a function of SQL has no self"));
        };
        let Pat::Ident(name) = &*input.pat else {
            return Err(Error::new_spanned(
                &input.pat,
                "an argument needs a plain name",
            ));
        };
        names.push(name.ident.to_string());
        kinds.push(&input.ty);
    }

    let visibility = &function.vis;
    let ident = &signature.ident;
    let name = options.name.clone().unwrap_or_else(|| ident.to_string());
    let volatility = options
        .volatility
        .clone()
        .unwrap_or_else(|| quote!(Immutable));
    let parallel_safe = options.parallel_safe.unwrap_or(true);
    let columns: Vec<_> = (0..kinds.len())
        .map(|i| format_ident!("column_{i}"))
        .collect();
    let values: Vec<_> = (0..kinds.len())
        .map(|i| format_ident!("value_{i}"))
        .collect();
    let doc = format!("`{name}` as the host sees it.");
    Ok(quote! {
        #function

        #[doc = #doc]
        #[allow(non_camel_case_types)]
        #visibility enum #ident {}

        impl ::thalweg_udf::ScalarFunction for #ident {
            fn signature() -> ::thalweg_udf::Signature {
                ::thalweg_udf::Signature {
                    name: #name,
                    args: vec![#((
                        #names,
                        <#kinds as ::thalweg_udf::Argument<'_>>::TYPE,
                        <#kinds as ::thalweg_udf::Argument<'_>>::NULLABLE,
                    )),*],
                    returns: <#returns as ::thalweg_udf::Returned>::TYPE,
                    volatility: ::thalweg_udf::Volatility::#volatility,
                    strict: true #(&& !<#kinds as ::thalweg_udf::Argument<'_>>::NULLABLE)*,
                    parallel_safe: #parallel_safe,
                }
            }

            fn invoke(
                batch: &::thalweg_udf::Batch,
            ) -> ::core::result::Result<::thalweg_udf::Results, ::thalweg_udf::Fault> {
                let [#(#columns),*] = ::thalweg_udf::arguments(
                    batch,
                    [#(<#kinds as ::thalweg_udf::Argument<'_>>::TYPE),*],
                )?;
                let mut results =
                    ::thalweg_udf::Results::new(<#returns as ::thalweg_udf::Returned>::TYPE, batch.rows);
                for row in 0..batch.rows as usize {
                    let _ = row;
                    let (#(::core::option::Option::Some(#values),)*) =
                        (#(<#kinds as ::thalweg_udf::Argument<'_>>::read(&#columns, row),)*)
                    else {
                        results.push_null();
                        continue;
                    };
                    ::thalweg_udf::Returned::push(#ident(#(#values),*), &mut results);
                }
                Ok(results)
            }
        }
    })
}
