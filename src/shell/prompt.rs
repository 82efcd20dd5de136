//! The line editor: history, multi-line statements, completion, highlighting.

use std::borrow::Cow;
use std::path::PathBuf;

use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, default_emacs_keybindings,
};

use super::client::Object;
use super::completer::SqlCompleter;
use super::highlighter::SqlHighlighter;
use super::menu::QuietMenu;
use super::way_out::{Lacking, StatementEnd, WayOut};
use crate::screen;

/// Lines of history that are kept.
const HISTORY_LINES: usize = 10_000;

/// `thalweg> ` and, inside a statement, what it lacks: `   ...;> `.
pub(crate) struct Prompt(Lacking);

/// An editor that completes keywords and the names of the catalog, and its prompt.
pub(crate) fn editor(objects: Vec<Object>) -> (Reedline, Prompt) {
    let lacking = Lacking::new();
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu("completion".to_owned()),
            ReedlineEvent::MenuNext,
        ]),
    );
    let menu = QuietMenu(ColumnarMenu::default().with_name("completion"));
    let mut editor = Reedline::create()
        .with_validator(Box::new(StatementEnd(lacking.clone())))
        .with_hinter(Box::new(WayOut::default()))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        // A single candidate is taken at once, what all candidates have in common too.
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_ansi_colors(screen::color_wanted());
    if screen::color_wanted() {
        editor = editor.with_highlighter(Box::new(SqlHighlighter));
    }
    if let Some(path) = history_file() {
        // Without a writable home the shell works, only without memory.
        if let Ok(history) = FileBackedHistory::with_file(HISTORY_LINES, path) {
            editor = editor.with_history(Box::new(history));
        }
    }
    (with_objects(editor, objects), Prompt(lacking))
}

/// The same editor with other names to complete.
pub(crate) fn with_objects(editor: Reedline, objects: Vec<Object>) -> Reedline {
    editor.with_completer(Box::new(SqlCompleter::new(objects)))
}

fn history_file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    Some(base.join("thalweg/history"))
}

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("thalweg")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Owned(format!("   ...{}> ", self.0.sign()))
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}
