//! The demo's page in a real Chromium: what people see first.

use crate::support::site::connect;
use crate::support::{Browser, Show};
use serde_json::Value;

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

/// Every client is in this phase.
fn all_are(phase: &str) -> String {
    format!("[...document.querySelectorAll('.client [data-is=phase]')].every((it) => it.textContent === '{phase}')")
}

async fn open(show: &Show) -> Browser {
    let mut browser = Browser::start().await;
    browser.open(&show.url, DESKTOP).await;
    browser.until("document.querySelectorAll('.client').length === 2").await;
    browser.until(&all_are("live")).await;
    browser
}

/// Lets nothing be written but what the test writes.
async fn pause(browser: &mut Browser) {
    browser.click("#writer").await;
    browser.until("document.querySelector('#writer').getAttribute('aria-pressed') === 'true'").await;
}

/// Every client holds exactly what Postgres holds: by the page's own comparison, and by ours of what it shows.
async fn converges(browser: &mut Browser, show: &Show) {
    browser.until(&all_are("live")).await;
    let url = show.database_url.as_deref().expect("a private database");
    let sql = connect(url).await;
    let n: i32 = sql.query_one("select n from dormouse_demo.till", &[]).await.expect("a till").get(0);
    browser
        .until(&format!(
            "[...document.querySelectorAll('.client [data-is=verdict]')].every(({{ dataset }}) => dataset.at === '{n}' && dataset.verdict === 'same')"
        ))
        .await;
    let board = "select string_agg(concat_ws('|', id, guest, tea, state, degrees, to_char(cents / 100.0, 'FM990.00')), E'\\n' order by id)
        from dormouse_demo.orders";
    let board: String = sql.query_one(board, &[]).await.expect("a board").get(0);
    // What is held is painted with the next frame.
    let shown = "[...document.querySelectorAll('.client')].map((client) => [...client.querySelectorAll('tbody tr')]
        .map((row) => [...row.cells].map((cell) => cell.textContent).join('|')).join('\\n'))";
    browser.until(&format!("{shown}.every((board) => board === {})", Value::from(board))).await;
    let wrong =
        browser.value("[...document.querySelectorAll('.client [data-is=wrong]')].map((it) => it.textContent)").await;
    assert!(wrong.as_array().is_some_and(|all| all.iter().all(|one| one == "0 · 0")), "lost or twice: {wrong}");
}

