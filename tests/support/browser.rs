//! A real Chromium without a window, driven over its own protocol.

use super::PATIENCE;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{TokioAdapter, client_async};
use async_tungstenite::tungstenite::Message;
use dormouse_runtime::demo::process;
use futures::StreamExt;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::Instant;

const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "about:blank",
];

/// One browser with one tab. Dropped, it leaves nothing.
pub struct Browser {
    socket: WebSocketStream<TokioAdapter<TcpStream>>,
    session: String,
    asked: u64,
    /// What the page complained about: errors of the console, exceptions, violated policies.
    complaints: Vec<String>,
    child: Child,
    _dir: TempDir,
}

impl Browser {
    /// Starts it.
    pub async fn start() -> Self {
        let on_path = |name: &&str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
        };
        let program = PROGRAMS.iter().find(|name| on_path(name));
        let program = program.expect("these tests need Chromium: install it with `apt-get install chromium`");
        let dir = tempfile::Builder::new().prefix("dormouse-browser-").tempdir().expect("a folder");
        process::sweep_after_us(dir.path());
        let mut command = process::bound(program, "KILL");
        command.arg(format!("--user-data-dir={}", dir.path().display())).args(ARGUMENTS);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = process::spawn(command).expect("the browser starts");
        let (port, path) = address(dir.path()).await;
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the browser listens");
        let (socket, _) = client_async(format!("ws://127.0.0.1:{port}{path}"), stream).await.expect("it takes us");
        let mut browser = Self { socket, session: String::new(), asked: 0, complaints: Vec::new(), child, _dir: dir };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Opens a page at a size in CSS pixels.
    pub async fn open(&mut self, url: &str, (width, height): (u32, u32)) {
        self.resize((width, height)).await;
        self.ask("Page.navigate", json!({ "url": url })).await;
    }

    /// Gives the page another size; below 500 pixels as a phone.
    pub async fn resize(&mut self, (width, height): (u32, u32)) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The value of an expression in the page; promises are awaited.
    pub async fn value(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", ask).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true, and says what the page shows if it never is.
    pub async fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(expression).await != true {
            if Instant::now() > deadline {
                let text = self.value("document.body.innerText").await;
                panic!("never true: {expression}\n{}\n{:#?}", text.as_str().unwrap_or_default(), self.complaints);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Clicks into the middle of an element, as a mouse does.
    pub async fn click(&mut self, selector: &str) {
        let middle = format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center' }});
                const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let middle = self.value(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": middle[0], "y": middle[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Moves the mouse onto the middle of an element that is in view.
    pub async fn hover(&mut self, selector: &str) {
        let (x, y) = self.middle(selector).await;
        self.ask("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": x, "y": y })).await;
    }

    /// Turns the wheel over an element that is in view; more than 0 is down.
    pub async fn wheel(&mut self, selector: &str, down: i32) {
        let (x, y) = self.middle(selector).await;
        let event = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": down });
        self.ask("Input.dispatchMouseEvent", event).await;
    }

    async fn middle(&mut self, selector: &str) -> (Value, Value) {
        let middle = format!(
            "(() => {{ const r = document.querySelector({selector:?}).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let middle = self.value(&middle).await;
        (middle[0].clone(), middle[1].clone())
    }

    /// Presses and releases a key.
    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "Tab" => (9, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            "+" => (187, "+"),
            "-" => (189, "-"),
            other => panic!("the key {other} is not known here"),
        };
        let event = |kind: &str| json!({ "type": kind, "key": key, "code": if key == " " { "Space" } else { key }, "windowsVirtualKeyCode": code, "text": text });
        self.ask("Input.dispatchKeyEvent", event("keyDown")).await;
        self.ask("Input.dispatchKeyEvent", event("keyUp")).await;
    }

    /// What the page complained about since the last look.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).await.expect("the browser lives");
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("it answers");
            let frame = frame.expect("the browser lives").expect("a frame");
            let Message::Text(text) = frame else { continue };
            let mut message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == self.asked {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(parameters["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.complaints.push(parameters["args"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.complaints.push(parameters["entry"]["text"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let mut pids = process::children_of(self.child.id());
        pids.push(self.child.id());
        process::signal("KILL", &pids);
        let _ = self.child.wait();
    }
}

/// The browser writes down where it listens once it does.
async fn address(dir: &Path) -> (u16, String) {
    let file = dir.join("DevToolsActivePort");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n') {
            return (port.parse().expect("a port"), path.trim().to_owned());
        }
        assert!(Instant::now() < deadline, "Chromium did not start");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
