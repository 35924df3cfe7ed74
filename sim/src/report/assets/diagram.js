/** The diagram: rows of entries from top to bottom, a lane for each process, arrows for what travels. */
const diagram = (() => {
  const box = by("diagram"), detail = by("detail"), tip = by("tip");
  const HEAD = 30, ROW = 18;
  let shown = [], place = new Map(), length = 0;
  const view = { top: 0, zoom: 1 };
  let chosen = null, drag = null, planned = false;

  /** Puts the entries in rows; a silence makes a gap that grows with its logarithm. */
  function arrange() {
    shown = [];
    place = new Map();
    let y = 14, before = null;
    entries.forEach((e, n) => {
      if (e.m && !by("minor").checked && !onPath.has(n) && n !== chosen) return;
      if (before !== null) y += ROW + (e.t > before ? Math.min(26, Math.log2(1 + (e.t - before) / 200) * 2) : 0);
      before = e.t;
      place.set(n, y);
      shown.push(n);
    });
    length = y + 20;
  }
  const height = () => box.clientHeight - HEAD;
  const least = () => Math.min(1, height() / length);
  function hold() {
    view.zoom = Math.max(least(), Math.min(4, view.zoom));
    view.top = Math.max(0, Math.min(view.top, length - height() / view.zoom));
  }
  const at = (n) => HEAD + (place.get(n) - view.top) * view.zoom;

  function paint() {
    planned = false;
    hold();
    const width = box.clientWidth, narrow = width < 640;
    const left = narrow ? 14 : 92, room = narrow ? width - 28 : Math.min(width * .5, lanes.length * 74);
    const gap = room / lanes.length;
    const x = (lane) => left + gap * (lane + .5);
    const labels = left + room + 12;
    const svg = draw("svg", { "aria-hidden": "true" });
    const inside = (y) => y > HEAD - 20 && y < HEAD + height() + 20;
    const bands = draw("g", {}), lines = draw("g", {}), marks = draw("g", {}), words = draw("g", {});
    const clip = (e, n, y) => {
      const kind = n === chosen ? "chosen" : e.k === "choice" || e.k === "violation" ? e.k : null;
      if (kind) bands.append(draw("rect", { class: `band-${kind}`, x: 0, width, y: y - Math.min(9, 9 * view.zoom), height: Math.max(3, Math.min(18, 18 * view.zoom)) }));
    };
    lanes.forEach((_, lane) => lines.append(draw("line", { class: "lane", x1: x(lane), x2: x(lane), y1: HEAD, y2: HEAD + height() })));
    for (const way of ways.values()) {
      if (!place.has(way.from)) continue;
      const from = entries[way.from], lost = way.to === null || !place.has(way.to);
      const y1 = at(way.from), y2 = lost ? y1 + 12 : at(way.to);
      if (Math.max(y1, y2) < HEAD || Math.min(y1, y2) > HEAD + height()) continue;
      if (lost && way.to !== null) continue;
      const x1 = x(from.l), x2 = lost ? x1 + 16 : x(entries[way.to].l);
      if (!lost && from.l === entries[way.to].l && y2 - y1 < 8) continue;
      const on = !lost && onPath.has(way.from) && onPath.has(way.to) ? " on" : "";
      const bend = !lost && x1 === x2 ? `M${x1} ${y1} C${x1 + 16} ${y1} ${x1 + 16} ${y2} ${x2} ${y2}` : `M${x1} ${y1} L${x2} ${y2}`;
      lines.append(draw("path", { class: `way${lost ? " lost" : ""}${on}`, d: bend }));
      if (!lost && x1 !== x2) {
        const a = Math.atan2(y2 - y1, x2 - x1), tipAt = (turn) => `${x2 - 5 * Math.cos(a) - 7 * Math.cos(a + turn)} ${y2 - 5 * Math.sin(a) - 7 * Math.sin(a + turn)}`;
        lines.append(draw("path", { class: `way${on}`, d: `M${tipAt(.45)} L${x2 - 5 * Math.cos(a)} ${y2 - 5 * Math.sin(a)} L${tipAt(-.45)}` }));
      }
      lines.append(draw("path", { class: "hit", d: bend, "data-way": way.id }));
    }
    let clockAt = -99, labelAt = -99;
    for (const n of shown) {
      const y = at(n), e = entries[n];
      if (!inside(y)) continue;
      clip(e, n, y);
      const mark = { class: `dot${onPath.has(n) ? " on" : ""}`, "data-n": n };
      const size = onPath.has(n) ? 5 : 4;
      if (e.k === "choice") marks.append(draw("path", { class: "mark-choice", "data-n": n, d: `M${x(e.l)} ${y - 7}l7 7l-7 7l-7 -7z` }));
      else if (e.k === "violation") marks.append(draw("path", { class: "mark-violation", "data-n": n, d: `M${x(e.l) - 7} ${y - 7}l14 14m0 -14l-14 14` }));
      else if (["start", "crash", "evict", "wake", "sleep"].includes(e.k)) marks.append(draw("rect", { ...mark, x: x(e.l) - 5, y: y - 5, width: 10, height: 10 }));
      else marks.append(draw("circle", { ...mark, cx: x(e.l), cy: y, r: size }));
      if (!narrow && y - clockAt > 13) { words.append(draw("text", { class: "clock", x: 10, y: y + 4 }, clock(e.t))); clockAt = y; }
      const important = e.k === "choice" || e.k === "violation" || n === chosen;
      if (!narrow && (y - labelAt > 12 || important)) {
        const most = Math.floor((width - labels) / 6.9), text = say(e);
        words.append(draw("text", { class: `label-${e.k}`, x: labels, y: y + 4, "data-n": n }, text.length > most ? text.slice(0, most - 1) + "…" : text));
        labelAt = y;
      }
    }
    const head = draw("g", {});
    head.append(draw("rect", { class: "head", x: 0, y: 0, width, height: HEAD - 4 }));
    lanes.forEach((name, lane) => {
      const short = gap < 62 ? name.replace(/^(.)[^/]*\//, "$1").slice(0, 4).replace("post", "pg") : name;
      const text = draw("text", { class: "name", x: x(lane), y: 17, "text-anchor": "middle" }, short);
      text.append(draw("title", {}, name));
      head.append(text);
    });
    svg.append(bands, lines, marks, words, head);
    box.replaceChildren(svg);
    box.dataset.zoom = view.zoom.toFixed(3);
    box.dataset.top = view.top.toFixed(0);
  }
  const plan = () => { if (!planned) { planned = true; requestAnimationFrame(paint); } };

  function zoom(by, y = HEAD + height() / 2) {
    const point = view.top + (y - HEAD) / view.zoom;
    view.zoom *= by;
    hold();
    view.top = point - (y - HEAD) / view.zoom;
    plan();
  }
  function tell(n) {
    const e = entries[n];
    const parts = [make("p", {}, make("time", {}, `${clock(e.t)} `), say(e))];
    for (const id of e.s ?? []) {
      const way = ways.get(id), to = way.to === null ? null : entries[way.to];
      parts.push(make("p", { class: "hint" }, to ? `arrives ${span(to.t - e.t)} later: ${say(to)}` : "never arrives, or not before the end"));
    }
    if (e.g && ways.has(e.g)) parts.push(make("p", { class: "hint" }, `sent ${span(e.t - entries[ways.get(e.g).from].t)} before: ${say(entries[ways.get(e.g).from])}`));
    if (e.r) parts.push(make("code", { class: "raw" }, e.r));
    return parts;
  }
  function show(n) {
    chosen = n;
    if (!place.has(n)) arrange();
    if (view.zoom < .6) view.zoom = 1;
    view.top = place.get(n) - height() / view.zoom * .62;
    detail.replaceChildren(...tell(n));
    detail.dataset.entry = n;
    plan();
  }
  function step(by) {
    const now = shown.indexOf(chosen), last = shown.length - 1;
    show(shown[Math.max(0, Math.min(last, now < 0 ? last : now + by))]);
  }
  function point(event) {
    const on = event.target.closest?.("[data-n], [data-way]");
    if (!on || drag?.moved) { tip.hidden = true; return; }
    const way = on.dataset.way && ways.get(Number(on.dataset.way));
    if (way) {
      const from = entries[way.from], to = way.to === null ? null : entries[way.to];
      tip.textContent = to ? `${say(from)} — takes ${span(to.t - from.t)} to ${lanes[to.l]}` : `${say(from)} — never arrives, or not before the end`;
    } else {
      const e = entries[Number(on.dataset.n)];
      tip.textContent = `${clock(e.t)} ${say(e)}`;
    }
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 4))}px`;
    tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
  }
  box.addEventListener("wheel", (event) => {
    if (!event.shiftKey && event.deltaY > 0 && view.zoom <= least()) return; // All is seen: the page scrolls on.
    event.preventDefault();
    if (event.shiftKey) { view.top += (event.deltaY || event.deltaX) / view.zoom; plan(); return; }
    zoom(Math.exp(-event.deltaY / 400), event.clientY - box.getBoundingClientRect().top);
  }, { passive: false });
  box.addEventListener("pointerdown", (event) => { drag = { y: event.clientY, top: view.top, moved: false }; box.setPointerCapture(event.pointerId); });
  box.addEventListener("pointermove", (event) => {
    if (drag && Math.abs(event.clientY - drag.y) > 3) { drag.moved = true; view.top = drag.top - (event.clientY - drag.y) / view.zoom; plan(); }
    point(event);
  });
  box.addEventListener("pointerup", (event) => {
    const moved = drag?.moved;
    drag = null;
    const on = moved ? null : document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-n], [data-way]");
    if (on) show(on.dataset.n ? Number(on.dataset.n) : ways.get(Number(on.dataset.way)).from);
  });
  for (const name of ["pointerleave", "pointercancel"]) box.addEventListener(name, () => { drag = null; tip.hidden = true; });
  const keys = {
    ArrowDown: () => step(1), ArrowUp: () => step(-1), Home: () => show(shown[0]), End: () => show(shown.at(-1)),
    PageDown: () => { view.top += height() / view.zoom * .8; plan(); }, PageUp: () => { view.top -= height() / view.zoom * .8; plan(); },
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: () => fit(),
  };
  box.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  function fit() { view.zoom = 0; view.top = 0; plan(); }
  function choice(by) {
    const all = report.choices.map(({ entry }) => entry), now = chosen ?? report.violation ?? entries.length;
    const next = by > 0 ? all.find((n) => n > now) : all.findLast((n) => n < now);
    if (next !== undefined) show(next);
  }
  by("in").onclick = () => zoom(1.4);
  by("out").onclick = () => zoom(1 / 1.4);
  by("fit").onclick = fit;
  by("violation").onclick = () => show(report.violation ?? entries.length - 1);
  by("previous").onclick = () => choice(-1);
  by("next").onclick = () => choice(1);
  by("minor").onchange = () => { arrange(); if (chosen !== null) show(chosen); else plan(); };
  arrange();
  new ResizeObserver(plan).observe(box);
  if (entries.length) show(report.violation ?? entries.length - 1);
  return { show: (n) => { show(n); box.scrollIntoView({ block: "nearest" }); } };
})();
