// The customers of one segment, highest score first.

import { ApiError, get } from "./api.js";
import { byId, element, show } from "./dom.js";
import { count, day, plain, plural, score, title } from "./format.js";
import { channelMark, customerLink, segmentAddress, swatch } from "./parts.js";

const PAGE_ROWS = 50;

export class SegmentView {
  constructor({ onTrouble }) {
    this.host = byId("segment-view");
    this.onTrouble = onTrouble;
  }

  /** Show the segment with these tiers, one an axis. */
  async open(tiers, axes, segments) {
    this.tiers = tiers;
    this.axes = axes;
    if (tiers.length !== axes.length || tiers.includes("*")) {
      this.list(segments);
      return;
    }
    this.sort = axes[0].axis;
    this.rows = element("tbody");
    this.end = element("div", { class: "list-end" });
    this.lead = element("div", {});
    show(this.host,
      element("a", { class: "back", href: "#/", text: "\u2190 All segments" }),
      element("h1", { tabindex: "-1", class: "who" }, tiers.map((tier, place) => [place ? " \u00b7 " : "", swatch(axes[place], tier), plain(tier)])),
      this.lead,
      element("div", { class: "card" }, element("div", { class: "head" }, element("h2", { text: "Who they are" }), this.sortChoice()),
        element("div", { class: "wide-table" }, element("table", { class: "rows" }, element("thead", {}, this.headRow()), this.rows)), this.end));
    await this.load(null);
  }

  /** With more axes than the matrix has, a cell is several segments. */
  list(segments) {
    const isMeant = (segment) => this.axes.every(({ axis }, place) => ["*", undefined, segment[axis]].includes(this.tiers[place]));
    const meant = (segments?.segments ?? []).filter((item) => isMeant(item.segment));
    show(this.host,
      element("a", { class: "back", href: "#/", text: "\u2190 All segments" }),
      element("h1", { tabindex: "-1", class: "who", text: "Which segment?" }),
      element("div", { class: "card" }, meant.length ? element("table", { class: "rows" }, element("tbody", {}, meant.map((item) => {
        const own = this.axes.map(({ axis }) => item.segment[axis]);
        return element("tr", {}, element("td", {}, element("a", { href: segmentAddress(own), text: own.map(plain).join(" \u00b7 ") })),
          element("td", { text: count(item.customers) }), element("td", { class: "text" }, channelMark(item.treatment.channel), " ", item.treatment.action));
      }))) : element("p", { class: "empty", text: "The policy has no such segment." })));
  }

  sortChoice() {
    return element("label", { class: "choices" }, "Highest", element("select", {
      on: { change: (event) => { this.sort = event.target.value; this.rows.replaceChildren(); this.load(null); } },
    }, this.axes.map((axis) => element("option", { value: axis.axis, text: `${plain(axis.axis)} score` }))));
  }

  headRow() {
    const head = (text, name = "") => element("th", { scope: "col", class: name, text });
    return element("tr", {}, head("Customer"), this.axes.flatMap((axis) => [head(`${title(axis.axis)} score`), head("higher than", "minor")]),
      head("Net spend"), head("Last purchase"));
  }

  async load(cursor) {
    const address = `v1/segments/${this.tiers.map(encodeURIComponent).join("/")}/customers`;
    const asked = this.tiers;
    try {
      const answer = await get(address, { sort: this.sort, cursor, limit: PAGE_ROWS });
      if (asked !== this.tiers) {
        return;
      }
      show(this.lead, element("div", { class: "advice" },
        element("p", {}, channelMark(answer.treatment.channel), " ", answer.treatment.action),
        element("p", { class: "note", text: `What the policy recommends for the ${plural(answer.customers, "customer")} of this segment.` })));
      this.rows.append(...answer.items.map((item) => this.row(item)));
      const shown = this.rows.children.length;
      show(this.end, answer.next ? element("button", { type: "button", text: "Show more", on: { click: () => this.load(answer.next) } }) : "",
        element("span", { class: "note", text: shown ? `${count(shown)} of ${count(answer.customers)}` : "Nobody is in this segment now." }));
    } catch (error) {
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
        show(this.end, element("p", { class: "note", text: error.message }));
      } else {
        this.onTrouble(error);
      }
    }
  }

  row(item) {
    return element("tr", {}, element("td", {}, customerLink(item.customer_id)),
      this.axes.flatMap(({ axis }) => [
        element("td", { text: score(item.shown_scores[axis]) }),
        element("td", { class: "minor", text: item.percentiles[axis] === null ? "\u2013" : `${item.percentiles[axis].toFixed(1)} %` }),
      ]),
      element("td", { text: count(Math.round(item.net_spend)) }), element("td", { text: day(item.last_purchase_at) }));
  }
}
