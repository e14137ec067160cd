// The page comes to life here: it asks, listens, and shows one of three views by the address behind the #.

import { ApiError, get, path } from "./api.js";
import { Changes } from "./changes.js";
import { CustomerView } from "./customer.js";
import { byId, element, setText, show } from "./dom.js";
import { clock, moment, plural } from "./format.js";
import { Matrix } from "./matrix.js";
import { Movement } from "./movement.js";
import { customerAddress } from "./parts.js";
import { SegmentView } from "./segment.js";
import { askForToken } from "./session.js";
import { ChangeStream } from "./stream.js";
import { System, Tiles } from "./system.js";
import { startTheme } from "./theme.js";

const STATUS_EVERY_MS = 2_000;
const DETAILS_EVERY_MS = 6_000;
const RECENT_MAX = 12;

class Page {
  constructor() {
    const onTrouble = (error) => this.trouble(error);
    this.tiles = new Tiles();
    this.matrix = new Matrix();
    this.changes = new Changes({ onTrouble });
    this.movement = new Movement({ onTrouble });
    this.system = new System({ onTrouble });
    this.customer = new CustomerView({ onTrouble });
    this.segment = new SegmentView({ onTrouble });
    this.axes = null;
    this.recent = [];
    this.detailsAt = 0;
    this.views = { overview: byId("overview"), customer: byId("customer-view"), segment: byId("segment-view") };
    this.view = "overview";
  }

  start() {
    startTheme(byId("theme"));
    this.listenToReader();
    this.stream = new ChangeStream("v1/changes/stream?totals=true", {
      onChange: (change) => this.changed(change),
      onTotals: (totals) => this.totals(totals),
      onGap: () => this.catchUp(),
      onState: (state) => this.connection(state),
    });
    this.route();
    this.tick();
    document.addEventListener("visibilitychange", () => document.hidden || this.tick());
  }

