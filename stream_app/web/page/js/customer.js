// One customer: where they stand, how they came there, why, and what would change it.

import { ApiError, get, path } from "./api.js";
import { Distribution } from "./distribution.js";
import { byId, element, setText, show } from "./dom.js";
import { count, day, moment, number, plain, plural, score, share, signed, title } from "./format.js";
import { LifePicture } from "./life_picture.js";
import { channelMark, changeItem, heldPill } from "./parts.js";

const PAGE_CHANGES = 500;
const PAGES_MAX = 4;
const BARS_MAX = 7;

export class CustomerView {
  constructor({ onTrouble }) {
    this.host = byId("customer-view");
    this.onTrouble = onTrouble;
    this.id = null;
    this.changes = [];
  }

  /** Show a customer, and keep it up to date until `close`. */
  async open(id, axes) {
    this.id = id;
    this.axes = axes;
    this.changes = [];
    this.seen = null;
    this.heading = element("h1", { class: "who", tabindex: "-1" }, "Customer ", element("span", { class: "id", text: id }));
    this.body = element("div", {}, element("p", { class: "empty", text: "Looking the customer up \u2026" }));
    show(this.host, element("a", { class: "back", href: "#/", text: "\u2190 All segments" }), this.heading, this.body);
    this.isBuilt = false;
    await this.refresh();
  }

  close() {
    this.id = null;
  }

  /** Ask for everything of the customer; what is shown changes only where the answers did. */
  async refresh() {
    const id = this.id;
    if (id === null || this.isAsking) {
      return;
    }
    this.isAsking = true;
    try {
      const [customer, why] = await Promise.all([get(path("customers", id)), get(path("customers", id, "why"))]);
      if (customer.changes !== this.changes.length) {
        this.changes = await history(id);
      }
      const distributions = await Promise.all(this.axes.map((axis) => get(path("distribution"), { axis: axis.axis })));
      if (id === this.id) {
        this.fill(customer, why, distributions);
      }
    } catch (error) {
      if (id === this.id) {
        this.fail(error);
      }
    } finally {
      this.isAsking = false;
      if (this.id !== null && id !== this.id) {
        this.refresh();
      }
    }
  }

  fail(error) {
    if (!(error instanceof ApiError) || error.status === 0 || error.status === 503) {
      this.onTrouble(error);
      if (!this.isBuilt) {
        show(this.body, element("p", { class: "empty", text: "The customers cannot be read at the moment; this goes on by itself." }));
      }
      return;
    }
    this.isBuilt = false;
    const isUnknown = error.status === 404;
    show(this.body, element("div", { class: "card empty" },
      element("b", { text: isUnknown ? "No customer has this id." : "This is no customer id." }),
      isUnknown
        ? "Ids are compared letter by letter, capitals and spaces included. A customer is known from the first event on."
        : error.message));
  }

  build() {
    this.isBuilt = true;
    this.held = element("div", { class: "held" });
    this.advice = element("div", { class: "advice" });
    this.expected = element("dl", { class: "facts" });
    this.bought = element("dl", { class: "facts" });
    this.steps = element("ol", { class: "steps" });
    this.stepsNote = element("p", { class: "note" });
    this.fresh = element("p", { class: "note" });
    const picture = element("div");
    this.reasons = this.axes.map((axis) => new AxisReasons(axis));
    show(this.body, this.held, this.advice,
      element("div", { class: "grid" },
        element("figure", { class: "card wide" }, element("h2", { text: "The way here" }), this.stepsNote, picture),
        this.reasons.map((reasons) => reasons.node),
        element("section", { class: "card" }, element("h2", { text: "What is expected" }), this.expected),
        element("section", { class: "card" }, element("h2", { text: "What was bought" }), this.bought),
        element("section", { class: "card wide" }, element("h2", { text: "Step by step, newest first" }), this.steps)), this.fresh);
    this.picture = new LifePicture(picture);
  }

  fill(customer, why, distributions) {
    const seen = JSON.stringify([customer, why, this.changes.length]);
    if (seen === this.seen) {
      return;
    }
    this.seen = seen;
    if (!this.isBuilt) {
      this.build();
    }
    show(this.held, this.axes.map((axis) => heldPill(axis, customer.segment[axis.axis])));
    show(this.advice, element("p", {}, channelMark(customer.treatment.channel), " ", customer.treatment.action),
      element("p", { class: "note", text: "What the policy recommends for customers of this segment." }));
    setText(this.stepsNote, wayText(this.changes, customer.changes));
    this.picture.update({ axes: this.axes, changes: this.changes, customer, onPick: (change) => this.pick(change) });
    this.reasons.forEach((reasons, place) => {
      reasons.update(why.axes.find((axis) => axis.axis === reasons.axis.axis), distributions[place]);
    });
    show(this.expected, expectedFacts(why.expectation));
    show(this.bought, boughtFacts(customer.purchases));
    this.fillSteps();
    const behind = customer.freshness.events_behind;
    setText(this.fresh, `Last event ${moment(customer.freshness.last_event_at)}; ${behind ? `${plural(behind, "event")} of the partition still wait` : "nothing waits to be applied"}; rated with knowledge v${customer.freshness.knowledge_version}.`);
  }

  fillSteps() {
    const known = new Set([...this.steps.children].map((item) => item.dataset.change));
    const fresh = this.changes.filter((change) => !known.has(change.change_id)).reverse();
    this.steps.prepend(...fresh.map((change) => changeItem(this.axes.find((axis) => axis.axis === change.axis), change, { isNamed: false })));
  }

