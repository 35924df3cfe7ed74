//! The simulator's report of a failure: what it says, and how it behaves in a real Chromium.
//!
//! In this build every safeguard holds, so no committed trace breaks a promise. The report is made of the real run of such a
//! trace, and its last event is declared the violation; `dormouse-sim explain` in the ablation build makes the real ones.

use crate::support::Browser;
use dormouse_sim::cli::read_traces;
use dormouse_sim::engine::subject::Subject;
use dormouse_sim::entity::Entity;
use dormouse_sim::log::{Draft, Log, What};
use dormouse_sim::report::{Explained, Heading, Report, explain};
use dormouse_sim::trace_file::TraceFile;
use dormouse_sim::world::World;
use std::path::Path;

fn trace(name: &str) -> TraceFile {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let all = read_traces(&dir).unwrap_or_else(|why| panic!("{why}"));
    let named = all.into_iter().find(|(path, _)| path.file_stem().is_some_and(|stem| stem == name));
    named.unwrap_or_else(|| panic!("there is a trace of {name}")).1
}

fn report() -> Report {
    let file = trace("ChainedPages");
    let mut world = World::replay(&file, Log::kept_with_states(0));
    world.run();
    assert!(world.violation.is_none(), "every safeguard holds");
    let event = "declared for the test: </script><b id=planted>";
    world.log.add(|_| Draft::new(Entity::Client(0), What::Violation, format!("Complete is broken (test): {event}")));
    let heading = Heading {
        title: "Complete is broken for client/0".into(),
        promise: "Complete".into(),
        sentence: "every committed change takes effect at each client, once".into(),
        entity: "client/0".into(),
        oracle: "test".into(),
        event: event.into(),
        replay: "dormouse-sim replay ChainedPages.trace".into(),
        explain: "dormouse-sim explain ChainedPages.trace --html report.html".into(),
        ..Heading::default()
    };
    Report::of_log(&world.log, dormouse_sim::world::DAWN, heading, file.to_string())
}

#[test]
fn what_holds_is_not_explained() {
    assert!(matches!(explain(&trace("SeamFilter"), "SeamFilter.trace"), Explained::Holds(events) if events > 100));
}

#[test]
fn it_says_what_broke_by_which_choices_and_how_to_see_it_again() {
    let (report, file) = (report(), trace("ChainedPages"));
    let text = report.text();
    for wanted in [
        "Complete is broken for client/0",
        "every committed change takes effect at each client, once",
        "dormouse-sim replay ChainedPages.trace",
        "takes 900 ms instead of",
        "Last changes of client/0",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 130), "it fits a terminal");
    for lane in ["client/0", "hub/0", "replication/0", "postgres", "writer/0"] {
        assert!(report.lanes.iter().any(|known| known == lane), "{lane} has a lane");
    }
    for choice in &file.choices {
        let said = format!("[{} #{}]", choice.kind.name(), choice.n);
        assert!(report.choices.iter().any(|made| report.line(made.entry).contains(&said)), "{said} is told");
    }
    // Every way that ends somewhere begins somewhere, and not later.
    let begins = |link: u32| report.entries.iter().position(|entry| entry.s.contains(&link));
    let mut ways = 0;
    for (n, entry) in report.entries.iter().enumerate() {
        if let Some(link) = entry.g {
            let from = begins(link).unwrap_or_else(|| panic!("way {link} begins nowhere"));
            assert!(from <= n && report.entries[from].t <= entry.t, "way {link} goes back in time");
            ways += 1;
        }
    }
    assert!(ways > 100, "messages are drawn: {ways}");
    let page = report.html();
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(!page.contains("{{") && !page.contains("<b id=planted>"), "everything is filled in, and nothing escapes");
    let outside = page.match_indices("http").filter(|(at, _)| !page[*at..].starts_with("http://www.w3.org/2000/svg"));
    let outside: Vec<_> = outside.filter(|(at, _)| !page[*at..].starts_with("http-equiv")).collect();
    assert!(outside.is_empty(), "it needs nothing else: {outside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_works_at_every_width_and_without_a_mouse() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("report.html");
    std::fs::write(&path, report().html()).expect("written");
    let mut browser = Browser::start().await;
    for size in [(1280, 800), (390, 844)] {
        browser.open(&format!("file://{}", path.display()), size).await;
        browser.until("document.querySelector('#diagram .mark-violation') !== null").await;
        assert_eq!(browser.value("document.querySelector('#planted')").await, serde_json::Value::Null);
        let wide = browser.value("document.documentElement.scrollWidth <= innerWidth").await;
        assert_eq!(wide, true, "nothing sticks out at {size:?}");
        browser.value("document.querySelector('#diagram').scrollIntoView({ block: 'center' })").await;

        browser.hover("#diagram .mark-violation").await;
        browser.until("!document.querySelector('#tip').hidden").await;
        let tip = browser.value("document.querySelector('#tip').textContent").await;
        assert!(tip.as_str().is_some_and(|tip| tip.contains("Complete is broken")), "{tip}");

        let zoom = "Number(document.querySelector('#diagram').dataset.zoom)";
        let at_first = browser.value(zoom).await.as_f64().expect("a number");
        browser.wheel("#diagram", -400).await;
        browser.until(&format!("{zoom} > {at_first}")).await;
        browser.click("#fit").await;
        browser.until(&format!("{zoom} < {at_first}")).await;
        browser.click("#violation").await;
        browser.until("document.querySelector('#diagram .mark-violation') !== null").await;

        browser.value("document.querySelector('#diagram').focus()").await;
        let chosen = "document.querySelector('#detail').dataset.entry";
        let before = browser.value(chosen).await;
        browser.press("ArrowUp").await;
        browser.until(&format!("{chosen} !== {before}")).await;
        let small = browser.value(zoom).await.as_f64().expect("a number");
        browser.press("+").await;
        browser.until(&format!("{zoom} > {small}")).await;

        browser.click("#choices button").await;
        browser.until("document.querySelector('#detail').textContent.includes('900 ms')").await;
        browser.value("document.querySelector('#table').open = true").await;
        browser.until("document.querySelectorAll('#table tbody tr').length > 100").await;
        let nameless = "[...document.querySelectorAll('button, [role], section')].filter((it) => !it.hidden
            && !(it.getAttribute('aria-label') || it.getAttribute('aria-labelledby') || it.textContent.trim()) && it.id !== 'tip').length";
        assert_eq!(browser.value(nameless).await, 0);
        assert_eq!(browser.complaints(), Vec::<String>::new());
    }
}
