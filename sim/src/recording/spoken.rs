//! The steps as entries of a log, with what went from whom to whom.
//!
//! The recording holds what reached the machines and what left them. Of clients and database it knows only that: what a hub sends
//! stands at the client when it is handed to the socket, a question at the database when it is asked, and its answer when it is heard.

use super::Told;
use super::film::{Film, Happened, Scene};
use super::survey::{Survey, name};
use crate::entity::Entity;
use crate::log::words;
use crate::log::{Draft, Link, Log, Names, What};
use crate::oracle::Promise;
use crate::report::{Heading, Report, sentence};
use dormouse_core::hub::{self, Recipients};
use dormouse_core::replication;
use dormouse_core::session::SessionId;
use std::collections::BTreeMap;
use std::path::Path;

/// The report of a film.
pub(super) fn report(path: &Path, survey: &Survey, mut film: Film) -> Told {
    let taking_part: Vec<_> = film.scenes.iter().flat_map(sessions).collect();
    film.cast.draw(taking_part.into_iter());
    let mut speaker = Speaker { log: Log::kept_with_states(0), names: BTreeMap::new(), film: &film, frames: 0 };
    for (event, scene) in film.scenes.iter().enumerate() {
        speaker.log.turn(scene.at, event as u64 + 1);
        speaker.say(scene);
        if let Some(state) = &scene.state {
            speaker.log.state(scene.lane, || state.clone());
        }
        if let Some(trouble) = &scene.trouble {
            speaker.log.add(|_| Draft::new(scene.lane, What::Violation, trouble.what.clone()));
        }
    }
    let heading = heading(path, survey, &film);
    let ok = heading.promise.is_empty() && survey.unreadable.is_empty();
    let mut report = Report::of_log(&speaker.log, survey.started(), heading, String::new());
    report.left_out += film.left_out as u64;
    Told { report, ok }
}

fn heading(path: &Path, survey: &Survey, film: &Film) -> Heading {
    let dir = path.display();
    let mut about = Heading {
        title: "A flight recording".into(),
        events: film.scenes.len() as u64,
        replay: format!("dormouse-sim replay {dir}"),
        explain: format!("dormouse-sim explain {dir} --html report.html"),
        ..Heading::default()
    };
    let (steps, by_then) = (film.steps, if film.steps < survey.times.len() { " by then" } else { "" });
    about.event = format!("every one of its {steps} steps{by_then} led to the same outputs again");
    if film.left_out > 0 {
        about.event += &format!("; the last {} are told", steps - film.left_out);
    }
    if let Some((scene, trouble)) = film.scenes.iter().find_map(|scene| Some((scene, scene.trouble.as_ref()?))) {
        (about.promise, about.sentence) = match trouble.invariant {
            true => (Promise::Invariant.to_string(), sentence(Promise::Invariant).into()),
            false => ("Faithful".into(), "a machine that is told the same again says the same again".into()),
        };
        about.entity = scene.lane.to_string();
        about.oracle = "replay".into();
        about.title = format!("{} is broken for {}", about.promise, scene.lane);
        about.event = trouble.what.clone();
        let file = if path.is_dir() { path.join(name(&trouble.file)) } else { path.into() };
        about.replay = format!("dormouse-sim replay {} --around {}", file.display(), trouble.n);
    }
    let fact = |name: &str, value: String| (name.to_owned(), value);
    about.facts = vec![fact("recording", dir.to_string())];
    if let Some((_, header)) = survey.segments.first() {
        about.facts.push(fact("recorded by", format!("dormouse {}", header.build)));
        if header.build != env!("DORMOUSE_VERSION") {
            let now = env!("DORMOUSE_VERSION");
            about.facts.push(fact("replayed by", format!("{now}; another build may rightly say something else")));
        }
        if header.redacted {
            about.facts.push(fact("redacted", "contents were dropped, and only their lengths are kept".into()));
        }
    }
    about.facts.push(fact("times", format!("in seconds since the process began to record, at {} s", survey.started())));
    if survey.earlier > 0 {
        let earlier = survey.earlier;
        about.facts.push(fact("earlier", format!("{earlier} segments of earlier processes are not told")));
    }
    about.facts.extend(film.cast.facts());
    about.facts.extend(survey.unreadable.iter().map(|what| fact("cannot be read", what.clone())));
    about
}

/// The sessions with which a step has to do.
fn sessions(scene: &Scene) -> Vec<(u8, SessionId)> {
    let Happened::Hub(hub, input, outputs) = &scene.what else { return Vec::new() };
    let heard = match input {
        Some(
            hub::Input::Opened { session, .. }
            | hub::Input::Received { session, .. }
            | hub::Input::Closed { session, .. },
        ) => Some(*session),
        _ => None,
    };
    let sent = outputs.iter().flat_map(|output| match output {
        hub::Output::Send { to: Recipients::One(to), .. } => vec![*to],
        hub::Output::Send { to: Recipients::Many(to), .. } => to.to_vec(),
        _ => Vec::new(),
    });
    heard.into_iter().chain(sent).map(|session| (*hub, session)).collect()
}

