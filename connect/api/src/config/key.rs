//! One configuration key: name, type, default, rule, and its documentation.

use super::ConfigMap;

/// Types of values, with the names that the REST API shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A 32-bit whole number.
    Int,
    /// A 64-bit whole number.
    Long,
    /// A number.
    Double,
    /// Texts separated by commas.
    List,
    /// A class name.
    Class,
    /// Text that no log, answer or trace shows.
    Password,
}

impl ConfigType {
    /// `BOOLEAN`, `STRING`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// How much a key matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Look at it first.
    High,
    /// Look at it when tuning.
    Medium,
    /// Rarely needed.
    Low,
}

impl Importance {
    /// `HIGH`, `MEDIUM`, `LOW`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// How wide a form should draw the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Not said.
    None,
    /// A number.
    Short,
    /// A name.
    Medium,
    /// A path or list.
    Long,
}

impl Width {
    /// `NONE`, `SHORT`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Short => "SHORT",
            Self::Medium => "MEDIUM",
            Self::Long => "LONG",
        }
    }
}

/// What a value has to be beyond its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Anything of the type.
    Any,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A number of at least this.
    AtLeast(i64),
    /// A number within these bounds, both allowed.
    Between(i64, i64),
    /// Not the empty text.
    NotEmpty,
}

impl Rule {
    /// The values that can be listed.
    pub(crate) fn choices(&self) -> Vec<String> {
        match self {
            Self::OneOf(choices) | Self::OneOfIgnoringCase(choices) => {
                choices.iter().map(|&choice| choice.to_owned()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A declared key.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigKey {
    /// Its name.
    pub name: String,
    /// Other names for it, e.g. another vendor's.
    pub aliases: Vec<&'static str>,
    /// Type of its value.
    pub kind: ConfigType,
    /// Whether there has to be a value.
    pub required: bool,
    /// The value when there is none.
    pub default: Option<String>,
    /// What the value has to be.
    pub rule: Rule,
    /// How much it matters.
    pub importance: Importance,
    /// What it means, its unit, and why its default is what it is.
    pub documentation: String,
    /// Heading under which forms show it.
    pub group: Option<String>,
    /// How wide forms draw it.
    pub width: Width,
    /// Label in forms.
    pub display_name: String,
}

impl ConfigKey {
    fn new(name: impl Into<String>, kind: ConfigType, documentation: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            display_name: name.clone(),
            name,
            aliases: Vec::new(),
            kind,
            required: false,
            default: None,
            rule: Rule::Any,
            importance: Importance::Medium,
            documentation: documentation.into(),
            group: None,
            width: Width::None,
        }
    }

    /// A key that has to be given; important.
    pub fn required(
        name: impl Into<String>,
        kind: ConfigType,
        documentation: impl Into<String>,
    ) -> Self {
        Self {
            required: true,
            importance: Importance::High,
            ..Self::new(name, kind, documentation)
        }
    }

    /// A key that may be absent, with or without a default.
    pub fn optional(
        name: impl Into<String>,
        kind: ConfigType,
        default: Option<&str>,
        documentation: impl Into<String>,
    ) -> Self {
        Self {
            default: default.map(str::to_owned),
            ..Self::new(name, kind, documentation)
        }
    }

    /// With a rule for its value.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// With another importance than `MEDIUM`, or `HIGH` for required keys.
    #[must_use]
    pub fn importance(mut self, importance: Importance) -> Self {
        self.importance = importance;
        self
    }

    /// Under a heading.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// With a width.
    #[must_use]
    pub fn width(mut self, width: Width) -> Self {
        self.width = width;
        self
    }

    /// With a label.
    #[must_use]
    pub fn display(mut self, name: impl Into<String>) -> Self {
        self.display_name = name.into();
        self
    }

    /// With other names that mean the same.
    #[must_use]
    pub fn alias(mut self, aliases: &[&'static str]) -> Self {
        self.aliases.extend_from_slice(aliases);
        self
    }

    /// The value that a configuration gives under the name, else under an alias.
    pub fn given<'a>(&self, config: &'a ConfigMap) -> Option<&'a str> {
        config
            .get(&self.name)
            .or_else(|| self.aliases.iter().find_map(|alias| config.get(*alias)))
            .map(String::as_str)
    }
}