async fn applied(browser: &mut Browser) -> Vec<u64> {
    let texts = browser.value("[...document.querySelectorAll('.client [data-is=applied]')].map((it) => it.textContent.replaceAll(',', ''))").await;
    texts
        .as_array()
        .expect("a list")
        .iter()
        .map(|text| text.as_str().expect("text").parse().expect("a number"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lives_at_every_width_and_without_a_mouse() {
    let show = Show::start(&[]).await;
    let mut browser = open(&show).await;
    let at_first = applied(&mut browser).await;
    browser
        .until(&format!("document.querySelector('.client [data-is=applied]').textContent !== '{}'", at_first[0]))
        .await;
    browser.until("document.querySelector('#server-phase').textContent === 'streaming'").await;
    browser.until("/^p50 [0-9.]+ m?s · p99 [0-9.]+ m?s$/.test(document.querySelector('#latency').textContent)").await;
    assert_eq!(browser.value("document.documentElement.scrollHeight <= innerHeight").await, true, "one screen");
    for size in [DESKTOP, PHONE, (320, 640), (768, 1024)] {
        browser.resize(size).await;
        let sizes = "[document.documentElement.scrollWidth, innerWidth, document.querySelectorAll('button:not([hidden])').length]";
        let sizes = browser.value(sizes).await;
        assert!(sizes[0].as_u64() <= sizes[1].as_u64(), "at {size:?} something sticks out: {sizes}");
        let small =
            "[...document.querySelectorAll('button')].filter((it) => it.offsetParent && it.offsetHeight < 30).length";
        assert_eq!(browser.value(small).await, 0, "buttons can be hit");
    }

    // With the keyboard alone: to the first button, and press it.
    browser.resize(DESKTOP).await;
    pause(&mut browser).await;
    browser.value("document.querySelector('#write').focus()").await;
    let orders = "Math.max(...[...document.querySelectorAll('.client:first-child tbody th')].map((it) => Number(it.textContent)))";
    let newest = browser.value(orders).await.as_u64().expect("a number");
    browser.press("Enter").await;
    browser.until(&format!("[...document.querySelectorAll('.client tbody')].every((it) => it.lastElementChild.cells[0].textContent > {newest})")).await;
    browser.press("Tab").await;
    assert_eq!(browser.value("document.activeElement.id").await, "burst");
    assert_ne!(
        browser.value("getComputedStyle(document.activeElement).outlineStyle").await,
        "none",
        "the focus is seen"
    );

    // What a screen reader needs.
    let nameless = "[...document.querySelectorAll('button, canvas, section, [role=group]')]
        .filter((it) => !(it.getAttribute('aria-label') || it.getAttribute('aria-labelledby') || it.textContent.trim())).length";
    assert_eq!(browser.value(nameless).await, 0);
    let tables = "[...document.querySelectorAll('table')].every((it) => it.caption.textContent && [...it.querySelectorAll('th')].every((th) => th.scope))";
    assert_eq!(browser.value(tables).await, true);
    browser.until("/One order written/.test(document.querySelector('[aria-live=polite]').textContent)").await;

    converges(&mut browser, &show).await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_client_catches_up_exactly() {
    let show = Show::start(&[]).await;
    let mut browser = open(&show).await;
    pause(&mut browser).await;
    converges(&mut browser, &show).await;
    let before = applied(&mut browser).await;
    browser.click("[data-client=A] [data-is=cut]").await;
    browser.until("document.querySelector('[data-client=A] [data-is=phase]').textContent === 'cut'").await;
    browser.click("#burst").await;
    browser.until("/^10,000 changes committed/.test(document.querySelector('#news').textContent)").await;
    browser.until("/^200 tx/.test(document.querySelector('[data-client=A] [data-is=lag]').textContent)").await;
    assert_eq!(applied(&mut browser).await[0], before[0], "a cut client hears nothing");

    // A transaction larger than any page, on its way when the line is cut again.
    let large = "begin; update dormouse_demo.till set n = n + 1;
        insert into dormouse_demo.receipts select i, 'Bill the Lizard', 1, 0 from generate_series(10001, 40000) i; commit";
    connect(show.database_url.as_deref().expect("private")).await.batch_execute(large).await.expect("written");
    browser.click("[data-client=A] [data-is=cut]").await;
    browser.until("document.querySelector('[data-client=A] [data-is=phase]').textContent !== 'cut'").await;
    browser.click("[data-client=A] [data-is=cut]").await;
    browser.until("document.querySelector('[data-client=A] [data-is=phase]').textContent === 'cut'").await;
    browser.click("[data-client=A] [data-is=cut]").await;
    converges(&mut browser, &show).await;
    let after = applied(&mut browser).await;
    assert_eq!((after[0] - before[0], after[1] - before[1]), (40_001, 40_001), "each change once, and no first sync");

    browser.click("#hibernate").await;
    browser.until("/hubs were dropped/.test(document.querySelector('#news').textContent)").await;
    browser.click("#write").await;
    converges(&mut browser, &show).await;
    assert!(applied(&mut browser).await[1] > after[1], "the next change came, over the same socket");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back() {
    let show = Show::start(&[]).await;
    let mut browser = open(&show).await;
    browser.click("#kill").await;
    browser.until("document.querySelector('#server-phase').textContent === 'killed'").await;
    assert_ne!(browser.value(&all_are("live")).await, true, "nobody is live without a server");
    browser.click("#burst").await; // Postgres takes writes all the same.
    browser.until("/life 2$/.test(document.querySelector('#process').textContent)").await;
    browser.until("document.querySelector('#server-phase').textContent === 'streaming'").await;
    browser.click("#add").await;
    browser.until("document.querySelectorAll('.client').length === 3").await;
    pause(&mut browser).await;
    browser.until("!document.querySelector('#burst[aria-disabled]')").await;
    converges(&mut browser, &show).await;
    let changes = applied(&mut browser).await;
    assert!(changes[0] >= 10_000 && changes[1] >= 10_000, "they went on from what they held: {changes:?}");
    browser.click("[data-client=C] [data-is=remove]").await;
    browser.until("document.querySelectorAll('.client').length === 2 && document.activeElement.id === 'add'").await;
    // A dead server refuses sockets, which the browser notes; nothing else may be wrong.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|one| one.contains("WebSocket connection to")), "{complaints:#?}");
}