  listenToReader() {
    window.addEventListener("hashchange", () => this.route());
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      // Spaces around a pasted id are seldom meant; an id that has some is still found by its link.
      const id = byId("customer").value.trim();
      if (id) {
        location.hash = customerAddress(id);
      }
    });
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target.closest("input, select, textarea");
      if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        byId("customer").focus();
        byId("customer").select();
      } else if (event.key === "Escape" && !isTyping && this.view !== "overview") {
        location.hash = "#/";
      } else if (event.key === "Escape" && event.target.id === "customer") {
        event.target.blur();
      }
    });
  }

  /** Ask how things are, and again after a while; what takes longer is asked for less often. */
  async tick() {
    clearTimeout(this.timer);
    if (!document.hidden) {
      await this.refresh();
      this.timer = setTimeout(() => this.tick(), STATUS_EVERY_MS);
    }
  }

  async refresh() {
    try {
      const status = await get(path("status"));
      this.answered(status);
      if (this.axes === null || !this.matrix.answer) {
        await this.refreshSegments();
      }
    } catch (error) {
      this.trouble(error);
      return;
    }
    if (this.view === "overview" && Date.now() - this.detailsAt > DETAILS_EVERY_MS) {
      this.detailsAt = Date.now();
      this.refreshSegments();
      this.movement.refresh(this.status.as_of);
      this.system.refresh();
    } else if (this.view === "customer") {
      this.customer.refresh();
    }
  }

  async refreshSegments() {
    try {
      const answer = await get(path("segments"));
      this.setAxes(answer.axes);
      this.segments = answer;
      this.matrix.update(answer);
      this.headline();
    } catch (error) {
      this.trouble(error);
    }
  }

  setAxes(axes) {
    const isFirst = this.axes === null;
    this.axes = axes;
    this.changes.setAxes(axes);
    this.movement.setAxes(axes);
    if (isFirst) {
      this.route();
    }
  }

  answered(status) {
    this.status = status;
    this.answeredAt = Date.now();
    document.body.classList.remove("stale");
    byId("trouble").hidden = true;
    if (byId("connection").dataset.state === "lost") {
      this.stream.hurry();
    }
    this.tiles.update(status);
    this.system.update(status);
    if (status.state === "disconnected") {
      this.say(`The log cannot be read: ${status.fault ?? "no reason is known"}. What is shown is what was known before.`);
    } else if (status.state === "reading") {
      this.say("The state of the customers is being read; what is shown is not everybody yet.", "info");
    }
    setText(byId("asof"), status.as_of ? `Everything up to ${moment(status.as_of)} is counted.` : "No event has come yet.");
  }

  headline() {
    const { customers } = this.segments;
    const names = this.axes.map((axis) => axis.axis).join(" and ");
    setText(byId("headline"), customers
      ? `${plural(customers, "customer")}, segmented by what they do, as they do it`
      : this.status?.lag ? "The first events are being applied" : "Waiting for the first event");
    setText(byId("subline"), customers
      ? `Each is rated on ${names} from behaviour alone, and changes tier the moment the rating does. Pick a customer to see why.`
      : "Nobody is known yet. As soon as events come in, customers appear here; nothing has to be reloaded.");
  }

  changed(change) {
    this.changes.add(change);
    this.recent = [change.customer_id, ...this.recent.filter((id) => id !== change.customer_id)].slice(0, RECENT_MAX);
    if (this.view === "customer" && change.customer_id === this.customer.id) {
      this.customer.refresh();
      setText(byId("announcer"), `The customer is now ${change.to_tier} on ${change.axis}.`);
    }
    clearTimeout(this.recentTimer);
    this.recentTimer = setTimeout(() => show(byId("recent"), this.recent.map((value) => element("option", { value }))), 500);
  }

  /** Populations as the stream tells them; a segment that was not there before is asked for with all that belongs to it. */
  totals(totals) {
    if (!this.segments) {
      return;
    }
    const key = (segment) => JSON.stringify(this.axes.map((axis) => segment[axis.axis]));
    const counted = new Map(totals.segments.map((item) => [key(item.segment), item.customers]));
    const known = new Set(this.segments.segments.map((item) => key(item.segment)));
    if ([...counted.keys()].some((name) => !known.has(name))) {
      this.refreshSegments();
      return;
    }
    const segments = this.segments.segments.map((item) => ({ ...item, customers: counted.get(key(item.segment)) ?? 0 }));
    this.segments = { ...this.segments, as_of: totals.as_of, customers: totals.customers, segments };
    this.matrix.update(this.segments);
    this.headline();
  }

  /** After a break: nothing that is shown is taken for granted. */
  catchUp() {
    this.detailsAt = 0;
    this.changes.load();
    this.tick();
  }

  connection(state) {
    const node = byId("connection");
    if (node.dataset.state === state) {
      return;
    }
    node.dataset.state = state;
    setText(node.querySelector("span"), state === "live" ? "Live" : "Reconnecting");
    if (state === "lost") {
      this.tick();
    }
  }

  trouble(error) {
    if (error instanceof ApiError && error.status === 401) {
      askForToken(() => location.reload());
    } else if (error instanceof ApiError && error.status === 0) {
      document.body.classList.add("stale");
      const since = this.answeredAt ? ` What is shown is as of ${clock(this.answeredAt)} UTC.` : "";
      this.say(`The server does not answer.${since} The page goes on by itself as soon as it does.`);
    } else if (error instanceof ApiError) {
      this.say(error.message);
    } else {
      throw error;
    }
  }

  say(text, level = "bad") {
    setText(byId("trouble"), text);
    byId("trouble").dataset.level = level;
    byId("trouble").hidden = false;
  }

  /** Show the view that the address names. */
  route() {
    const parts = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
    const [name, ...rest] = parts;
    const isCustomer = name === "customers" && rest[0];
    const isSegment = name === "segments" && rest.length > 0;
    if ((isCustomer || isSegment) && this.axes === null) {
      return;
    }
    const before = this.view;
    this.view = isCustomer ? "customer" : isSegment ? "segment" : "overview";
    for (const [view, node] of Object.entries(this.views)) {
      node.hidden = view !== this.view;
    }
    if (!isCustomer) {
      this.customer.close();
    }
    if (isCustomer) {
      this.customer.open(rest[0], this.axes);
    } else if (isSegment) {
      this.segment.open(rest, this.axes, this.segments);
    }
    document.title = isCustomer ? `${rest[0]} \u00b7 customer` : isSegment ? `${rest.join(" \u00b7 ")} \u00b7 segment` : "Customer segments, live";
    if (this.view !== "overview" || before !== "overview") {
      window.scrollTo(0, 0);
      (this.views[this.view].querySelector("h1") ?? byId("main")).focus({ preventScroll: true });
    }
  }
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

new Page().start();
