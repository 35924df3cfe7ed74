//! A second slot that sees every commit of a run, whatever becomes of ours: by it the numbers of a run are told.

use dormouse_core::position::Lsn;
use dormouse_core::xid::Xid;
use tokio_postgres::Client;

/// A published commit.
#[derive(Debug, Clone, Copy)]
pub struct Spied {
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    pub xid: Xid,
}

/// The name of its slot.
pub fn slot(run: &str) -> String {
    format!("spy_of_{run}")
}

/// Creates it. It sees what commits from now on, and must not be kept waiting by an open transaction.
pub async fn post(client: &Client, run: &str) {
    let create = format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", slot(run));
    // It waits, as for a lock, for whoever writes at this moment.
    let sql = format!("set lock_timeout = '30s'; {create}; set lock_timeout = '150ms'");
    if let Err(why) = client.batch_execute(&sql).await {
        let running = "select string_agg(format('%s %s %s %s: %s', pid, datname, backend_xid, wait_event, query), '; ') \
             from pg_stat_activity where backend_xid is not null";
        let running = client.query_one(running, &[]).await.expect("answers");
        panic!("no slot for a spy: {why:?} while {:?} run", running.get::<_, Option<String>>(0));
    }
}

/// What it saw, in commit order. It forgets nothing.
pub async fn report(client: &Client, run: &str) -> Vec<Spied> {
    let sql = "select data from pg_logical_slot_peek_binary_changes($1::text::name, null, null, \
         'proto_version', '1', 'publication_names', 'spy')";
    let rows = client.query(sql, &[&slot(run)]).await.expect("the slot is there");
    let mut begun = None;
    let mut seen = Vec::new();
    for row in rows {
        let message: &[u8] = row.get(0);
        match message[0] {
            // `B`: final LSN, commit time, xid. `C`: flags, commit LSN, end LSN, commit time.
            b'B' => begun = Some((lsn(message, 1), u32::from_be_bytes(array(message, 17)))),
            b'C' => {
                let (commit_lsn, xid) = begun.take().expect("it began before it ended");
                let spied = Spied { commit_lsn, end_lsn: lsn(message, 10), xid: Xid(xid.into()) };
                seen.push(spied);
            }
            _ => {}
        }
    }
    seen
}

fn lsn(message: &[u8], at: usize) -> Lsn {
    Lsn(u64::from_be_bytes(array(message, at)))
}

fn array<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    message[at..at + N].try_into().expect("the slice is as long")
}
