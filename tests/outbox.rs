//! What waits for all clients together is bounded: who reads nothing is let go, and the others notice nothing.

use crate::support::{Raw, Site, eventually, http};
use dormouse_core::change::Scope;
use dormouse_core::session::ClientId;
use dormouse_core::wire::{ClientMessage, Hello, Resume, ServerMessage};

/// Each of these bytes takes six in JSON: a window of them is more than two sockets' buffers hold.
const WIDE: &str = "create table wide (id int primary key, text text); \
                    insert into wide select n, repeat(chr(1), 100000) from generate_series(1, 60) n";

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_let_go_when_too_much_waits_for_all() {
    let site = Site::start_with(WIDE, &[], &["--outbox-max-mib", "1"]).await;
    let mut slow = Raw::dial(site.server.port()).await;
    slow.say(&ClientMessage::Hello(Hello {
        client: ClientId::new("slow").expect("valid"),
        instance: Some(1),
        attempt: 1,
        token: None,
        scope: Scope::All,
        resume: Resume::Nothing,
    }))
    .await;
    let metrics = async || http::get(site.server.port(), "/metrics", &[]).await.body;
    eventually("it is let go", async || metrics().await.contains("dormouse_refusals_total{code=\"unavailable\"} 1"))
        .await;
    let metrics = metrics().await;
    let waits = metrics.lines().find_map(|line| line.strip_prefix("dormouse_memory_bytes{kind=\"outbox\"} "));
    let waits: usize = waits.and_then(|bytes| bytes.parse().ok()).expect("it is counted");
    assert!(waits <= 1 << 20, "{waits} bytes wait");
    let mut told = None;
    while let Some(message) = slow.next().await {
        if let ServerMessage::Fault(fault) = message {
            told = Some(fault);
        }
    }
    // The last frames come behind what the kernel holds, if it is read in time.
    if let Some(fault) = told {
        assert!(fault.code.worth_retrying() && fault.message.contains("connect again in"), "{fault:?}");
    }
    site.execute("delete from wide where id > 5; update wide set text = 'short'").await;
    let quick = site.live_client("quick").await;
    assert_eq!(quick.status().borrow().welcomes, 1, "others are served");
    site.verify().await;
}
