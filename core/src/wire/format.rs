//! The forms in which messages travel, each a WebSocket subprotocol.

use std::fmt;

/// How the messages of one connection travel, as its upgrade agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Format {
    /// Each message is a text of JSON.
    #[default]
    Json,
    /// The same, and large messages of the server come deflated, as binary messages.
    JsonDeflate,
    /// What is sent often is binary ([`super::binary`]), all else a text of JSON.
    Binary,
    /// The same, and large messages of the server come deflated.
    BinaryDeflate,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::JsonDeflate, Self::Binary, Self::BinaryDeflate];

    /// The WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "dormouse.v1.json",
            Self::JsonDeflate => "dormouse.v1.json.deflate",
            Self::Binary => "dormouse.v1.binary",
            Self::BinaryDeflate => "dormouse.v1.binary.deflate",
        }
    }

    /// The format of a subprotocol.
    #[must_use]
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.subprotocol().eq_ignore_ascii_case(name))
    }

    /// Whether what is sent often is binary.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::BinaryDeflate)
    }

    /// Whether the server's large messages come deflated.
    #[must_use]
    pub const fn deflates(self) -> bool {
        matches!(self, Self::JsonDeflate | Self::BinaryDeflate)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.subprotocol())
    }
}
