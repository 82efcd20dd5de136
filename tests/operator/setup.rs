//! `scripts/setup.sh` on machines that have half of what is needed: what each is told, and what is then installed.
//!
//! A machine is a folder: `bin` is all of its PATH (the few real tools that the script uses, and stand-ins for
//! compilers, Rust and packages), `root` stands for `/`, `home` for the user's folder. A whole machine lacks nothing;
//! each test breaks one thing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::flights;

/// What the script uses of every Linux.
const TOOLS: &str = "awk bash cat chmod cut date dirname env find grep head ln mkdir mktemp mv od readlink rm sed sh \
                     sort tail tee touch tr wc";

/// The first bytes of a shared library of 64 bits.
const LIBRARY: &[u8] = &[0x7f, b'E', b'L', b'F', 2, 1, 1];
/// An empty archive: nothing but the end of its index.
const JAR: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A compiler whose programs run and do nothing.
const COMPILER: &str =
    r#"while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh\nexit 0\n' >"$2"; chmod +x "$2""#;

struct Machine {
    folder: tempfile::TempDir,
    toolchain: String,
    environment: Vec<(&'static str, String)>,
}

/// What the script printed, and whether it succeeded.
struct Told {
    text: String,
    success: bool,
}

impl Told {
    /// Exactly one thing is missing, and this is said of it.
    #[track_caller]
    fn only(&self, line: &str) {
        let lines: Vec<&str> = self.text.lines().collect();
        assert!(!self.success, "{}", self.text);
        assert_eq!(lines.len(), 2, "{}", self.text);
        assert_eq!(lines[1].trim(), line);
    }

    #[track_caller]
    fn contains(&self, part: &str) -> &Self {
        assert!(self.text.contains(part), "{part:?} in:\n{}", self.text);
        self
    }

    #[track_caller]
    fn fails(&self) -> &Self {
        assert!(!self.success, "{}", self.text);
        self
    }

