// Whether the system keeps up with the events, and how right its predictions turn out to be.

import { get, path } from "./api.js";
import { byId, element, setText, show } from "./dom.js";
import { clock, count, DAY_MS, day, number, plain, plural, share, short, span, time, title } from "./format.js";
import { TimeChart } from "./time_chart.js";

const SAMPLES_MAX = 600;
const LAG_WARN = 20_000;
const COLOURS = ["var(--tier-high)", "var(--tier-top)", "var(--good)", "var(--soft)"];

/** The row of figures at the top. */
export class Tiles {
  constructor() {
    this.host = byId("tiles");
    this.tiles = new Map();
  }

  tile(key, label) {
    if (!this.tiles.has(key)) {
      const value = element("b", { text: "\u2013" });
      const aside = element("span", {});
      const node = element("div", { "data-tile": key }, element("dt", { text: label }), element("dd", {}, value, aside));
      this.tiles.set(key, { node, value, aside });
      this.host.append(node);
    }
    return this.tiles.get(key);
  }

  set(key, label, value, aside, level = "") {
    const tile = this.tile(key, label);
    setText(tile.value, value);
    setText(tile.aside, aside);
    tile.node.dataset.level = level;
  }

  update(status) {
    const knowledge = status.knowledge;
    const age = time(status.watermark) === null ? null : Date.now() - time(status.watermark);
    const isPresent = age !== null && age < DAY_MS / 2;
    this.set("customers", "Customers", count(status.customers), "known by what they did");
    this.set("changes", "Changes of tier", count(status.changes), `${number(status.changes_per_second, 2)} a second now`);
    this.set("events", "Events a second", number(status.events_per_second), `${short(status.events)} so far`);
    this.set("lag", "Waiting", status.lag === null ? "\u2013" : count(status.lag), status.lag ? "events still to be applied" : "every event is applied",
      status.lag > LAG_WARN ? "warn" : "");
    this.set("watermark", "Time of the events", day(status.watermark), isPresent ? "the present" : age === null ? "no event yet" : `${span(age)} ago`);
    this.set("knowledge", "Knowledge", knowledge ? `v${knowledge.version}` : "none yet",
      knowledge ? `from ${plural(knowledge.outcomes_learned, "outcome")}` : "nobody is rated without it");
  }
}

/** The section on how the system does. */
export class System {
  constructor({ onTrouble }) {
    this.onTrouble = onTrouble;
    this.samples = [];
    const hosts = { rate: element("div"), lag: element("div"), quality: element("div") };
    this.partitions = element("div", { class: "scroll" });
    this.qualityNote = element("p", { class: "note" });
    this.knowledge = element("dl", { class: "facts" });
    show(byId("system"),
      element("figure", { class: "card" }, element("h3", { text: "Events a second" }),
        element("p", { class: "note", text: "As long as this page has been open; at most the last twenty minutes." }), hosts.rate),
      element("figure", { class: "card" }, element("h3", { text: "Events that wait" }),
        element("p", { class: "note", text: "Written to the log, not applied yet. It falls back to nothing when all is well." }), hosts.lag),
      element("figure", { class: "card", id: "quality" }, element("h3", { text: "Were the predictions right?" }), this.qualityNote, hosts.quality),
      element("section", { class: "card" }, element("h3", { text: "Knowledge and partitions" }), this.knowledge, this.partitions));
    this.rate = new TimeChart(hosts.rate, { kind: "line", label: "Events a second over time", height: 120, tick: short });
    this.lag = new TimeChart(hosts.lag, { kind: "line", label: "Events that wait over time", height: 120, tick: short, format: count });
    this.quality = new TimeChart(hosts.quality, { kind: "line", label: "Model quality over time", height: 150, bottom: 0.5, top: 1 });
  }

  update(status) {
    const now = Date.now();
    if (now - (this.samples.at(-1)?.ms ?? 0) >= 1_900) {
      this.samples.push({ ms: now, rate: status.events_per_second, lag: status.lag });
      this.samples.splice(0, this.samples.length - SAMPLES_MAX);
      const times = this.samples.map((sample) => sample.ms);
      this.rate.update(times, [{ name: "events a second", colour: COLOURS[0], values: this.samples.map((sample) => sample.rate) }]);
      this.lag.update(times, [{ name: "events that wait", colour: COLOURS[1], values: this.samples.map((sample) => sample.lag) }]);
    }
    this.fillKnowledge(status);
    show(this.partitions, element("table", {},
      element("thead", {}, element("tr", {}, ["Partition", "Applied", "Waiting", "Latest event", "Last tick"].map((text) => element("th", { scope: "col", text })))),
      element("tbody", {}, status.partitions.map((item) => element("tr", {},
        element("th", { scope: "row", text: String(item.partition) }), element("td", { text: count(item.events_position) }),
        element("td", { text: count(item.lag) }), element("td", { text: shortMoment(item.watermark) }), element("td", { text: shortMoment(item.last_tick) }))))));
  }

  fillKnowledge({ knowledge, policy }) {
    const fact = (term, text) => [element("dt", { text: term }), element("dd", { text })];
    show(this.knowledge, [
      fact("Policy", policy.name), fact("Cut points of", knowledge ? day(knowledge.made_at) : "\u2013"),
      fact("Scoring", knowledge ? `v${knowledge.scoring_version}` : "\u2013"),
      fact("Rated", knowledge ? Object.values(knowledge.rated_customers).map(count)[0] ?? "\u2013" : "\u2013"),
    ].map((pair) => element("div", {}, ...pair)));
  }

  async refresh() {
    try {
      const { points } = await get(path("quality"));
      this.fillQuality(points);
    } catch (error) {
      this.onTrouble(error);
    }
  }

  /** Ranking figures lie between a half (a guess) and one (always right). */
  fillQuality(points) {
    const names = [...new Set(points.flatMap((point) => Object.keys(point)))].filter((name) => name.endsWith("_auc"));
    if (!points.length || !names.length) {
      show(this.qualityNote, "Not known yet: the first predictions are judged when what they predicted has had time to happen.");
      return;
    }
    const series = names.map((name, place) => ({
      name: title(name.replace(/_auc$/, "")), colour: COLOURS[place % COLOURS.length], values: points.map((point) => point[name] ?? null),
    }));
    this.quality.update(points.map((point) => time(point.time)), series);
    const last = points.at(-1);
    const said = names.filter((name) => Number.isFinite(last[name]))
      .map((name) => `${plain(name.replace(/_auc$/, ""))} ${share(last[name])}`).join(", ");
    show(this.qualityNote, `Of two customers, how often the one who was rated higher was the one who did more (50 % is a guess): ${said}.`);
  }
}

function shortMoment(value) {
  return time(value) === null ? "\u2013" : `${day(value)}, ${clock(value)}`;
}
