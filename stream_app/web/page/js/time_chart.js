// A chart over time: lines, stacked areas, or bars up and down. Read by pointer, by keyboard, or as a table.

import { drawn, element, show } from "./dom.js";
import { moment, number } from "./format.js";
import { linear, roundEnd, roundTicks, spread, timeTicks } from "./scales.js";

const LABEL_HEIGHT = 15;
const AXIS_HEIGHT = 22;
const TOP = 8;
const CHARACTER_WIDTH = 6.6;
const TABLE_ROWS_MAX = 60;

export class TimeChart {
  /**
   * @param {HTMLElement} host what it is drawn into
   * @param {Object} options
   * @param {"line"|"area"|"bars"} options.kind
   * @param {string} options.label what it shows, for those who cannot see it
   * @param {(value: number) => string} [options.format] values in tips and tables
   * @param {(value: number) => string} [options.tick] values at the axis
   * @param {number} [options.height]
   * @param {number} [options.top] fixed upper end of the values
   * @param {number} [options.bottom] fixed lower end of the values
   */
  constructor(host, options) {
    this.options = { height: 170, format: number, tick: number, ...options };
    this.times = [];
    this.series = [];
    this.at = null;
    this.canvas = element("div", {
      class: "plot", tabindex: "0", role: "img", "aria-label": options.label,
      on: {
        pointermove: (event) => this.point(event),
        pointerleave: () => this.read(null),
        blur: () => this.read(null),
        keydown: (event) => this.key(event),
      },
    });
    this.tip = element("div", { class: "tip", hidden: true, role: "status" });
    this.table = element("div", { class: "scroll" });
    this.details = element("details", { class: "as-table", on: { toggle: () => this.fillTable() } },
      element("summary", { text: "As a table" }), this.table);
    show(host, this.canvas, this.details);
    this.canvas.append(this.tip);
    // A chart of no width is hidden; it is drawn when it has one.
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  /**
   * Show other values.
   * @param {number[]} times milliseconds, rising
   * @param {{name: string, colour: string, values: (number|null)[], isBelow?: boolean}[]} series
   */
  update(times, series) {
    this.times = times;
    this.series = series;
    this.draw();
    this.fillTable();
  }

  draw() {
    const width = this.canvas.clientWidth;
    this.canvas.querySelector("svg")?.remove();
    if (!width || !this.times.length) {
      return;
    }
    const { height, kind } = this.options;
    const tickTexts = this.scaleValues(height);
    const left = Math.max(...tickTexts.map((tick) => tick.text.length)) * CHARACTER_WIDTH + 12;
    const names = kind === "bars" ? [] : this.series.map((item) => item.name);
    const right = names.length > 1 || kind === "area" ? Math.max(...names.map((name) => name.length)) * 7 + 14 : 10;
    const [first, last] = [this.times[0], this.times.at(-1)];
    this.x = linear([first, last], [left, width - right]);
    this.edges = { left, right: width - right };
    const svg = drawn("svg", { width, height: height + AXIS_HEIGHT, "aria-hidden": "true" });
    for (const tick of tickTexts) {
      svg.append(
        drawn("line", { class: tick.value === 0 ? "zero" : "grid", x1: left, x2: width - right, y1: tick.y, y2: tick.y }),
        drawn("text", { class: "y", x: left - 8, y: tick.y + 4, "text-anchor": "end" }, tick.text),
      );
    }
    for (const tick of timeTicks(first, last, Math.max(2, Math.floor((width - left) / 110)))) {
      const x = this.x(tick.ms);
      const half = (tick.text.length * CHARACTER_WIDTH) / 2;
      const anchor = x - half < left - 20 ? "start" : x + half > width ? "end" : "middle";
      svg.append(drawn("text", { class: "x", x, y: height + 16, "text-anchor": anchor }, tick.text));
    }
    ({ line: () => this.drawLines(svg), area: () => this.drawAreas(svg), bars: () => this.drawBars(svg) })[kind]();
    this.hair = drawn("line", { class: "hair", y1: TOP, y2: height, x1: 0, x2: 0, visibility: "hidden" });
    svg.append(this.hair);
    this.canvas.prepend(svg);
    this.read(this.at);
  }

  scaleValues(height) {
    const { kind, top, bottom } = this.options;
    let [low, high] = [0, 0];
    if (kind === "area") {
      high = Math.max(...this.times.map((_, at) => this.total(at)));
    } else {
      const values = this.series.flatMap((item) => item.values.map((value) => (item.isBelow ? -value : value)));
      const known = values.filter((value) => value !== null && Number.isFinite(value));
      high = known.length ? Math.max(...known) : 1;
      low = known.length ? Math.min(...known) : 0;
    }
    high = top ?? roundEnd(high);
    low = bottom ?? (low < 0 ? -roundEnd(-low) : 0);
    const line = linear([low, high], [height, TOP]);
    // What lies beyond a fixed end is drawn at the end.
    this.y = (value) => line(Math.min(Math.max(value, low), high));
    return roundTicks(low, high, 3).map((value) => ({ value, y: this.y(value), text: this.options.tick(Math.abs(value)) }));
  }

  total(at) {
    return this.series.reduce((sum, item) => sum + (item.values[at] ?? 0), 0);
  }

  drawLines(svg) {
    const ends = [];
    for (const item of this.series) {
      let path = "";
      let isDown = false;
      item.values.forEach((value, at) => {
        const is = value !== null && value !== undefined && Number.isFinite(value);
        path += is ? `${isDown ? "L" : "M"}${this.x(this.times[at]).toFixed(1)},${this.y(value).toFixed(1)}` : "";
        isDown = is;
      });
      svg.append(drawn("path", { class: "line", d: path, style: { stroke: item.colour } }));
      const end = item.values.findLastIndex((value) => Number.isFinite(value) && value !== null);
      if (end >= 0) {
        const [x, y] = [this.x(this.times[end]), this.y(item.values[end])];
        svg.append(drawn("circle", { class: "end", cx: x, cy: y, r: 3.5, style: { fill: item.colour } }));
        ends.push({ y, item });
      }
    }
    this.nameEnds(svg, this.series.length > 1 ? ends : []);
  }

  drawAreas(svg) {
    const floors = new Array(this.times.length).fill(0);
    const middles = [];
    for (const item of this.series) {
      const lower = floors.map((value, at) => `${this.x(this.times[at]).toFixed(1)},${this.y(value).toFixed(1)}`);
      item.values.forEach((value, at) => {
        floors[at] += value ?? 0;
      });
      const upper = floors.map((value, at) => `${this.x(this.times[at]).toFixed(1)},${this.y(value).toFixed(1)}`);
      const outline = `M${upper.join("L")}L${lower.reverse().join("L")}Z`;
      svg.append(drawn("path", { class: "area", d: outline, style: { fill: item.colour } }));
      const last = item.values.at(-1) ?? 0;
      middles.push({ y: this.y(floors.at(-1) - last / 2), item });
    }
    this.nameEnds(svg, middles);
  }

  nameEnds(svg, ends) {
    const range = [TOP + 4, this.options.height - 2];
    const places = spread(ends.map((end) => end.y), LABEL_HEIGHT, range);
    ends.forEach(({ item }, index) => {
      svg.append(drawn("text", { class: "name", x: this.edges.right + 9, y: places[index] + 4 }, item.name));
    });
  }

  drawBars(svg) {
    const slot = (this.edges.right - this.edges.left) / Math.max(this.times.length, 1);
    const width = Math.max(Math.min(slot * 0.72, 18), 1);
    for (const item of this.series) {
      item.values.forEach((value, at) => {
        const zero = this.y(0);
        const end = this.y(item.isBelow ? -(value ?? 0) : value ?? 0);
        const x = Math.min(Math.max(this.x(this.times[at]), this.edges.left + width / 2), this.edges.right - width / 2);
        svg.append(drawn("rect", {
          x: x - width / 2, width, y: Math.min(zero, end), height: Math.abs(zero - end), style: { fill: item.colour },
        }));
      });
    }
  }

  point(event) {
    if (!this.x || !this.times.length) {
      return;
    }
    const place = event.clientX - this.canvas.getBoundingClientRect().left;
    let best = 0;
    this.times.forEach((ms, at) => {
      if (Math.abs(this.x(ms) - place) < Math.abs(this.x(this.times[best]) - place)) {
        best = at;
      }
    });
    this.read(best);
  }

  key(event) {
    const last = this.times.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") {
      this.read(null);
    } else if (event.key in steps && last >= 0) {
      event.preventDefault();
      this.read(Math.min(Math.max((this.at ?? last) + steps[event.key], 0), last));
    }
  }

