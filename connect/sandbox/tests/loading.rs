//! Bytes that are no guest, or the wrong one, are refused by name.

use connect_sandbox::{Module, Sandbox, SandboxError, ScalarFunction, Transform};

use crate::guests::{delay_class, evil, route, sandbox, wasm};

fn refused(wasm: &[u8]) -> String {
    sandbox()
        .load("m.wasm", wasm)
        .err()
        .expect("it is refused")
        .to_string()
}

#[test]
fn modules_know_what_they_are() {
    assert!(route().is_transform());
    assert!(route().functions().is_empty());
    assert!(evil().is_transform());
    assert_eq!(evil().functions().len(), 2);
    assert_eq!(route().name(), "route.wasm");
    assert_eq!(route().sha256().len(), 64);
    assert_ne!(route().sha256(), evil().sha256());
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    assert_eq!(
        delay_class()
            .scalar("delay_clas")
            .err()
            .unwrap()
            .to_string(),
        "module delay_class.wasm has no function delay_clas; it has functions delay_class, kilometres"
    );
    assert_eq!(
        delay_class().transform(&[]).err().unwrap().to_string(),
        "module delay_class.wasm has no record transform; it has functions delay_class, kilometres"
    );
    assert_eq!(
        route().scalar("route").err().unwrap().to_string(),
        "module route.wasm has no function route; it has no functions"
    );
}

#[test]
fn bytes_that_are_no_wasm_are_refused() {
    let expected = "module m.wasm is not a component: it does not begin as WASM does; \
                    build it with the SDK for wasm32-unknown-unknown";
    assert_eq!(refused(b""), expected);
    assert_eq!(refused(b"#!/bin/sh\n"), expected);
    let large = vec![0; (32 << 20) + 1];
    assert_eq!(
        refused(&large),
        "module m.wasm has 33554433 bytes, at most 33554432 are allowed; strip it or build it without debug information"
    );
}

#[test]
fn damaged_modules_are_refused() {
    let good = wasm("delay_class");
    for length in (8..good.len()).step_by(good.len() / 16) {
        assert!(
            sandbox().load("m.wasm", &good[..length]).is_err(),
            "cut at {length}"
        );
    }
    let mut bad = good.clone();
    for position in (8..good.len()).step_by(good.len() / 5) {
        bad[position] ^= 0x55;
        // Refused, or a change that does not matter (a name): but an answer.
        let _ = sandbox().load("m.wasm", &bad);
        bad[position] = good[position];
    }
}

#[test]
fn modules_of_other_worlds_are_refused() {
    let empty_core = b"\0asm\x01\0\0\0";
    assert!(sandbox().load("m.wasm", empty_core).is_err());
    let empty_component = b"\0asm\x0d\0\x01\0";
    assert_eq!(
        refused(empty_component),
        "module m.wasm exports neither functions nor a transform of thalweg:plugin@0.1.0: it exports nothing; \
         use export_functions! or export_transform! of the SDK"
    );
}

#[test]
fn imports_are_refused_but_for_the_log() {
    // (component (import "wasi:cli/environment@0.2.0" (instance (export "get" (func)))))
    let name = b"wasi:cli/environment@0.2.0";
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.extend_from_slice(&[
        7, 14, 1, 0x42, 2, 1, 0x40, 0, 1, 0, 4, 0, 3, b'g', b'e', b't',
    ]);
    component.extend_from_slice(&[1, 0]);
    component[9] = component.len() as u8 - 10;
    component.extend_from_slice(&[10, name.len() as u8 + 5, 1, 0, name.len() as u8]);
    component.extend_from_slice(name);
    component.extend_from_slice(&[5, 0]);
    let error = sandbox().load("m.wasm", &component).err().unwrap();
    assert!(matches!(error, SandboxError::Import { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "module m.wasm imports wasi:cli/environment@0.2.0, and guests get nothing but thalweg:plugin/host-log@0.1.0; \
         build it for wasm32-unknown-unknown, without files, network, clock and environment"
    );
}

#[test]
fn everything_moves_between_threads() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Transform>();
    send::<Sandbox>();
    sync::<Sandbox>();
    send::<Module>();
    sync::<Module>();
    send::<ScalarFunction>();
    sync::<ScalarFunction>();
}
