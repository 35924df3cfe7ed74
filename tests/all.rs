//! Dormouse against real Postgres servers, real sockets and real kills. One test binary, so that it links once.

mod access;
mod browser;
mod chaos;
mod commands;
mod conformance;
mod demo;
mod doctor;
mod end_to_end;
mod hostile;
mod library;
mod observability;
mod operations;
mod packaging;
mod polling;
mod python;
mod record;
mod report;
mod scenarios;
mod schema;
mod seam;
mod setup;
mod store;
mod support;
mod tidy;
mod tls;
mod traces;
