//! Attacks on time, memory and the stack. None of them returns, unless the host is too generous.

use std::hint::black_box;

use thalweg_udf::log;

/// Performs the attack called `name`; `false` when there is none of this name.
pub(crate) fn perform(name: &str) -> bool {
    match name {
        "spin" => spin(),
        "allocate" => allocate(),
        "grow" => grow(),
        "recurse" => {
            black_box(recurse(0));
        }
        "panic" => panic!("the guest gave up on purpose"),
        "trap" => trap(),
        "flood" => flood(),
        _ => return false,
    }
    true
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// 1 GiB at once.
fn allocate() {
    let bytes = vec![1u8; 1 << 30];
    black_box(&bytes);
}

/// 1 GiB in steps of 1 MiB, never given back.
fn grow() {
    let mut blocks = Vec::new();
    for _ in 0..1024 {
        blocks.push(Vec::<u8>::with_capacity(1 << 20));
        black_box(&blocks);
    }
}

#[expect(unconditional_recursion, reason = "that is the attack")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[0]
}

/// A trap without a panic's message.
fn trap() {
    core::arch::wasm32::unreachable();
}

/// Tens of thousands of messages, some of them long.
fn flood() {
    let long = "x".repeat(100_000);
    for turn in 0..20_000 {
        log::info(&format!("message {turn}"));
    }
    log::info(&long);
}
