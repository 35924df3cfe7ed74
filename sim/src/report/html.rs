//! The report as one page that needs nothing else.

use super::Report;

const PAGE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPTS: [&str; 3] =
    [include_str!("assets/base.js"), include_str!("assets/diagram.js"), include_str!("assets/page.js")];

impl Report {
    /// The page. The data stands in it as JSON, in which no `<` is left to end the element around it.
    #[must_use]
    pub fn html(&self) -> String {
        let data = serde_json::to_string(self).unwrap_or_else(|why| format!("{{\"error\":\"{why}\"}}"));
        let data = data.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        // The data comes last: nothing in it is taken for a place to be filled.
        PAGE.replace("{{title}}", &escape(&self.heading.title))
            .replace("{{style}}", STYLE)
            .replace("{{script}}", &SCRIPTS.concat())
            .replace("{{text}}", &escape(&self.text()))
            .replace("{{data}}", &data)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
