//! What wit-bindgen makes of `plugin.wit`, one module a world. Not part of the SDK's surface.
//!
//! Guests export a world through the macro of its module, which also embeds the description of that world alone: a module that
//! exports functions says nothing of transforms.

#![allow(
    missing_docs,
    reason = "generated; the contract is documented in plugin.wit"
)]

pub mod functions {
    //! World `scalar-udf`.
    wit_bindgen::generate!({
        path: "../connect/sandbox/wit",
        world: "scalar-udf",
        pub_export_macro: true,
        export_macro_name: "export_scalar_udf",
        default_bindings_module: "::thalweg_udf::bindings::functions",
    });
}

pub mod transforms {
    //! World `record-transform`.
    wit_bindgen::generate!({
        path: "../connect/sandbox/wit",
        world: "record-transform",
        pub_export_macro: true,
        export_macro_name: "export_record_transform",
        default_bindings_module: "::thalweg_udf::bindings::transforms",
        with: {
            "thalweg:plugin/columns@0.1.0": super::functions::thalweg::plugin::columns,
            "thalweg:plugin/host-log@0.1.0": super::functions::thalweg::plugin::host_log,
        },
    });
}
