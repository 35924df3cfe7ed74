/** Everything around the diagram. */
(() => {
  const about = report.heading;
  const recording = !report.trace;
  by("kicker").textContent = about.promise ? `${about.promise}: ${about.sentence}` : "What the machines were told, and what they said";
  by("event").textContent = `${about.event[0]?.toUpperCase() ?? ""}${about.event.slice(1)}.`;
  const facts = [...about.facts];
  if (about.without) facts.unshift(["switched off", `${about.without[0]}: ${about.without[1]}`]);
  by("facts").append(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

  const line = (n, ...more) => {
    const e = entries[n], button = make("button", { type: "button", "data-entry": n }, make("time", {}, clock(e.t)), make("span", { class: e.k }, say(e)), ...more);
    button.onclick = () => diagram.show(n);
    return make("li", {}, button);
  };
  by("choices").append(...report.choices.map(({ entry, at, without }) => line(entry,
    ...(at === null ? [] : [make("span", { class: "more" }, `at: ${say(entries[at])}`)]),
    ...(without === null ? [] : [make("span", { class: "more" }, `without it: ${without}`)]))));
  for (const id of ["s-choices", "s-trace", "previous", "next"]) by(id).hidden = recording;
  by("violation").hidden = report.violation === null;
  if (!report.choices.length) by("choices").append(make("li", {}, "Nothing but the workload: no fault and no delay."));
  const near = report.path.slice(-14), far = report.path.slice(0, -14);
  by("path").append(...near.map((n) => line(n)));
  if (far.length) by("path").before(make("details", {}, make("summary", {}, `${far.length} earlier steps`), make("ol", { class: "list" }, ...far.map((n) => line(n)))));
  by("s-path").hidden = report.path.length < 2;

  const parting = report.parting;
  by("s-parting").hidden = !parting;
  if (parting) {
    const side = (name, title, lines) => make("div", { class: name }, make("h3", {}, title),
      make("ol", {}, ...lines.map(([when, what]) => make("li", {}, make("time", {}, `${when} `), what))));
    by("parting").append(
      make("p", {}, `Compared with ${parting.other}, in which nothing breaks. Up to ${parting.clock} s both do the same; the last thing they share:`),
      make("p", { class: "mono" }, parting.last),
      make("div", { class: "pair" }, side("here", "Here, then", parting.here), side("there", "There, then", parting.there)));
  }

  by("s-states").hidden = !report.states.length;
  const cell = (name, value) => make("td", { class: name }, value ?? "nothing");
  for (const machine of report.states) {
    const steps = machine.steps.map((step) => make("table", {},
      make("caption", {}, `${step.clock} ${step.entry === null ? "" : say(entries[step.entry])}`),
      make("thead", {}, make("tr", {}, ...["part", "before", "after"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...step.changes.map(([path, was, is]) => make("tr", {}, make("th", { scope: "row", class: "mono" }, path), cell("was", was), cell("is", is))))));
    const all = make("details", {}, make("summary", {}, `All that ${machine.lane} held at the end`), make("pre", { tabindex: "0" }, machine.leaves.map(([path, value]) => `${path} = ${value}`).join("\n")));
    const open = machine.lane === about.entity ? { open: "" } : {};
    by("states").append(make("details", { class: "states", ...open }, make("summary", {}, `${machine.lane}: its last ${steps.length} changes`), ...steps, all));
  }

  by("replay").textContent = about.replay;
  by("trace").textContent = report.trace;
  by("legend").textContent = `● step   ■ start, end, sleep or waking   ◆ choice   ✕ violation   blue: the way to ${recording ? "the last step" : "the violation"}   red, dashed: never arrives`;
  by("table").addEventListener("toggle", ({ target }) => {
    const into = target.querySelector(".scroll");
    if (into.firstChild) return;
    into.append(make("table", {}, make("caption", {}, `${entries.length} entries, oldest first${report.left_out ? `; ${report.left_out} earlier ones are left out` : ""}`),
      make("thead", {}, make("tr", {}, ...["time", "lane", "kind", "what"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...entries.map((e) => make("tr", {}, make("td", {}, clock(e.t)), make("td", {}, lanes[e.l]), make("td", {}, e.k), make("td", { class: e.k }, e.w))))));
  });
})();
