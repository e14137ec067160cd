// Small pieces that several views show: who serves a customer, a move between tiers, one change with its reason.

import { direction, heldColour } from "./colours.js";
import { drawn, element } from "./dom.js";
import { clock, day, plain, title } from "./format.js";

const CAUSES = {
  first_rated: { name: "first ratings", said: "Rated for the first time" },
  event: { name: "by events", said: "Moved by what the customer did" },
  time: { name: "by time alone", said: "Moved by time that passed" },
  cut_point: { name: "by new cut points", said: "Moved because the cut points did" },
  merge: { name: "by merging", said: "Moved because two customers were merged" },
};
const ARROWS = { 1: "\u2197", 0: "\u2192", "-1": "\u2198" };
const WAYS = { 1: "up", 0: "to", "-1": "down" };
const HUMAN = "M8 8.2a3.1 3.1 0 1 0 0-6.2 3.1 3.1 0 0 0 0 6.2zM2 14.5c0-3 2.6-4.8 6-4.8s6 1.8 6 4.8z";
const DIGITAL = "M2 2.5h12V11H2zM5.5 14h5M8 11v3";

/** Short name of a cause, for counts and choices. */
export function causeName(cause) {
  return CAUSES[cause]?.name ?? plain(cause);
}

/** All causes, for a choice among them. */
export const CAUSE_NAMES = Object.keys(CAUSES);

/** Who serves: a person or a digital channel. */
export function channelMark(channel) {
  const shape = channel === "human"
    ? drawn("path", { d: HUMAN, fill: "currentColor" })
    : drawn("path", { d: DIGITAL, fill: "none", stroke: "currentColor", "stroke-width": "1.6" });
  return element("span", { class: "channel", "data-channel": channel },
    drawn("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, shape), plain(channel));
}

/** A swatch in the colour of a tier. */
export function swatch(axis, tier) {
  return element("i", { class: "swatch", style: { background: heldColour(axis, tier) } });
}

/** A tier that is held on an axis. */
export function heldPill(axis, tier) {
  return element("span", { class: "pill" }, swatch(axis, tier), plain(axis.axis), element("b", { text: plain(tier) }));
}

/** Link to a customer's own view. */
export function customerLink(id) {
  return element("a", { class: "id", href: customerAddress(id), text: id });
}

/** Address of a customer's own view. */
export function customerAddress(id) {
  return `#/customers/${encodeURIComponent(id)}`;
}

/** Address of the list of a segment's customers: one tier an axis. */
export function segmentAddress(tiers) {
  return `#/segments/${tiers.map(encodeURIComponent).join("/")}`;
}

/** "value: small -> big". */
export function move(axis, change) {
  const way = direction(axis, change.from_tier, change.to_tier);
  return element("span", { class: "move", "data-way": way },
    `${plain(change.axis)} `, element("span", { text: plain(change.from_tier ?? "unrated") }),
    element("span", { class: "arrow", "aria-label": WAYS[way], role: "img", text: ARROWS[way] }),
    swatch(axis, change.to_tier), element("span", { class: "to", text: plain(change.to_tier) }));
}

/** Why it happened: the strongest reason that pulls the way the customer went, else the strongest. */
export function reasonText(axis, change) {
  const way = direction(axis, change.from_tier, change.to_tier);
  const reasons = change.reasons ?? [];
  const text = (reasons.find((reason) => way === 0 || Math.sign(reason.contribution) === way) ?? reasons[0])?.text;
  return text ? text.charAt(0).toUpperCase() + text.slice(1) : "";
}

/** One change: who, from where to where, when, why, and what is done now. */
export function changeItem(axis, change, { isNamed }) {
  const reason = reasonText(axis, change);
  return element("li", { "data-change": change.change_id },
    element("div", { class: "line1" }, isNamed ? customerLink(change.customer_id) : "", move(axis, change),
      element("time", { datetime: change.effective_at, text: `${day(change.effective_at)}, ${clock(change.effective_at)}` })),
    element("p", { class: "why" }, reason ? `${reason}. ` : "", element("span", { class: "cause", text: `${CAUSES[change.cause]?.said ?? title(change.cause)}.` })),
    element("p", { class: "next" }, channelMark(change.treatment.channel), change.treatment.action));
}
