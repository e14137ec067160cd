// How the scores of an axis are spread, with the lines between its tiers, and where one customer stands among them.

import { heldColour } from "./colours.js";
import { drawn, element, show } from "./dom.js";
import { count, number, plain, share } from "./format.js";
import { linear, roundTicks, spread } from "./scales.js";

const HEIGHT = 150;
const LABELS = 34;
const AXIS_HEIGHT = 22;
const MARK_HEIGHT = 20;
const SIDE = 14;

export class Distribution {
  /**
   * @param {HTMLElement} host
   * @param {{axis: string, tiers: string[]}} axis
   */
  constructor(host, axis) {
    this.axis = axis;
    this.answer = null;
    this.mark = null;
    this.canvas = element("div", { class: "plot", role: "img", "aria-label": `Scores on the axis ${plain(axis.axis)}` });
    this.summary = element("p", { class: "note" });
    show(host, this.canvas, this.summary);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  /**
   * @param {Object} answer of /v1/distribution
   * @param {{score: number, text: string}|null} [mark] a customer's place
   */
  update(answer, mark = null) {
    this.answer = answer;
    this.mark = mark;
    this.draw();
  }

  draw() {
    const width = this.canvas.clientWidth;
    this.canvas.querySelector("svg")?.remove();
    if (!width || !this.answer) {
      return;
    }
    const { edges, counts, lines, customers } = this.answer;
    if (!customers || counts.length === 0) {
      show(this.summary, "Nobody is rated on this axis yet.");
      return;
    }
    const [low, high] = visibleRange(edges, counts, lines, this.mark);
    this.range = [low, high];
    this.x = linear([low, high], [SIDE, width - SIDE]);
    const most = Math.max(...counts);
    const y = linear([0, most], [HEIGHT + LABELS, LABELS]);
    const svg = drawn("svg", { width, height: HEIGHT + LABELS + AXIS_HEIGHT + (this.mark ? MARK_HEIGHT : 0), "aria-hidden": "true" });
    counts.forEach((value, at) => this.bar(svg, [edges[at], edges[at + 1]], value, y));
    svg.append(drawn("line", { class: "zero", x1: SIDE, x2: width - SIDE, y1: HEIGHT + LABELS, y2: HEIGHT + LABELS }));
    this.drawScale(svg, low, high);
    this.drawLines(svg, lines);
    if (this.mark) {
      this.drawMark(svg, width);
    }
    this.canvas.prepend(svg);
    this.tell();
  }

  bar(svg, [from, to], value, y) {
    const [start, end] = [this.x(from), this.x(to)];
    // Single scores far out are left out of the picture, as visibleRange has it.
    if (value && (from + to) / 2 >= this.range[0] && (from + to) / 2 <= this.range[1]) {
      const gap = end - start > 3 ? 0.6 : 0;
      svg.append(drawn("rect", {
        x: start + gap / 2, width: Math.max(end - start - gap, 0.5), y: y(value), height: HEIGHT + LABELS - y(value),
        style: { fill: heldColour(this.axis, this.tierAt((from + to) / 2)) },
      }));
    }
  }

  tierAt(score) {
    const place = this.answer.lines.filter((line) => line.cut_point <= score).length;
    return this.answer.lines.length ? this.axis.tiers[place] : "unrated";
  }

  /** Scores are labelled in the unit in which people read them, at round values of that unit. */
  drawScale(svg, low, high) {
    const { edges, shown_edges: shown } = this.answer;
    const toShown = (score) => between(edges, shown, score);
    const toScore = (value) => between(shown, edges, value);
    let last = -Infinity;
    for (const value of roundTicks(toShown(low), toShown(high), 5)) {
      const x = this.x(toScore(value));
      const text = number(value);
      const isFree = !this.mark || Math.abs(x - this.x(this.mark.score)) > text.length * 3.5 + 9;
      if (isFree && x >= SIDE - 1 && x - last > text.length * 7 + 14) {
        svg.append(drawn("text", { class: "x", x, y: HEIGHT + LABELS + 16, "text-anchor": "middle" }, text));
        last = x;
      }
    }
  }

  drawLines(svg, lines) {
    for (const line of lines) {
      const [demote, promote] = [this.x(line.demote_line), this.x(line.promote_line)];
      svg.append(
        drawn("rect", { class: "band", x: demote, width: Math.max(promote - demote, 0), y: LABELS, height: HEIGHT }),
        drawn("line", { class: "cut", x1: this.x(line.cut_point), x2: this.x(line.cut_point), y1: LABELS - 4, y2: HEIGHT + LABELS }),
      );
    }
    this.drawTierNames(svg, lines);
  }

  drawTierNames(svg, lines) {
    if (!lines.length) {
      return;
    }
    const width = this.canvas.clientWidth;
    const cuts = [SIDE, ...lines.map((line) => this.x(line.cut_point)), width - SIDE];
    const middles = this.axis.tiers.map((_, place) => (cuts[place] + cuts[place + 1]) / 2);
    const wide = Math.max(...this.axis.tiers.map((tier) => plain(tier).length)) * 7.4 + 10;
    const places = spread(middles, wide, [wide / 2, width - wide / 2]);
    this.axis.tiers.forEach((tier, place) => {
      svg.append(drawn("text", { class: "name halo", x: places[place], y: LABELS - 10, "text-anchor": "middle" }, plain(tier)));
    });
  }

  drawMark(svg, width) {
    const x = Math.min(Math.max(this.x(this.mark.score), SIDE), width - SIDE);
    const half = this.mark.text.length * 3.7;
    const anchor = x < half ? "start" : x > width - half ? "end" : "middle";
    const foot = HEIGHT + LABELS;
    svg.append(
      drawn("line", { class: "here", x1: x, x2: x, y1: LABELS - 4, y2: foot }),
      drawn("path", { class: "here-tip", d: `M${x - 6},${foot + 9}L${x + 6},${foot + 9}L${x},${foot - 1}Z` }),
      drawn("text", { class: "strong here-text", x, y: foot + AXIS_HEIGHT + 13, "text-anchor": anchor }, this.mark.text),
    );
  }

  tell() {
    const { counts, edges, lines, customers } = this.answer;
    if (!lines.length) {
      show(this.summary, `${count(customers)} scores, and no cut points yet.`);
      return;
    }
    const parts = this.axis.tiers.map((tier, place) => {
      const inside = counts.filter((_, at) => this.tierAt((edges[at] + edges[at + 1]) / 2) === this.axis.tiers[place]);
      return `${plain(tier)} ${share(inside.reduce((sum, value) => sum + value, 0), customers)}`;
    });
    show(this.summary, `By score alone: ${parts.join(", ")}. Within a grey band the held tier stays, so that nobody goes to and fro.`);
  }
}

/** The range that holds nearly all scores, all lines and the mark: single scores far out would squeeze the rest. */
function visibleRange(edges, counts, lines, mark) {
  const all = counts.reduce((sum, value) => sum + value, 0);
  const few = all * 0.002;
  let [from, to, sum] = [0, counts.length, 0];
  while (from < to - 1 && sum + counts[from] <= few) {
    sum += counts[from];
    from += 1;
  }
  sum = 0;
  while (to > from + 1 && sum + counts[to - 1] <= few) {
    sum += counts[to - 1];
    to -= 1;
  }
  const points = lines.flatMap((line) => [line.demote_line, line.promote_line]).concat(mark ? [mark.score] : []);
  return [Math.min(edges[from], ...points), Math.max(edges[to], ...points)];
}

/** Read a value off a table of two rising rows, straight between its entries. */
function between(from, to, value) {
  let at = from.findIndex((entry) => entry > value);
  at = at < 0 ? from.length - 1 : Math.max(at, 1);
  const length = from[at] - from[at - 1];
  return length > 0 ? to[at - 1] + ((value - from[at - 1]) / length) * (to[at] - to[at - 1]) : to[at];
}
