//! The server, the native client and the command line of Dormouse.

pub mod demo;
