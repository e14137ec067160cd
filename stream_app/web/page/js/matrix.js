// The matrix of populations: two axes against each other, highest first and rightmost, changing as customers move.

import { STATES } from "./colours.js";
import { byId, element, setText, show } from "./dom.js";
import { count, number, plain, plural, share, title } from "./format.js";
import { channelMark, segmentAddress, swatch } from "./parts.js";

const FLASH_MS = 2_400;

export class Matrix {
  constructor() {
    this.host = byId("matrix");
    this.cells = new Map();
    this.chosen = null;
    this.answer = null;
  }

  /** Show populations; cells whose number has changed light up. */
  update(answer) {
    this.answer = answer;
    const names = answer.axes.map((axis) => axis.axis);
    const shape = JSON.stringify(answer.axes);
    if (shape !== this.shape) {
      this.shape = shape;
      this.chosen = [names[0], names[1] ?? null];
      this.offerAxes(names);
      this.build();
    }
    this.fill();
  }

  offerAxes(names) {
    if (names.length <= 2) {
      show(byId("matrix-axes"));
      return;
    }
    const choice = (place, label) => element("label", {}, label, element("select", {
      on: { change: (event) => this.choose(place, event.target.value) },
    }, names.map((name) => element("option", { value: name, text: title(name), selected: name === this.chosen[place] }))));
    show(byId("matrix-axes"), choice(0, "Rows"), choice(1, "Columns"));
  }

  choose(place, name) {
    const other = this.chosen[1 - place];
    this.chosen = place === 0 ? [name, other] : [other, name];
    if (this.chosen[0] === this.chosen[1]) {
      this.chosen[1 - place] = this.answer.axes.find((axis) => axis.axis !== name).axis;
    }
    this.offerAxes(this.answer.axes.map((axis) => axis.axis));
    this.build();
    this.fill();
  }

  axis(name) {
    return this.answer.axes.find((axis) => axis.axis === name) ?? { axis: "", tiers: [null] };
  }

  build() {
    const [rows, columns] = [this.axis(this.chosen[0]), this.axis(this.chosen[1])];
    this.cells.clear();
    this.sums = new Map();
    const sum = (key) => {
      const node = element("span", {});
      this.sums.set(key, node);
      return node;
    };
    const heads = columns.tiers.map((tier) => element("th", { scope: "col" },
      tier === null ? "" : [swatch(columns, tier), element("b", { text: plain(tier) }), sum(`column ${tier}`)]));
    const corner = columns.axis ? `${title(rows.axis)} \u2193  ${title(columns.axis)} \u2192` : title(rows.axis);
    const body = [...rows.tiers].reverse().map((tier) => element("tr", {},
      element("th", { scope: "row" }, element("b", {}, swatch(rows, tier), plain(tier)), sum(`row ${tier}`)),
      columns.tiers.map((other) => this.cell(tier, other))));
    show(this.host, element("table", { class: "matrix" },
      element("thead", {}, element("tr", {}, element("th", { class: "corner", scope: "col", text: corner }), heads)),
      element("tbody", {}, body)));
  }

  cell(row, column) {
    const parts = { number: element("b", { text: "\u2013" }), share: element("small", {}), delta: element("span", { class: "delta", "aria-hidden": "true" }) };
    const treatment = element("span", {});
    const link = element("a", { href: segmentAddress(this.tiersOf(row, column)) }, parts.number, parts.share, treatment, parts.delta);
    const cell = element("td", {}, link);
    this.cells.set(`${row}\u0000${column}`, { ...parts, treatment, link, cell, row, column, customers: null, channel: null });
    return cell;
  }

  /** A tier for each axis of the policy; "*" where the matrix adds up. */
  tiersOf(row, column) {
    return this.answer.axes.map((axis) => (axis.axis === this.chosen[0] ? row : axis.axis === this.chosen[1] ? column : "*"));
  }

  fill() {
    const [rows, columns] = this.chosen;
    const groups = new Map();
    const sums = new Map();
    const add = (map, key, customers) => map.set(key, (map.get(key) ?? 0) + customers);
    let rated = 0;
    const rest = new Map();
    for (const item of this.answer.segments) {
      const key = `${item.segment[rows]}\u0000${columns ? item.segment[columns] : null}`;
      if (this.cells.has(key)) {
        const group = groups.get(key) ?? { customers: 0, treatments: [] };
        group.customers += item.customers;
        group.treatments.push(item.treatment);
        groups.set(key, group);
        rated += item.customers;
        add(sums, `row ${item.segment[rows]}`, item.customers);
        add(sums, `column ${item.segment[columns]}`, item.customers);
      } else {
        const state = Object.values(item.segment).find((tier) => STATES.includes(tier)) ?? "unrated";
        add(rest, state, item.customers);
      }
    }
    const most = Math.max(...[...groups.values()].map((group) => group.customers), 1);
    for (const [key, cell] of this.cells) {
      this.fillCell(cell, groups.get(key) ?? { customers: 0, treatments: [] }, rated, most);
    }
    for (const [key, node] of this.sums) {
      setText(node, `${count(sums.get(key) ?? 0)}`);
    }
    setText(byId("matrix-rest"), restText(rest, rated, this.answer.customers));
  }

  fillCell(cell, group, rated, most) {
    const before = cell.customers;
    cell.customers = group.customers;
    setText(cell.number, count(group.customers));
    setText(cell.share, share(group.customers, rated));
    // The root keeps small segments apart on the same scale as large ones.
    cell.cell.style.setProperty("--share", `${(100 * Math.sqrt(group.customers / most)).toFixed(1)}%`);
    const channels = [...new Set(group.treatments.map((treatment) => treatment.channel))];
    if (channels.join() !== cell.channel) {
      cell.channel = channels.join();
      show(cell.treatment, channels.length === 1 ? channelMark(channels[0]) : "");
    }
    const actions = [...new Set(group.treatments.map((treatment) => treatment.action))];
    cell.link.title = actions.length === 1 ? actions[0] : "";
    const name = [cell.row, cell.column].filter((tier) => tier !== null).map(plain).join(", ");
    cell.link.setAttribute("aria-label",
      `${name}: ${plural(group.customers, "customer")}, ${share(group.customers, rated)}, served by ${channels.join(" or ") || "nobody"}`);
    if (before !== null && before !== group.customers) {
      const gained = group.customers - before;
      setText(cell.delta, gained > 0 ? `+${number(gained)}` : `\u2212${number(-gained)}`);
      flash(cell.cell, gained > 0 ? "up" : "down");
    }
  }
}

const timers = new WeakMap();

function flash(node, way) {
  node.classList.remove("up", "down");
  clearTimeout(timers.get(node));
  timers.set(node, setTimeout(() => node.classList.remove("up", "down"), FLASH_MS));
  // Reading a measure makes the browser notice that the class was gone, so that the animation begins again.
  void node.offsetWidth;
  node.classList.add(way);
}

function restText(rest, rated, all) {
  if (!all) {
    return "No customer yet: the first event brings the first one.";
  }
  const parts = [];
  if (rest.get("prospect")) {
    parts.push(`${plural(rest.get("prospect"), "prospect")} who bought nothing yet`);
  }
  if (rest.get("unrated")) {
    parts.push(`${plural(rest.get("unrated"), "buyer")} without a rating${rated ? "" : ": there are too few for cut points"}`);
  }
  const also = parts.length ? ` Also ${parts.join(", and ")}.` : "";
  return `${plural(rated, "rated customer")}.${also}`;
}
