//! What arrives is what was sent, in every format.

use dormouse_core::change::Page;
use dormouse_core::wire::ServerMessage;

/// Whether a message is the one that was sent, as far as that travels: of its rows, how many there are.
///
/// Rows that arrive as others are noticed by whoever compares contents; when and where a transaction was committed is not.
pub fn as_sent(heard: &ServerMessage, sent: &ServerMessage) -> bool {
    match (heard, sent) {
        (ServerMessage::Page(heard), ServerMessage::Page(sent)) => {
            heard.after == sent.after && heard.through == sent.through && same_transactions(heard, sent)
        }
        (
            ServerMessage::Seam { backfill, n, page, complete },
            ServerMessage::Seam { backfill: of, n: number, page: sent, complete: at },
        ) => {
            let pages = match (page, sent) {
                (Some(page), Some(sent)) => same_transactions(page, sent),
                (page, sent) => page.is_none() && sent.is_none(),
            };
            (backfill, n, complete) == (of, number, at) && pages
        }
        (
            ServerMessage::Chunk { backfill, n, of: rows, chunk },
            ServerMessage::Chunk { backfill: of, n: number, of: all, chunk: sent },
        ) => (backfill, n, rows, chunk.rows.len()) == (of, number, all, sent.rows.len()),
        (ServerMessage::Page(_) | ServerMessage::Seam { .. } | ServerMessage::Chunk { .. }, _) => false,
        (heard, sent) => heard == sent,
    }
}

fn same_transactions(heard: &Page, sent: &Page) -> bool {
    heard.transactions.len() == sent.transactions.len()
        && heard.transactions.iter().zip(&sent.transactions).all(|(heard, sent)| {
            (heard.commit_lsn, heard.xid, heard.committed_at) == (sent.commit_lsn, sent.xid, sent.committed_at)
                && (heard.first, heard.complete, heard.changes.len()) == (sent.first, sent.complete, sent.changes.len())
        })
}
