//! Pages are parsed once for all clients of a process: what comes again, byte for byte, is known already.

use super::message::{self, Message};
use std::collections::VecDeque;
use std::rc::Rc;

/// The most frames that are remembered.
const FRAMES_MAX: usize = 256;
/// The most bytes that are remembered; one frame more may be.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How pages begin. The rest differs from client to client.
const PAGE: &[u8] = br#"{"type":"page""#;

/// Pages that came lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    frames: VecDeque<(Box<[u8]>, Rc<Message>)>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    base: u64,
    /// The shape of the numbered table.
    shape: u64,
    /// All pages with the count of their numbers, for who wants to send the same ones.
    pub(super) kept: Option<Vec<(Box<[u8]>, usize)>>,
}

impl Recent {
    /// Numbers up to `base` are those of earlier runs.
    pub(super) fn new(keep: bool, base: u64) -> Self {
        Self { kept: keep.then(Vec::new), base, ..Self::default() }
    }

    /// What a text says. `last` is the number of the page that this client had last, and becomes that of this one.
    pub(super) fn parse(&mut self, text: &[u8], last: &mut u64) -> Result<Rc<Message>, String> {
        if !text.starts_with(PAGE) {
            let message = self.parse_new(text)?;
            if let Message::Shape(shape) = message {
                self.shape = shape;
            }
            return Ok(Rc::new(message));
        }
        if let Some((number, message)) = self.find(text, *last + 1) {
            *last = number;
            return Ok(message);
        }
        let message = Rc::new(self.parse_new(text)?);
        self.bytes += text.len();
        self.frames.push_back((text.into(), Rc::clone(&message)));
        *last = self.first + self.frames.len() as u64 - 1;
        if let Some(kept) = &mut self.kept {
            let numbers = if let Message::Page(page) = &*message {
                page.numbers.iter().filter(|number| u64::from(**number) > self.base).count()
            } else {
                0
            };
            kept.push((text.into(), numbers));
        }
        while self.frames.len() > FRAMES_MAX || (self.bytes > BYTES_MAX && self.frames.len() > 1) {
            if let Some((text, _)) = self.frames.pop_front() {
                self.bytes -= text.len();
                self.first += 1;
            }
        }
        Ok(message)
    }

    /// Clients that go the same way find the page after their last one; others look at all.
    fn find(&self, text: &[u8], expected: u64) -> Option<(u64, Rc<Message>)> {
        let is_it = |n: usize| self.frames.get(n).filter(|(known, _)| **known == *text);
        let expected = usize::try_from(expected.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let found = is_it(expected)
            .map(|found| (expected, found))
            .or_else(|| (0..self.frames.len()).rev().find_map(|n| Some((n, is_it(n)?))));
        found.map(|(n, (_, message))| (self.first + n as u64, Rc::clone(message)))
    }

    fn parse_new(&self, text: &[u8]) -> Result<Message, String> {
        message::parse(std::str::from_utf8(text).map_err(|why| why.to_string())?, self.shape)
    }
}
