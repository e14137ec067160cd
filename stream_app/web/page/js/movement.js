// How the population moves: for each axis its tiers over time, ups and downs, migrations, and the scores behind them.

import { get, path } from "./api.js";
import { direction, heldColour } from "./colours.js";
import { Distribution } from "./distribution.js";
import { byId, element, show } from "./dom.js";
import { count, DAY_MS, plain, plural, share, short, span, time, title } from "./format.js";
import { causeName, swatch } from "./parts.js";
import { TimeChart } from "./time_chart.js";

const PERIODS = [
  { name: "7 days", days: 7 },
  { name: "28 days", days: 28 },
  { name: "1 year", days: 364 },
  { name: "All", days: null },
];
const POINTS_MAX = 120;

export class Movement {
  constructor({ onTrouble }) {
    this.host = byId("movement");
    this.onTrouble = onTrouble;
    this.period = PERIODS[2];
    this.axes = [];
    this.offerPeriods();
  }

  offerPeriods() {
    show(byId("period"), PERIODS.map((period) => element("button", {
      class: "quiet", type: "button", text: period.name, "aria-pressed": String(period === this.period),
      on: { click: () => this.choose(period) },
    })));
  }

  choose(period) {
    this.period = period;
    this.offerPeriods();
    byId("period").children[PERIODS.indexOf(period)].focus();
    this.refresh(this.asOf);
  }

  setAxes(axes) {
    const shape = JSON.stringify(axes);
    if (shape !== this.shape) {
      this.shape = shape;
      this.axes = axes.map((axis) => new AxisMovement(axis));
      show(this.host, this.axes.map((axis) => axis.nodes));
    }
  }

  /** Ask for everything anew. */
  async refresh(asOf) {
    this.asOf = asOf ?? this.asOf;
    const asked = this.period;
    const end = time(this.asOf);
    if (end === null) {
      this.axes.forEach((axis) => axis.showNothing());
      return;
    }
    const since = asked.days === null ? "" : new Date(end - asked.days * DAY_MS).toISOString();
    try {
      const [populations, migrations, ...distributions] = await Promise.all([
        get(path("populations"), { since, points: POINTS_MAX }), get(path("migrations"), { since }),
        ...this.axes.map((axis) => get(path("distribution"), { axis: axis.axis.axis })),
      ]);
      if (asked === this.period) {
        this.axes.forEach((axis, place) => axis.update({ populations, migrations, distribution: distributions[place] }));
      }
    } catch (error) {
      this.onTrouble(error);
    }
  }
}

class AxisMovement {
  constructor(axis) {
    this.axis = axis;
    const name = title(axis.axis);
    const populationHost = element("div");
    const changesHost = element("div");
    const scoresHost = element("div");
    this.matrixHost = element("div");
    this.populationNote = element("p", { class: "note" });
    this.changesNote = element("p", { class: "note" });
    this.matrixNote = element("p", { class: "note" });
    this.nodes = [
      element("h3", { class: "axis-title", text: name }),
      element("div", { class: "grid", "data-axis": axis.axis },
        element("figure", { class: "card" }, element("h3", { text: "Customers in each tier" }), this.populationNote, populationHost),
        element("figure", { class: "card" }, element("h3", { text: "Ups and downs" }), this.changesNote, changesHost),
        element("figure", { class: "card" }, element("h3", { text: "From where to where" }), this.matrixNote, this.matrixHost),
        element("figure", { class: "card" }, element("h3", { text: "Scores, and the lines between tiers" }), scoresHost)),
    ];
    this.population = new TimeChart(populationHost, {
      kind: "area", label: `Customers in each tier of ${plain(axis.axis)} over time`, tick: short,
      format: (value, total) => `${count(value)}  (${share(value, total)})`,
    });
    this.changes = new TimeChart(changesHost, {
      kind: "bars", label: `Changes up and down on ${plain(axis.axis)} over time`, format: count, tick: short,
    });
    this.scores = new Distribution(scoresHost, axis);
  }

  showNothing() {
    show(this.populationNote, "Nothing yet: the first customers are rated when there are enough buyers for cut points.");
  }

  update({ populations, migrations, distribution }) {
    const series = populations.axes.find((item) => item.axis === this.axis.axis);
    const times = populations.times.map(time);
    if (series && times.length) {
      this.population.update(times, this.axis.tiers.map((tier) => ({
        name: plain(tier), colour: heldColour(this.axis, tier), values: series.customers[tier] ?? [],
      })));
      this.changes.update(times, [
        { name: "rose", colour: "var(--up)", values: series.rose },
        { name: "fell", colour: "var(--down)", values: series.fell, isBelow: true },
      ]);
      const [rose, fell] = [sum(series.rose), sum(series.fell)];
      show(this.populationNote, `${plural(sum(series.first_rated), "customer")} rated for the first time in this period.`);
      show(this.changesNote, swatchOf("var(--up)"), `${count(rose)} rose \u00a0 `, swatchOf("var(--down)"), `${count(fell)} fell \u00a0 (${stepText(populations.step_seconds)})`);
    } else {
      this.showNothing();
    }
    this.fillMatrix(migrations.axes.find((item) => item.axis === this.axis.axis)?.migrations ?? []);
    this.scores.update(distribution);
  }

  fillMatrix(migrations) {
    const axis = this.axis;
    const moves = migrations.filter((item) => item.from_tier !== null);
    const most = Math.max(...moves.map((item) => item.changes), 1);
    const total = sum(moves.map((item) => item.changes));
    const downward = [...axis.tiers].reverse();
    const cell = (from, to) => {
      if (from === to) {
        return element("td", { class: "same", "aria-label": "stays", text: "\u00b7" });
      }
      const found = moves.find((item) => item.from_tier === from && item.to_tier === to);
      const colour = direction(axis, from, to) > 0 ? "var(--tier-high)" : "var(--tier-top)";
      return element("td", {
        title: found ? causesText(found.causes) : "nobody", text: count(found?.changes ?? 0),
        style: { "--share": `${(100 * (found?.changes ?? 0)) / most}%`, "--ground": colour },
      });
    };
    show(this.matrixHost, element("table", { class: "migration" },
      element("thead", {}, element("tr", {}, element("th", { class: "corner", scope: "col", text: "from \u2193  to \u2192" }),
        axis.tiers.map((tier) => element("th", { scope: "col" }, swatch(axis, tier), plain(tier))))),
      element("tbody", {}, downward.map((from) => element("tr", {},
        element("th", { scope: "row" }, swatch(axis, from), plain(from)), axis.tiers.map((to) => cell(from, to)))))));
    const causes = {};
    moves.forEach((item) => Object.entries(item.causes).forEach(([cause, value]) => {
      causes[cause] = (causes[cause] ?? 0) + value;
    }));
    show(this.matrixNote, total ? `${plural(total, "change")} of tier: ${causesText(causes)}.` : "No change of tier in this period.");
  }
}

function causesText(causes) {
  return Object.entries(causes).filter(([, value]) => value).sort((a, b) => b[1] - a[1])
    .map(([cause, value]) => `${count(value)} ${causeName(cause)}`).join(", ");
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function swatchOf(colour) {
  return element("i", { class: "swatch", style: { background: colour } });
}

function stepText(seconds) {
  return seconds === 3600 ? "hour by hour" : seconds === 86_400 ? "day by day" : `in steps of ${span(1000 * seconds)}`;
}
