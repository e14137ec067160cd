// The stream of changes: newest first, filtered, paused when the reader wants to read.

import { byId, element, setText, show } from "./dom.js";
import { count, plain, title } from "./format.js";
import { get, path } from "./api.js";
import { CAUSE_NAMES, causeName, changeItem } from "./parts.js";

const LISTED_MAX = 60;
const WAITING_MAX = 500;
const DRAW_EVERY_MS = 120;
const HELD_LOOK_MS = 200;
/** After a touch, what was touched counts as pointed at for good. */
const CAN_POINT = window.matchMedia("(hover: hover)");

export class Changes {
  constructor({ onTrouble }) {
    this.list = byId("changes");
    this.note = byId("changes-note");
    this.onTrouble = onTrouble;
    this.axes = [];
    this.waiting = [];
    this.skipped = 0;
    this.filter = { axis: "", to_tier: "", cause: "" };
    this.isPaused = false;
    this.pauseButton = byId("pause");
    this.pauseButton.addEventListener("click", () => this.pause(!this.isPaused));
    this.isLoaded = false;
    this.loads = 0;
    this.meanwhile = [];
    this.listed = [];
  }

  setAxes(axes) {
    const shape = JSON.stringify(axes);
    if (shape !== this.shape) {
      this.shape = shape;
      this.axes = axes;
      this.offerFilters();
      this.load();
    }
  }

  offerFilters() {
    const tiers = this.axes.filter((axis) => !this.filter.axis || axis.axis === this.filter.axis)
      .flatMap((axis) => axis.tiers);
    const choice = (name, label, any, options) => element("select", {
      "aria-label": label,
      on: { change: (event) => this.choose(name, event.target.value) },
    }, element("option", { value: "", text: any }), options.map(([value, text]) => element("option", {
      value, text, selected: value === this.filter[name],
    })));
    show(byId("filters"),
      choice("axis", "Axis", "Any axis", this.axes.map((axis) => [axis.axis, title(axis.axis)])),
      choice("to_tier", "New tier", "Any new tier", [...new Set(tiers)].map((tier) => [tier, `Now ${plain(tier)}`])),
      choice("cause", "Cause", "Any cause", CAUSE_NAMES.map((cause) => [cause, title(causeName(cause))])));
  }

  choose(name, value) {
    this.filter[name] = value;
    const axis = this.axes.find((item) => item.axis === this.filter.axis);
    if (axis && !axis.tiers.includes(this.filter.to_tier)) {
      this.filter.to_tier = "";
    }
    this.offerFilters();
    byId("filters").children[["axis", "to_tier", "cause"].indexOf(name)].focus();
    this.load();
  }

  /** Read the newest changes: at the start, for another filter, and after a break. */
  async load() {
    this.loads += 1;
    const load = this.loads;
    this.meanwhile = [];
    try {
      // The tier stands on one axis: without an axis, that of the tier is meant.
      const axis = this.filter.axis || this.axes.find((item) => item.tiers.includes(this.filter.to_tier))?.axis;
      const needsAxis = this.filter.axis || this.filter.to_tier;
      const asks = { axis: needsAxis ? axis : "", to: this.filter.to_tier, cause: this.filter.cause, limit: LISTED_MAX };
      const answer = await get(path("changes"), asks);
      if (load !== this.loads) {
        return;
      }
      this.isLoaded = true;
      this.skipped = 0;
      show(this.list);
      this.arrange(answer.items.map((change) => ({ change })));
      // What came while the answer was on its way may be newer than the answer.
      this.waiting = this.unlisted(this.meanwhile);
      this.draw();
      this.tell();
    } catch (error) {
      this.onTrouble(error);
    }
  }

  /** Take in a change that has just come. */
  add(change) {
    if (!this.isWanted(change)) {
      return;
    }
    this.meanwhile = [...this.meanwhile.slice(1 - LISTED_MAX), change];
    this.waiting.push(change);
    if (this.waiting.length > WAITING_MAX) {
      this.waiting.shift();
      this.skipped += 1;
    }
    if (!this.isPaused && !this.timer) {
      // A single change is there at once; a flood is drawn some times a second.
      this.timer = setTimeout(() => this.draw(), Math.max((this.drawnAt ?? 0) + DRAW_EVERY_MS - performance.now(), 0));
    } else if (this.isPaused) {
      this.tell();
    }
  }

  /** Somebody points at the list, or has the focus in it. */
  get isHeld() {
    return (CAN_POINT.matches && this.list.matches(":hover")) || this.list.contains(document.activeElement);
  }

  isWanted(change) {
    return Object.entries(this.filter).every(([name, value]) => !value || change[name] === value);
  }

  unlisted(changes) {
    const known = new Set(this.listed.map((entry) => entry.change.change_id));
    return changes.filter((change) => !known.has(change.change_id));
  }

  draw() {
    this.timer = null;
    this.drawnAt = performance.now();
    if (this.isPaused || !this.isLoaded) {
      return;
    }
    if (this.isHeld && this.listed.length) {
      // What somebody is about to click must not move away.
      this.timer = setTimeout(() => this.draw(), HELD_LOOK_MS);
      this.tell();
      return;
    }
    const fresh = this.unlisted(this.waiting.splice(0));
    this.skipped = 0;
    // Partitions tell at their own pace: what comes last need not be what happened last.
    this.arrange(fresh.map((change) => ({ change, isNew: true })).reverse().concat(this.listed));
    this.tell();
  }

  /** Show entries by time, newest first, with as few changes to the page as can be. */
  arrange(entries) {
    const newest = entries.sort((a, b) => (a.change.effective_at < b.change.effective_at ? 1 : a.change.effective_at > b.change.effective_at ? -1 : 0));
    this.listed = newest.slice(0, LISTED_MAX);
    // Whoever has scrolled down keeps on reading what they see.
    const isAtTop = this.list.scrollTop < 8;
    const height = this.list.scrollHeight;
    this.listed.forEach((entry, place) => {
      entry.item ??= this.item(entry.change);
      if (entry.isNew) {
        entry.item.classList.add("new");
        entry.isNew = false;
      }
      if (this.list.children[place] !== entry.item) {
        this.list.insertBefore(entry.item, this.list.children[place] ?? null);
      }
    });
    while (this.list.children.length > this.listed.length) {
      this.list.lastElementChild.remove();
    }
    if (!isAtTop) {
      this.list.scrollTop += this.list.scrollHeight - height;
    }
  }

  item(change) {
    return changeItem(this.axes.find((axis) => axis.axis === change.axis), change, { isNamed: true });
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.pauseButton.setAttribute("aria-pressed", String(isPaused));
    setText(this.pauseButton, isPaused ? "Go on" : "Pause");
    this.tell();
    if (!isPaused) {
      this.draw();
    }
  }

  tell() {
    const waiting = this.waiting.length + this.skipped;
    const isFiltered = Object.values(this.filter).some(Boolean);
    const empty = isFiltered ? "No such change so far." : "No change so far. The first ones come when there are enough buyers for cut points.";
    const held = waiting && this.isHeld ? `Held while you are on it; ${count(waiting)} more since.` : "";
    setText(this.note, this.isPaused ? `Paused; ${count(waiting)} more since.` : this.list.children.length ? held : empty);
  }
}
