//! Every question, against a real Postgres.

mod history;
mod lease;
mod registry;
mod seam;
mod silence;
mod source;
mod support;
mod together;
