//! Where a demo puts its data, and what it says at the end.

use std::ffi::OsStr;
use std::path::Path;

use super::{free_folder, next_steps};

#[test]
fn a_second_run_takes_a_folder_of_its_own() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["thalweg-demo", "thalweg-demo-2", "thalweg-demo-3"] {
        let folder = free_folder(parent.path());
        assert_eq!(folder, parent.path().join(name));
        std::fs::create_dir_all(folder.join("log")).unwrap();
    }
}

#[test]
fn what_to_type_next_works_as_it_stands() {
    let program = Path::new("/build/debug/thalweg");
    let text = next_steps(Path::new("demo-data"), program, OsStr::new("/usr/bin:/bin"));
    assert!(
        text.contains("\n  export PATH=\"/build/debug:$PATH\"\n  thalweg sql --data demo-data\n"),
        "{text}"
    );
    assert!(text.ends_with("rm -rf demo-data"), "{text}");

    let on_path = next_steps(Path::new("d"), program, OsStr::new("/bin:/build/debug"));
    assert!(!on_path.contains("export PATH"), "{on_path}");

    let odd = next_steps(Path::new("ada's data"), program, OsStr::new(""));
    assert!(odd.ends_with("rm -rf 'ada'\\''s data'"), "{odd}");
}