struct Speaker<'f> {
    log: Log,
    names: BTreeMap<u8, Names>,
    film: &'f Film,
    frames: u64,
}

impl Speaker<'_> {
    fn say(&mut self, scene: &Scene) {
        match &scene.what {
            Happened::Life(what, text) => self.log.add(|_| Draft::new(scene.lane, *what, text.clone())),
            Happened::Replication(input, outputs) => {
                self.replication_hears(input.as_ref());
                outputs.iter().for_each(|output| self.replication_says(output));
            }
            Happened::Hub(hub, input, outputs) => {
                let cast = &self.film.cast;
                let names = self.names.entry(*hub).or_insert_with(|| cast.names(*hub)).clone();
                self.log.know(names);
                self.hub_hears(*hub, input.as_ref());
                outputs.iter().for_each(|output| self.hub_says(*hub, output));
            }
        }
    }

    fn replication_hears(&mut self, input: Option<&replication::Input>) {
        let lane = Entity::Replication(0);
        let Some(input) = input else { return self.log.add(|_| words::timer(lane)) };
        let hears = words::replication_input(0, input);
        if let Some(answer) = words::replication_reply(input) {
            let minor = hears.is_minor();
            self.log.add(|_| words::answered(lane, Some(answer), &"", true, minor));
        }
        self.log.add(|_| hears);
    }

    fn replication_says(&mut self, output: &replication::Output) {
        let lane = Entity::Replication(0);
        let says = words::replication_output(0, output);
        let minor = says.is_minor();
        self.log.add(|_| says);
        if let replication::Output::Announce(announcement) = output {
            let head = announcement.head;
            for hub in &self.film.hubs {
                self.log.sends(lane, || Link::Announcement(*hub, head.position(), head.covered));
            }
        } else if let replication::Output::Confirm { lsn } = output {
            self.log.add(|_| words::confirmed(0, *lsn));
        } else if let Some(question) = words::replication_question(output) {
            self.log.add(|_| words::asked(lane, Some(question), &"", minor));
        }
    }

    fn hub_hears(&mut self, hub: u8, input: Option<&hub::Input>) {
        let lane = Entity::Hub(hub);
        let Some(input) = input else { return self.log.add(|_| words::timer(lane)) };
        let hears = words::hub_input(hub, input, self.log.known());
        match input {
            hub::Input::Received { session, message } => {
                if let Some(client) = self.film.cast.lane(hub, *session) {
                    let (link, what) = (self.frame(true), message.as_ref().map(words::client_message));
                    let what = what.unwrap_or_else(|_| "garbage".into());
                    self.log.add(|_| Draft::new(client, What::Sent, format!("sent {what}")).sends(link));
                    self.log.arrives(|| link);
                }
            }
            hub::Input::Opened { session, .. } => {
                if let Some(Entity::Client(client)) = self.film.cast.lane(hub, *session) {
                    let link = Link::Dial { client, life: hub.into(), socket: session.serial };
                    self.log.add(|_| Draft::new(Entity::Client(client), What::Sent, "dialled".into()).sends(link));
                    self.log.arrives(|| link);
                }
            }
            hub::Input::Announced(announcement) => {
                let head = announcement.head;
                self.log.arrives(|| Link::Announcement(hub, head.position(), head.covered));
            }
            _ => {
                if let Some(answer) = words::hub_reply(input) {
                    let minor = hears.is_minor();
                    self.log.add(|_| words::answered(lane, Some(answer), &"", true, minor));
                }
            }
        }
        self.log.add(|_| hears);
    }

    fn hub_says(&mut self, hub: u8, output: &hub::Output) {
        let lane = Entity::Hub(hub);
        let says = words::hub_output(hub, output, self.log.known());
        let minor = says.is_minor();
        self.log.add(|_| says);
        match output {
            hub::Output::Send { to: Recipients::One(to), message } => self.hub_sends(hub, &[*to], message),
            hub::Output::Send { to: Recipients::Many(to), message } => self.hub_sends(hub, to, message),
            hub::Output::WantCovered { lsn } => self.log.sends(lane, || Link::Covered(0, *lsn)),
            _ => {
                if let Some(question) = words::hub_question(output) {
                    self.log.add(|_| words::asked(lane, Some(question), &"", minor));
                }
            }
        }
    }

    fn hub_sends(&mut self, hub: u8, to: &[SessionId], message: &dormouse_core::wire::ServerMessage) {
        for session in to {
            let Some(client) = self.film.cast.lane(hub, *session) else { continue };
            let link = self.frame(false);
            self.log.sends(Entity::Hub(hub), || link);
            let what = words::server_message(message);
            self.log.add(|_| Draft::new(client, What::Received, format!("is sent {what}")).receives(link));
        }
    }

    const fn frame(&mut self, to_server: bool) -> Link {
        self.frames += 1;
        Link::Frame { connection: u64::MAX, to_server, n: self.frames }
    }
}
