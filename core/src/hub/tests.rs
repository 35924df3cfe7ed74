//! Transcripts: what goes in, and what comes out.
