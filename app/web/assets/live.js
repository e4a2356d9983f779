// The live view: what runs just now, as the server tells it by Server-Sent
// Events. Texts go into the page as text, never as markup.

const view = document.getElementById("live");
const state = document.getElementById("live-state");
const tests = new Map(); // by id: what the server told, and the elements
const keep = 120; // samples of one chart
const linger = 10000; // an ended test stays for so long, in ms

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function svg(name, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

const rates = [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]];

function rate(v) {
  if (v === null || v === undefined) return "-";
  const [one, name] = rates.find(([one]) => v >= one) ?? [1, "bit/s"];
  return (v / one).toFixed(one === 1 ? 0 : 2) + " " + name;
}

function size(v) {
  if (v === null || v === undefined) return "-";
  let n = Number(v);
  const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  for (; n >= 1024 && i + 1 < names.length; i++) n /= 1024;
  return n.toFixed(i ? 2 : 0) + " " + names[i];
}

// round is the least of 1, 2, 2.5 and 5 times a power of ten that is >= v.
function round(v) {
  const power = 10 ** Math.floor(Math.log10(v));
  return ([1, 2, 2.5, 5].find((f) => f * power >= v * 0.999999) ?? 10) * power;
}

function path(points, column, px, py) {
  let d = "", down = false;
  for (const p of points) {
    if (p[column] === null) { down = false; continue; }
    d += (down ? "L" : "M") + px(p[0]).toFixed(1) + " " + py(p[column]).toFixed(1);
    down = true;
  }
  return d;
}

function draw(test) {
  const width = Math.max(300, Math.min(900, test.card.clientWidth - 34)), height = 170;
  const left = 52, right = width - 10, top = 24, bottom = height - 22;
  const points = test.history;
  const chart = svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "throughput of the last two minutes" });
  const most = Math.max(1, ...points.flatMap((p) => [p[1] ?? 0, p[2] ?? 0]));
  const step = round(most / 3), high = Math.ceil(most / step) * step;
  const last = points.length ? points[points.length - 1][0] : 0;
  const from = Math.max(0, last - 60), to = Math.max(last, from + 10);
  const px = (x) => left + (x - from) / (to - from) * (right - left);
  const py = (y) => bottom - y / high * (bottom - top);
  const [one, unit] = rates.find(([one]) => high >= one) ?? [1, "bit/s"];
  let grid = "";
  for (let y = 0; y <= high * 1.0001; y += step) {
    grid += `M${left} ${py(y).toFixed(1)}H${right}`;
    chart.append(svg("text", { class: "end", x: left - 6, y: py(y) + 4 }, String(+(y / one).toPrecision(3))));
  }
  chart.prepend(svg("path", { class: "grid", d: grid }));
  chart.append(svg("text", { x: 4, y: 12 }, unit));
  chart.append(svg("text", { x: left, y: height - 5 }, from.toFixed(0) + " s"), svg("text", { class: "end", x: right, y: height - 5 }, to.toFixed(0) + " s"));
  const shown = points.filter((p) => p[0] >= from);
  const ways = [[1, "download"], [2, "upload"]].filter(([column]) => points.some((p) => p[column] !== null));
  let x = left + 60;
  ways.forEach(([column, name]) => {
    const colour = "s" + (column - 1);
    chart.append(svg("path", { class: "line " + colour, d: path(shown, column, px, py) }));
    chart.append(svg("path", { class: "line " + colour, d: `M${x} 8h22` }), svg("text", { class: "name", x: x + 28, y: 12 }, name));
    x += 120;
  });
  test.chart.replaceChildren(chart);
}

function add(told) {
  const card = element("article", "test");
  const top = element("div", "top");
  const title = [told.protocol, told.transport, told.direction, told.streams > 1 ? told.streams + " streams" : ""].filter(Boolean).join(", ");
  top.append(element("strong", "", title), element("span", "", told.peer_ip));
  if (told.username !== null) top.append(element("span", "faint", told.username));
  const test = { history: [], card, chart: element("div"), now: element("div", "now"), rest: element("div", "faint"), stop: null };
  if (told.can_stop) {
    test.stop = element("button", "bad", "Stop");
    test.stop.addEventListener("click", () => stop(told.id, test));
    top.append(test.stop);
  }
  card.append(top, test.now, test.rest, test.chart);
  view.prepend(card);
  tests.set(told.id, test);
  return test;
}

async function stop(id, test) {
  test.stop.disabled = true;
  const answer = await fetch(`/api/tests/${encodeURIComponent(id)}/stop`, { method: "POST", headers: { "Sonde-CSRF": view.dataset.csrf } }).catch(() => null);
  if (!answer || !answer.ok) {
    test.stop.disabled = false;
    test.rest.textContent = answer ? "not stopped: " + answer.statusText : "not stopped: the server does not answer";
  }
}

function remove(id) {
  tests.get(id)?.card.remove();
  tests.delete(id);
}

function show(told) {
  const test = tests.get(told.id) ?? add(told);
  for (const p of told.history) {
    const last = test.history[test.history.length - 1];
    if (last && last[0] === p[0]) test.history[test.history.length - 1] = p;
    else test.history.push(p);
  }
  test.history.splice(0, test.history.length - keep);
  const parts = [];
  if (told.direction !== "upload") parts.push("↓ " + rate(told.download_bits_per_second));
  if (told.direction !== "download") parts.push("↑ " + rate(told.upload_bits_per_second));
  if (told.elapsed_seconds !== null) test.now.textContent = parts.join("   ");
  const rest = [];
  if (told.elapsed_seconds !== null) rest.push(told.elapsed_seconds.toFixed(0) + " s");
  if (told.download_bytes !== null) rest.push("↓ " + size(told.download_bytes));
  if (told.upload_bytes !== null) rest.push("↑ " + size(told.upload_bytes));
  if (told.lost !== null) rest.push("lost " + told.lost);
  if (told.rtt_ns !== null) rest.push("RTT " + (told.rtt_ns / 1e6).toFixed(2) + " ms");
  if (told.ended) rest.push("ended: " + (told.reason ?? "").replaceAll("_", " "));
  if (rest.length) test.rest.textContent = rest.join(" · ");
  if (test.history.length) draw(test);
  if (told.ended) {
    test.card.classList.add("ended");
    test.stop?.remove();
    setTimeout(() => remove(told.id), linger);
  }
}

// A chart is as wide as its card.
addEventListener("resize", () => { for (const test of tests.values()) if (test.history.length) draw(test); });

const events = new EventSource(view.dataset.src);
events.addEventListener("tests", (e) => {
  const told = JSON.parse(e.data);
  if (told.reset) for (const id of [...tests.keys()]) remove(id);
  told.tests.slice().reverse().forEach(show);
  count();
});
events.addEventListener("open", count);
events.addEventListener("error", () => { state.textContent = "The server does not answer; trying again …"; });

function count() {
  const n = [...tests.values()].filter((t) => !t.card.classList.contains("ended")).length;
  state.textContent = n === 0 ? "No test runs just now." : n === 1 ? "One test runs." : n + " tests run.";
}