  /** Bring the reason of a change into view. */
  pick(change) {
    const item = [...this.steps.children].find((node) => node.dataset.change === change.change_id);
    item?.scrollIntoView({ block: "center" });
    item?.classList.add("new");
    setTimeout(() => item?.classList.remove("new"), 1_600);
  }
}

/** Tell how the customer came here; `told` is how many changes there ever were. */
function wayText(changes, told) {
  const moves = changes.filter((change) => change.from_tier !== null).length;
  if (!changes.length) {
    return told ? "The changes that led here are no longer kept." : "No tier so far: there is nothing to draw yet.";
  }
  if (changes[0].sequence > 1) {
    return `${plural(changes.length, "change")} of tier; ${plural(changes[0].sequence - 1, "earlier one")} no longer kept.`;
  }
  return moves ? `${plural(moves, "change")} of tier since the first rating; a dot is a change, a bar how long a tier was held.` : "No change of tier since the first rating.";
}

async function history(id) {
  const changes = [];
  let cursor = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await get(path("customers", id, "history"), { limit: PAGE_CHANGES, cursor });
    changes.push(...answer.items);
    cursor = answer.next;
    if (!cursor) {
      break;
    }
  }
  return changes;
}

/** Why a customer stands where they stand on one axis, and what would change it. */
class AxisReasons {
  constructor(axis) {
    this.axis = axis;
    this.said = element("p", { class: "note" });
    this.bars = element("ul", { class: "bars" });
    this.next = element("ul", { class: "what-if" });
    this.nextTitle = element("h3", { text: "What would change it" });
    this.scale = element("div", { class: "ladder" });
    this.wait = element("p", { class: "note" });
    this.node = element("section", { class: "card", "data-axis": axis.axis }, element("h2", { text: `Why: ${plain(axis.axis)}` }), this.said,
      this.scale, this.bars, this.nextTitle, this.next, this.wait);
    this.distribution = new Distribution(this.scale, axis);
    this.distribution.summary.hidden = true;
  }

  update(explanation, distribution) {
    const isRated = explanation.score !== null;
    setText(this.said, isRated ? standing(explanation) : `${title(explanation.tier)}: there is no score on this axis yet.`);
    this.nextTitle.hidden = !explanation.next.length;
    this.scale.hidden = !isRated;
    if (isRated) {
      this.distribution.update(distribution, { score: explanation.score, text: `this customer: ${score(explanation.shown_score)}` });
    }
    show(this.bars, contributionBars(explanation.contributions));
    show(this.next, explanation.next.map((line) => element("li", { text: `${line.text.charAt(0).toUpperCase()}${line.text.slice(1)}.` })));
    const candidate = explanation.candidate;
    setText(this.wait, candidate ? `The score suggests ${plain(candidate.tier)} since ${day(candidate.since)}; it counts from ${day(candidate.due_at)} on, if it stays so.` : "");
  }
}

function standing(explanation) {
  const where = explanation.percentile === null ? "" : ` Scores higher than ${explanation.percentile.toFixed(1)} % of the rated customers.`;
  return `${title(explanation.tier)}.${where}`;
}

/** Bars to the right raise the score above that of a typical customer, bars to the left lower it. */
function contributionBars(contributions) {
  const told = contributions.slice(0, BARS_MAX);
  const most = Math.max(...told.map((item) => Math.abs(item.contribution)), 1e-9);
  return told.map((item) => {
    const length = (50 * Math.abs(item.contribution)) / most;
    const isUp = item.contribution >= 0;
    return element("li", {},
      element("span", { class: "said", text: item.text.charAt(0).toUpperCase() + item.text.slice(1) }),
      element("span", { class: "track", "aria-hidden": "true" }, element("i", {
        style: { left: `${isUp ? 50 : 50 - length}%`, width: `${length}%`, background: isUp ? "var(--up)" : "var(--down)" },
      })),
      element("span", { class: "value", text: signed(item.contribution) }));
  });
}

function facts(pairs) {
  return pairs.map(([term, text]) => element("div", {}, element("dt", { text: term }), element("dd", { text })));
}

function expectedFacts(expectation) {
  if (!expectation) {
    return element("p", { class: "note", text: "Nothing yet: that begins with the first purchase." });
  }
  const span = `in ${count(expectation.horizon_days)} days`;
  return facts([
    [`Spends ${span}`, money(expectation.expected_spend, expectation.currency)],
    [`Spent in the last ${count(expectation.horizon_days)} days`, money(expectation.previous_spend, expectation.currency)],
    [`Buys again ${span}`, share(expectation.buy_probability)],
    ["Spends more than before", share(expectation.growth_probability)],
    ["Still a customer", share(expectation.alive_probability)],
    [`Purchases ${span}`, number(expectation.expected_purchases, 2)],
  ]);
}

function boughtFacts(purchases) {
  return facts([
    ["Net spend", money(purchases.net_spend, purchases.currency)], ["Purchases", count(purchases.count)],
    ["Refunded", money(purchases.refunded, purchases.currency)], ["Days with a purchase", count(purchases.baskets)],
    ["First purchase", day(purchases.first_at)], ["Last purchase", day(purchases.last_at)],
  ]);
}

function money(amount, currency) {
  return amount === null ? "\u2013" : `${count(Math.round(amount))} ${currency}`;
}
