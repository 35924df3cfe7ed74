//! The sans-IO machines of Dormouse.
//!
//! Three machines keep the rows of a Postgres database in step with many clients: [`replication`] turns the WAL into
//! history, [`hub`] serves the sessions of one shard, [`client`] holds a replica. They do no IO, read no clock, start no
//! thread and draw no randomness of their own: `dormouse-runtime` drives them in production, `dormouse-sim` drives the
//! same code through crashes, hibernation, reconnects and replication races.
//!
//! ```text
//! Postgres ─ WAL ─▶ source ─▶ Replication ─▶ history ─▶ Hub ─▶ socket ─▶ Client ─▶ store
//!                   (decoded)  (records, announces,      (sessions of       (stages, applies,
//!                               confirms)                 one shard)          acknowledges)
//! ```
//!
//! Each is a [`machine::Machine`]: facts go in, commands come out, and what needs the outside is a question
//! ([`ask::Ask`]) that the driver answers. A client, driven by hand:
//!
//! ```
//! use dormouse_core::ask::Incarnation;
//! use dormouse_core::client::{Client, Config, Input, Output};
//! use dormouse_core::machine::Machine;
//! use dormouse_core::session::ClientId;
//! use dormouse_core::store::Held;
//! use dormouse_core::time::Timestamp;
//! use dormouse_core::wire::ClientMessage;
//!
//! let mut client = Client::new(Config::new(ClientId::new("tablet-7")?));
//! let now = Timestamp::ZERO;
//! client.handle(now, Input::Started { incarnation: Incarnation(1), instance: 42, held: Held::default() });
//! let socket = loop {
//!     match client.poll_output().expect("it wants to dial") {
//!         Output::Dial { socket } => break socket,
//!         _ => {} // It tells the application what it does.
//!     }
//! };
//! client.handle(now, Input::Connected { socket });
//! let outputs = std::iter::from_fn(|| client.poll_output());
//! let greeted = outputs.into_iter().any(|output| {
//!     matches!(output, Output::Send { message: ClientMessage::Hello(hello), .. } if hello.attempt == 1)
//! });
//! assert!(greeted && client.poll_timeout().is_some(), "it waits for its welcome, but not for ever");
//! # Ok::<(), &'static str>(())
//! ```
//!
//! Begin reading at [`position`] and [`change`] (what travels), [`wire`] (what is said), [`safeguard`] (every mechanism that
//! prevents a race, by name), then the machine that you care for. `docs/DESIGN.md` tells why.

pub mod ask;
pub mod change;
pub mod client;
pub mod fault;
pub mod history;
pub mod hub;
pub mod limits;
pub mod lineage;
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