    #[track_caller]
    fn succeeds(&self) -> &Self {
        assert!(self.success, "{}", self.text);
        self
    }
}

impl Machine {
    /// One that lacks nothing for building and testing.
    fn whole() -> Self {
        let source = flights::root();
        let toolchain = fs::read_to_string(source.join("rust-toolchain.toml")).unwrap();
        let toolchain = toolchain.split('"').nth(1).unwrap().to_owned();
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
            toolchain,
            environment: Vec::new(),
        };
        for file in [
            "scripts/setup.sh",
            "scripts/heartbeat.sh",
            "rust-toolchain.toml",
            "tests/operator/java/pom.xml",
        ] {
            machine.file(
                &format!("repository/{file}"),
                fs::read(source.join(file)).unwrap(),
            );
            machine.executable(&format!("repository/{file}"));
        }
        fs::create_dir_all(machine.path("bin")).unwrap();
        for tool in TOOLS.split_whitespace() {
            let real = ["/usr/bin", "/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(tool))
                .find(|path| path.exists())
                .unwrap_or_else(|| panic!("{tool} on this machine"));
            symlink(real, machine.path("bin").join(tool)).unwrap();
        }
        machine.command("df", "printf 'x\\nfake 1 1 99999999 1%% /\\n'");
        machine.command("id", "echo 0");
        for compiler in ["cc", "c++"] {
            machine.command(compiler, COMPILER);
        }
        for tool in ["ar", "make", "pkg-config", "curl", "kcat", "tmux", "mvn"] {
            machine.command(tool, "exit 0");
        }
        machine.file("root/etc/ssl/certs/ca-certificates.crt", "certificates");
        machine.file("root/etc/passwd", "postgres:x:101:101::/:/bin/sh\n");
        machine.file("root/usr/lib/llvm-14/lib/libclang-14.so.1", LIBRARY);
        for server in ["initdb", "postgres"] {
            machine.script(
                &format!("root/usr/lib/postgresql/15/bin/{server}"),
                "exit 0",
            );
        }
        machine.rust("bin", &machine.toolchain);
        machine.libraries("host");
        machine.libraries("wasm");
        machine.command("java", "echo jdk.compiler@17.0.15");
        machine.command(
            "python3",
            "mkdir -p \"$3/bin\"; for tool in pip python3; do \
             printf '#!/bin/sh\\nexit 0\\n' >\"$3/bin/$tool\"; chmod +x \"$3/bin/$tool\"; done",
        );
        machine.script("home/.cache/thalweg/venv/bin/python3", "exit 0");
        for jar in [
            "kafka-clients-4.3.0",
            "slf4j-nop-1.7.36",
            "slf4j-api-1",
            "lz4-java-1",
            "snappy-java-1",
            "zstd-jni-1",
        ] {
            machine.file(&format!("home/.cache/thalweg/java/{jar}.jar"), JAR);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn executable(&self, name: &str) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn script(&self, name: &str, body: &str) {
        self.file(name, format!("#!/bin/sh\n{body}\n"));
        self.executable(name);
    }

    fn command(&self, name: &str, body: &str) {
        self.script(&format!("bin/{name}"), body);
    }

    fn without(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// cargo and rustc of this version in that folder.
    fn rust(&self, folder: &str, version: &str) {
        let root = self.folder.path().display();
        for tool in ["cargo", "rustc"] {
            self.script(&format!("{folder}/{tool}"), &format!(
                "case \"$*\" in\n--version) echo '{tool} {version} (abc 2026-01-01)';;\n*wasm32*) echo {root}/rust/wasm;;\n\
                 *target-libdir*) echo {root}/rust/host;;\nesac"
            ));
        }
    }

    /// The standard library for a target.
    fn libraries(&self, target: &str) {
        for library in ["libstd-1", "libcore-1"] {
            self.file(&format!("rust/{target}/{library}.rlib"), "");
        }
    }

    /// A rustup that writes down what it is told, has this machine's Rust, and answers to `cargo` too.
    fn rustup(&self, more: &str) {
        let root = self.folder.path().display();
        let toolchain = &self.toolchain;
        self.command(
            "rustup",
            &format!(
                "case \"${{0##*/}} $*\" in\n'rustup --version') echo 'rustup 1.29.0 (abc)';;\n\
             'rustup toolchain list') echo '{toolchain}-x86_64-unknown-linux-gnu (default)';;\n\
             'cargo --version'|'rustc --version') echo \"${{0##*/}} {toolchain} (abc)\";;\n\
             *wasm32*target-libdir*|*target-libdir*wasm32*) echo {root}/rust/wasm;;\n\
             *target-libdir*) echo {root}/rust/host;;\n\
             rustup*) echo \"$*\" >>{root}/rustup.log;;\nesac\n{more}"
            ),
        );
    }

    /// An apt-get that writes down what it is told.
    fn apt(&self, on_install: &str) {
        let root = self.folder.path().display();
        self.command(
            "apt-get",
            &format!("echo \"$*\" >>{root}/apt.log; case \"$*\" in *install*) {on_install};; esac"),
        );
    }

    fn run(&self, arguments: &[&str]) -> Told {
        let output = Command::new("/bin/bash")
            .arg(self.path("repository/scripts/setup.sh"))
            .args(arguments)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("THALWEG_SETUP_ROOT", self.path("root"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Told {
            text: text.replace(&format!("{}/", self.folder.path().display()), ""),
            success: output.status.success(),
        }
    }

    fn check(&self) -> Told {
        self.run(&["check", "test"])
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

#[test]
fn a_whole_machine_is_told_nothing() {
    let machine = Machine::whole();
    for arguments in [
        &["check", "build"][..],
        &["check", "test"],
        &["build"],
        &["test"],
    ] {
        let told = machine.run(arguments);
        assert_eq!(told.text, "", "{arguments:?}");
        told.succeeds();
    }
    machine
        .run(&["tests"])
        .fails()
        .contains("usage: setup.sh [check] build|test");
}

#[test]
fn a_bare_machine_is_told_everything_at_once() {
    let machine = Machine::whole();
    machine.without("root");
    machine.without("home");
    for tool in "cc c++ ar make pkg-config curl kcat tmux mvn java python3 cargo rustc".split(' ') {
        machine.without(&format!("bin/{tool}"));
    }
    let told = machine.check();
    told.fails();
    for line in [
        "c compiler: cc is not installed [package build-essential]",
        "cxx compiler: c++ is not installed [package build-essential]",
        "archiver: ar is not installed [package build-essential]",
        "make: make is not installed [package build-essential]",
        "pkg config: pkg-config is not installed [package pkg-config]",
        "certificates: no certificates in /etc/ssl/certs: nothing can be downloaded over HTTPS [package ca-certificates]",
        "curl: curl is not installed [package curl]",
        "libclang: bindgen finds no libclang.so [package libclang-dev]",
        "rust: cargo is not installed",
        "kcat: kcat is not installed [package kcat]",
        "tmux: tmux is not installed [package tmux]",
        "postgres: no folder /usr/lib/postgresql/*/bin has both initdb and postgres [package postgresql]",
        "python: python3 is not installed [package python3 and python3-venv]",
        "java: java is not installed [package default-jdk-headless]",
        "maven: mvn is not installed [package maven]",
    ] {
        told.contains(line);
    }
    let for_building = machine.run(&["check", "build"]);
    assert!(!for_building.text.contains("kcat"), "{}", for_building.text);
}

#[test]
fn every_name_that_bindgen_takes_for_libclang_is_enough() {
    for name in [
        "llvm-14/lib/libclang.so",
        "llvm-14/lib/libclang-14.0.6.so",
        "x86_64-linux-gnu/libclang.so.1",
        "libclang-14.so.14.0.6",
    ] {
        let machine = Machine::whole();
        machine.without("root/usr/lib/llvm-14");
        machine.file(&format!("root/usr/lib/{name}"), LIBRARY);
        assert_eq!(machine.check().text, "", "{name}");
    }
}

#[test]
fn what_only_looks_like_libclang_is_named() {
    let machine = Machine::whole();
    let folder = "root/usr/lib/llvm-14/lib";
    machine.without(folder);
    machine.file(&format!("{folder}/libclang-cpp.so.14"), LIBRARY);
    machine.file(&format!("{folder}/libclangAST.a"), "");
    machine.check().only(
        "libclang: bindgen finds no libclang.so (libclang-cpp is another library) [package libclang-dev]",
    );

    // Of 32 bits.
    machine.file(&format!("{folder}/libclang.so.1"), b"\x7fELF\x01\x01\x01");
    machine.check().only(
        "libclang: bindgen finds no libclang.so for this machine (root/usr/lib/llvm-14/lib/libclang.so.1 is none) \
         [package libclang-dev]",
    );
}

#[test]
fn a_libclang_that_does_not_load_is_named_and_so_is_one_that_does() {
    let mut machine = Machine::whole();
    machine.file("root/usr/local/lib/libclang-19.so", LIBRARY);
    machine.command(
        "cc",
        &COMPILER.replace(
            "exit 0",
            "case \"$1\" in *19*) echo libLLVM-19.so: cannot open; exit 1;; esac; exit 0",
        ),
    );
    machine.check().only(
        "libclang: bindgen takes root/usr/local/lib/libclang-19.so, which does not work: libLLVM-19.so: cannot open; \
         LIBCLANG_PATH=root/usr/lib/llvm-14/lib/libclang-14.so.1 would [package libclang-dev]",
    );

    let good = machine.path("root/usr/lib/llvm-14/lib");
    machine.environment = vec![("LIBCLANG_PATH", good.display().to_string())];
    assert_eq!(machine.check().text, "");
    machine.environment[0].1 += "/libclang-14.so.1";
    assert_eq!(machine.check().text, "");
    machine.environment[0].1 = machine.path("home").display().to_string();
    machine.check().only(
        "libclang: bindgen finds no libclang.so in LIBCLANG_PATH=home [package libclang-dev]",
    );
}

#[test]
fn a_compiler_must_build_programs_not_only_be_there() {
    let machine = Machine::whole();
    machine.command(
        "c++",
        "echo \"c++: error: unrecognized command-line option '-std=c++20'\"; exit 1",
    );
    machine.check().only(
        "cxx compiler: bin/c++ does not build a program: c++: error: unrecognized command-line option '-std=c++20' \
         [package build-essential]",
    );
    machine.command("c++", &COMPILER.replace("exit 0", "exit 1"));
    machine.check().only(
        "cxx compiler: a program of bin/c++ does not run; is the C++ library complete? [package build-essential]",
    );
}

#[test]
fn a_rust_without_a_part_is_completed() {
    let machine = Machine::whole();
    machine.without("rust/wasm");
    let missing = format!(
        "rust: Rust {} has no standard library for wasm32-unknown-unknown",
        machine.toolchain
    );
    machine.check().only(&missing);

    let root = machine.folder.path().display();
    machine.rustup(&format!(
        "case \"$*\" in 'target add'*) mkdir -p {root}/rust/wasm; touch {root}/rust/wasm/libstd-1.rlib {root}/rust/wasm/libcore-1.rlib;; esac"
    ));
    machine.check().only(&missing);
    assert_eq!(machine.log("rustup.log"), "", "a check changes nothing");
    machine.run(&["build"]).succeeds();
    let toolchain = &machine.toolchain;
    assert!(
        machine.log("rustup.log").contains(&format!(
            "target add --toolchain {toolchain} wasm32-unknown-unknown"
        )),
        "{}",
        machine.log("rustup.log")
    );

    machine.without("bin/rustup");
    let cargo = fs::read_to_string(machine.path("bin/cargo")).unwrap();
    machine.script(
        "bin/cargo",
        &format!("case \"$1\" in clippy) exit 1;; esac\n{cargo}"),
    );
    machine.check().only(&format!(
        "rust: Rust {toolchain} has no working cargo clippy"
    ));
}

#[test]
fn another_rust_in_front_is_passed_by_and_stays() {
    let mut machine = Machine::whole();
    machine.rust("bin", "1.63.0");
    let toolchain = machine.toolchain.clone();
    machine.check().only(&format!(
        "rust: bin/cargo is 1.63.0 (abc 2026-01-01), and {toolchain} is needed"
    ));

    // The downloaded installer brings rustup and its cargo.
    machine.rustup("");
    let installer = machine.path("installer");
    machine.script(
        "installer",
        "mkdir -p \"$HOME/.cargo/bin\" && for tool in rustup cargo rustc; do \
         ln -s \"${0%/*}/rustup-to-come\" \"$HOME/.cargo/bin/$tool\"; done",
    );
    fs::rename(machine.path("bin/rustup"), machine.path("rustup-to-come")).unwrap();
    machine.environment = vec![("THALWEG_RUSTUP_INIT", installer.display().to_string())];
    machine
        .run(&["build"])
        .succeeds()
        .contains(&format!("bin/cargo is not what this builds with; rustup brings Rust {toolchain}, and bin/cargo stays as it is"));
    assert_eq!(machine.check().text, "");
}

#[test]
fn a_rustup_from_a_package_comes_before_another_cargo() {
    let machine = Machine::whole();
    machine.rust("bin", "1.63.0");
    machine.rustup("");
    machine.run(&["build"]).succeeds();
    let cargo = fs::read_link(machine.path("home/.cargo/bin/cargo")).unwrap();
    assert_eq!(cargo, machine.path("bin/rustup"));
}

#[test]
fn packages_are_installed_after_the_lists() {
    let machine = Machine::whole();
    machine.without("bin/kcat");
    let root = machine.folder.path().display();
    machine.apt(&format!("ln -s {root}/bin/mvn {root}/bin/kcat"));
    machine
        .run(&["test"])
        .succeeds()
        .contains("installing kcat");
    let log = machine.log("apt.log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].ends_with(" update"), "{log}");
    assert!(
        lines[1].ends_with(" install -y --no-install-recommends kcat"),
        "{log}"
    );
}

#[test]
fn what_stays_missing_or_cannot_be_installed_is_told_with_the_reason() {
    let machine = Machine::whole();
    machine.without("bin/c++");
    let name = "cxx compiler: c++ is not installed [package build-essential]";
    machine.run(&["build"]).fails().contains(
        "there is no apt-get here; install with this system's own tool what Debian calls: build-essential",
    );

    machine.apt("exit 0");
    machine
        .run(&["build"])
        .fails()
        .contains("still missing for build, after installing what could be:")
        .contains(name);

    machine.apt("echo 'E: Unable to locate package build-essential'; exit 100");
    machine
        .run(&["build"])
        .fails()
        .contains("E: Unable to locate package build-essential\nsetup: apt-get could not install build-essential");
}

#[test]
fn without_root_the_exact_command_is_told() {
    let machine = Machine::whole();
    machine.without("bin/c++");
    machine.without("bin/kcat");
    machine.apt("exit 0");
    machine.command("id", "echo 1000");
    let command = "Run as root: apt-get update && apt-get install -y --no-install-recommends build-essential kcat";
    machine
        .run(&["test"])
        .fails()
        .contains("there is no sudo here")
        .contains(command);
    machine.command("sudo", "exit 1");
    machine
        .run(&["test"])
        .fails()
        .contains("sudo refuses")
        .contains(command);
    assert_eq!(machine.log("apt.log"), "");
}

#[test]
fn a_full_disk_is_told_before_anything_starts() {
    let machine = Machine::whole();
    machine.command("df", "printf 'x\\nfake 1 1 2097152 99%% /data\\n'");
    machine.without("bin/kcat");
    machine.apt("exit 0");
    let told = machine.run(&["test"]);
    told.fails()
        .contains("disk: /data has 2048 MB free and 8000 MB are needed (")
        .contains("6000 MB in home/.cache/thalweg/target")
        .contains("CARGO_TARGET_DIR moves the build")
        .contains("nothing was installed");
    assert_eq!(machine.log("apt.log"), "");
}

#[test]
fn a_home_that_takes_no_files_is_named() {
    let mut machine = Machine::whole();
    machine.environment = vec![("HOME", "/dev/null".to_owned())];
    machine
        .run(&["build"])
        .fails()
        .contains("cannot write to /dev/null/.cache/thalweg; is HOME=/dev/null a folder of yours");
    machine.environment = vec![("HOME", String::new())];
    machine.run(&["build"]).fails().contains("HOME is not set");
}

#[test]
fn a_postgresql_must_be_whole_and_start() {
    let machine = Machine::whole();
    // Only the client of a newer one: not what the tests start.
    machine.script("root/usr/lib/postgresql/17/bin/psql", "exit 0");
    assert_eq!(machine.check().text, "");

    machine.script("root/usr/lib/postgresql/16/bin/postgres", "exit 0");
    machine.script(
        "root/usr/lib/postgresql/16/bin/initdb",
        "echo 'initdb: error while loading shared libraries: libpq.so.5'; exit 127",
    );
    machine.check().only(
        "postgres: root/usr/lib/postgresql/16/bin/initdb does not start: initdb: error while loading shared libraries: \
         libpq.so.5 [package postgresql]",
    );

    machine.without("root/usr/lib/postgresql");
    for server in ["initdb", "postgres"] {
        machine.script(
            &format!("root/usr/lib/postgresql/12/bin/{server}"),
            "exit 0",
        );
    }
    machine
        .check()
        .only("postgres: PostgreSQL 12 is too old: 13 or later is needed [package postgresql]");
}

#[test]
fn a_python_without_ensurepip_and_half_an_environment_are_seen() {
    let machine = Machine::whole();
    let venv = "home/.cache/thalweg/venv";
    machine.without(&format!("{venv}/bin/python3"));
    machine.file(&format!("{venv}/half"), "");
    machine
        .check()
        .only("python client: home/.cache/thalweg/venv is broken or half made");
    machine.run(&["test"]).succeeds();
    assert!(!machine.path(&format!("{venv}/half")).exists());
    assert_eq!(machine.check().text, "");

    machine.without(venv);
    machine.command(
        "python3",
        "[ \"$1\" = --version ] || { echo 'The virtual environment was not created: ensurepip is not available'; exit 1; }",
    );
    machine
        .check()
        .fails()
        .contains("python: bin/python3 cannot make a virtual environment: The virtual environment was not created: ensurepip is not available [package python3 and python3-venv]");
}

#[test]
fn half_a_jar_is_fetched_again() {
    let machine = Machine::whole();
    let jars = "home/.cache/thalweg/java";
    machine.file(&format!("{jars}/kafka-clients-4.3.0.jar"), "PK half of it");
    machine.check().only(
        "jars: home/.cache/thalweg/java/kafka-clients-4.3.0.jar is damaged or half downloaded",
    );
    let root = machine.folder.path().display();
    machine.file(&format!("{root}/whole.jar"), JAR);
    machine.command(
        "mvn",
        &format!(
            "for word; do case \"$word\" in -DoutputDirectory=*) folder=\"${{word#*=}}\"; mkdir -p \"$folder\"; \
             for jar in kafka-clients-4.3.0 slf4j-nop-1.7.36 slf4j-api-1 lz4-java-1 snappy-java-1 zstd-jni-1; do \
             cat {root}/whole.jar >\"$folder/$jar.jar\"; done;; esac; done"
        ),
    );
    machine.run(&["test"]).succeeds();
    assert_eq!(machine.check().text, "");
    assert!(!machine.path("home/.cache/thalweg/java.new").exists());
}

#[test]
fn a_jre_and_an_old_java_are_no_jdk() {
    let machine = Machine::whole();
    machine.command(
        "java",
        "echo 'java.lang.module.FindException: Module jdk.compiler not found'; exit 1",
    );
    machine.check().only(
        "java: bin/java is no JDK of Java 11 or later: java.lang.module.FindException: Module jdk.compiler not found \
         [package default-jdk-headless]",
    );
    machine.command("java", "echo jdk.compiler@9.0.4");
    machine
        .check()
        .only("java: bin/java is Java 9: 11 or later is needed [package default-jdk-headless]");
}

#[test]
fn rocksdb_is_built_when_nothing_is_missing() {
    let machine = Machine::whole();
    machine.script("repository/scripts/rocksdb.sh", "echo RocksDB is built");
    machine
        .run(&["build"])
        .succeeds()
        .contains("RocksDB is built");
    assert_eq!(machine.run(&["check", "build"]).text, "");
    machine.script("repository/scripts/rocksdb.sh", "exit 7");
    machine.run(&["build"]).fails();
}

#[test]
fn a_long_command_is_seen_to_run_and_ends_with_its_own_code() {
    let mut child = Command::new("bash")
        .arg(flights::root().join("scripts/heartbeat.sh"))
        .args(["building", "bash", "-c", "read -r code; exit \"$code\""])
        .env("THALWEG_HEARTBEAT_SECONDS", "0.01")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .starts_with("still building: 0 min")
    );
    child.stdin.take().unwrap().write_all(b"7\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    // Nothing of it holds the pipe any longer.
    assert!(lines.all(|line| line.unwrap().starts_with("still building")));
}

/// `make` in the repository, with nothing of this environment but what is given.
fn make(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new("make")
        .arg("--no-print-directory")
        .args(arguments)
        .current_dir(flights::root())
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn the_demo_tells_its_steps_and_what_it_left() {
    let text = make(
        &["--dry-run", "demo"],
        &[("PATH", "/usr/bin:/bin"), ("HOME", "/h")],
    );
    let mut rest = text.as_str();
    for part in [
        "step 1 of 3",
        "scripts/setup.sh build",
        "step 2 of 3: building what has changed",
        "step 2 of 3: building, about",
        "heartbeat.sh building cargo build --bin thalweg",
        "step 3 of 3",
        "/h/.cache/thalweg/target/debug/thalweg demo",
        "rm -rf /h/.cache/thalweg\"",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("{part:?} in its place in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!text.contains("--quiet"), "{text}");
}

#[test]
fn make_takes_the_toolchain_of_the_repository() {
    let source = fs::read_to_string(flights::root().join("rust-toolchain.toml")).unwrap();
    let toolchain = source.split('"').nth(1).unwrap();
    let show = "--eval=show: ; @echo $$RUSTUP_TOOLCHAIN $$PATH";
    for (cargo_home, bin) in [("/c", "/c/bin"), ("", "/h/.cargo/bin")] {
        let text = make(
            &[show, "show"],
            &[
                ("PATH", "/usr/bin:/bin"),
                ("HOME", "/h"),
                ("CARGO_HOME", cargo_home),
                ("RUSTUP_TOOLCHAIN", "nightly"),
            ],
        );
        assert_eq!(text, format!("{toolchain} {bin}:/usr/bin:/bin\n"));
    }
}
