//! The sans-IO machines of Dormouse.
//!
//! Three machines keep the rows of a Postgres database in step with many clients: [`replication`] turns the WAL into
//! history, [`hub`] serves the sessions of one shard, [`client`] holds a replica. They do no IO, read no clock, start no
//! thread and draw no randomness of their own: `dormouse-runtime` drives them in production, `dormouse-sim` drives the
//! same code through crashes, hibernation, reconnects and replication races.

pub mod ask;
pub mod change;
pub mod client;
pub mod fault;
pub mod history;
pub mod hub;
pub mod limits;
pub mod machine;
pub mod pgoutput;
pub mod position;
pub mod replication;
pub mod rng;
pub mod row;
pub mod safeguard;
pub mod session;
pub mod source;
pub mod store;
pub mod sum;
pub mod time;
pub mod timers;
pub mod wire;
pub mod xid;
