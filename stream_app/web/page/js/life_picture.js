// A customer's history as a picture: for each axis a staircase of the tiers that were held, over one scale of time.

import { direction, heldColour } from "./colours.js";
import { drawn, element, show } from "./dom.js";
import { DAY_MS, moment, plain, plural, time } from "./format.js";
import { linear, timeTicks } from "./scales.js";

const STEP = 26;
const GAP = 34;
const TOP = 22;
const CHARACTER_WIDTH = 7.2;

export class LifePicture {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.canvas = element("div", { class: "plot", role: "img" });
    show(host, this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  /**
   * @param {Object} life
   * @param {{axis: string, tiers: string[]}[]} life.axes
   * @param {Object[]} life.changes oldest first
   * @param {Object} life.customer answer of /v1/customers/{id}
   * @param {(change: Object) => void} life.onPick
   */
  update(life) {
    this.life = life;
    this.canvas.setAttribute("aria-label", description(life));
    this.draw();
  }

  draw() {
    const width = this.canvas.clientWidth;
    this.canvas.querySelector("svg")?.remove();
    if (!width || !this.life) {
      return;
    }
    const { axes, changes, customer } = this.life;
    const end = time(customer.as_of) ?? time(changes.at(-1)?.effective_at);
    const starts = [time(customer.purchases.first_at), time(changes[0]?.effective_at)].filter((ms) => ms !== null);
    if (!starts.length || end === null) {
      return;
    }
    const start = Math.min(...starts, end - DAY_MS);
    const left = Math.max(...axes.flatMap((axis) => axis.tiers).map((tier) => plain(tier).length)) * CHARACTER_WIDTH + 14;
    const x = linear([start, end], [left, width - 12]);
    const height = axes.reduce((sum, axis) => sum + axis.tiers.length * STEP + GAP, TOP);
    const svg = drawn("svg", { width, height: height + 6 });
    const foot = height - GAP + 10;
    for (const tick of timeTicks(start, end, Math.max(2, Math.floor((width - left) / 110)))) {
      svg.append(
        drawn("line", { class: "grid", x1: x(tick.ms), x2: x(tick.ms), y1: TOP, y2: foot }),
        drawn("text", { class: "x", x: x(tick.ms), y: foot + 16, "text-anchor": x(tick.ms) > width - 40 ? "end" : "middle" }, tick.text));
    }
    this.drawPurchases(svg, x, foot);
    let top = TOP;
    for (const axis of axes) {
      this.drawAxis(svg, axis, { x, top, left, end, width });
      top += axis.tiers.length * STEP + GAP;
    }
    this.canvas.prepend(svg);
  }

  drawPurchases(svg, x, foot) {
    const { first_at: first, last_at: last, count } = this.life.customer.purchases;
    const marks = [[first, "first purchase"], [last, "last purchase"]].filter(([at]) => time(at) !== null);
    const places = marks.map(([at]) => x(time(at)));
    const isOne = count === 1 || places[0] === places[1];
    marks.slice(0, isOne ? 1 : 2).forEach(([, text], at) => {
      const isRight = places[at] > this.canvas.clientWidth / 2;
      const clash = at === 1 && places[1] - places[0] < 190;
      svg.append(
        drawn("line", { class: "purchase", x1: places[at], x2: places[at], y1: TOP - 6, y2: foot }),
        drawn("text", { class: "x halo", x: places[at] + (isRight ? -5 : 5), y: clash ? TOP + 6 : TOP - 8, "text-anchor": isRight ? "end" : "start" },
          isOne ? "the only purchase" : text));
    });
  }

  drawAxis(svg, axis, { x, top, left, end, width }) {
    const height = axis.tiers.length * STEP;
    const y = (tier) => top + height - (axis.tiers.indexOf(tier) + 0.5) * STEP;
    svg.append(drawn("text", { class: "strong", x: 0, y: top - 5 }, plain(axis.axis)));
    for (const tier of axis.tiers) {
      svg.append(
        drawn("text", { class: "y", x: left - 10, y: y(tier) + 4, "text-anchor": "end" }, plain(tier)),
        drawn("line", { class: "grid", x1: left, x2: width - 12, y1: y(tier), y2: y(tier) }));
    }
    const steps = this.life.changes.filter((change) => change.axis === axis.axis && axis.tiers.includes(change.to_tier));
    steps.forEach((change, at) => {
      const [from, to] = [time(change.effective_at), time(steps[at + 1]?.effective_at) ?? end];
      svg.append(drawn("rect", {
        x: x(from), width: Math.max(x(to) - x(from), 1.5), y: y(change.to_tier) - 7, height: 14, rx: 3,
        style: { fill: heldColour(axis, change.to_tier) },
      }));
      if (at > 0) {
        svg.append(drawn("line", { class: "riser", x1: x(from), x2: x(from), y1: y(steps[at - 1].to_tier), y2: y(change.to_tier) }));
      }
    });
    steps.filter((change) => change.from_tier !== null).forEach((change) => svg.append(this.dot(axis, change, x(time(change.effective_at)), y(change.to_tier))));
  }

  dot(axis, change, x, y) {
    const way = direction(axis, change.from_tier, change.to_tier);
    const dot = drawn("circle", {
      class: "step", cx: x, cy: y, r: 5, style: { fill: way > 0 ? "var(--up)" : way < 0 ? "var(--down)" : "var(--card)" },
      on: { click: () => this.life.onPick(change) },
    }, drawn("title", {}, `${moment(change.effective_at)}: ${change.from_tier ? `${plain(change.from_tier)} to ` : ""}${plain(change.to_tier)}`));
    return dot;
  }
}

function description({ axes, changes }) {
  return axes.map((axis) => {
    const steps = changes.filter((change) => change.axis === axis.axis);
    const told = steps.slice(-4).map((change) => `${plain(change.to_tier)} on ${moment(change.effective_at)}`);
    return `${plain(axis.axis)}: ${plural(steps.length, "change")}${told.length ? `, the last ones to ${told.join(", ")}` : ""}.`;
  }).join(" ");
}