  read(at) {
    this.at = at !== null && at < this.times.length ? at : null;
    this.hair?.setAttribute("visibility", this.at === null ? "hidden" : "visible");
    this.tip.hidden = this.at === null;
    if (this.at === null || !this.x) {
      return;
    }
    const x = this.x(this.times[this.at]);
    this.hair.setAttribute("x1", x);
    this.hair.setAttribute("x2", x);
    const listed = this.options.kind === "area" ? [...this.series].reverse() : this.series;
    show(this.tip, element("strong", { text: moment(this.times[this.at]) }),
      listed.map((item) => element("div", {},
        element("span", {}, element("i", { class: "swatch", style: { background: item.colour } }), item.name),
        element("b", { text: this.options.format(item.values[this.at], this.total(this.at)) }))));
    const isRight = x > this.canvas.clientWidth / 2;
    this.tip.style.setProperty("left", isRight ? "auto" : `${x + 12}px`);
    this.tip.style.setProperty("right", isRight ? `${this.canvas.clientWidth - x + 12}px` : "auto");
  }

  fillTable() {
    if (!this.details.open) {
      return;
    }
    const from = Math.max(this.times.length - TABLE_ROWS_MAX, 0);
    const head = element("tr", {}, element("th", { scope: "col", text: "Time" }),
      this.series.map((item) => element("th", { scope: "col", text: item.name })));
    const rows = this.times.slice(from).map((ms, index) => element("tr", {},
      element("th", { scope: "row", text: moment(ms) }),
      this.series.map((item) => element("td", {
        text: this.options.format(item.values[from + index], this.total(from + index)),
      }))));
    show(this.table, element("table", {}, element("thead", {}, head), element("tbody", {}, rows.reverse())));
  }
}
