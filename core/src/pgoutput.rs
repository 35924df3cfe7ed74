//! The pure decoder of `pgoutput`, protocol version 1.
