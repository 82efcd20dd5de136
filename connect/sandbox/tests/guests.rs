//! Builds the guests, and loads each once into a sandbox that all tests share.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use connect_sandbox::{Module, Sandbox, SandboxConfig};

/// Long enough for a busy machine, short enough to wait for a few of them.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    Sandbox::new(SandboxConfig {
        call_deadline: DEADLINE,
        ..SandboxConfig::default()
    })
    .expect("the engine starts")
});

/// The sandbox of all tests.
pub(crate) fn sandbox() -> &'static Sandbox {
    &SANDBOX
}

/// The functions of `udf-examples/delay_class`.
pub(crate) fn delay_class() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| load("delay_class"))
}

/// The transform of `udf-examples/route`.
pub(crate) fn route() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| load("route"))
}

/// Functions and transform of `udf-examples/evil`.
pub(crate) fn evil() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| load("evil"))
}

/// The bytes of a guest.
pub(crate) fn wasm(name: &str) -> Vec<u8> {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(build);
    let path = FOLDER.join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

fn load(name: &str) -> Module {
    sandbox()
        .load(&format!("{name}.wasm"), &wasm(name))
        .expect("the guest loads")
}

/// Runs cargo in the guests' folder, where their flags are configured; the folder of the `.wasm` files.
fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../udf-examples");
    let target = env::var_os("THALWEG_UDF_TARGET").map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache/thalweg/udf"),
        PathBuf::from,
    );
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-unknown-unknown",
            "--locked",
        ])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("wasm32-unknown-unknown/release")
}
