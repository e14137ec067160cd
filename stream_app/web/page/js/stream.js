// What happens, as it happens (server-sent events), over a connection that comes back by itself.

const DELAY_MS = 500;
const DELAY_MS_MAX = 8_000;

export class ChangeStream {
  /**
   * @param {string} address
   * @param {Object} listeners
   * @param {(change: Object) => void} listeners.onChange
   * @param {(totals: Object) => void} listeners.onTotals populations, about once a second while they change
   * @param {() => void} listeners.onGap something was missed: what is shown has to be asked for anew
   * @param {(state: "live"|"lost") => void} listeners.onState
   */
  constructor(address, listeners) {
    this.address = address;
    this.listeners = listeners;
    this.failures = 0;
    this.timer = null;
    this.hasBroken = false;
    this.connect();
  }

  connect() {
    this.timer = null;
    this.source = new EventSource(this.address);
    const take = (name, listener) => this.source.addEventListener(name, (event) => listener(JSON.parse(event.data)));
    take("change", this.listeners.onChange);
    take("segments", this.listeners.onTotals);
    take("reset", () => this.listeners.onGap());
    take("ready", () => {
      this.failures = 0;
      this.listeners.onState("live");
      if (this.hasBroken) {
        this.hasBroken = false;
        this.listeners.onGap();
      }
    });
    this.source.addEventListener("error", () => this.retry());
  }

  /** A browser tries again after a break, and says where it was; after an answer that is no stream, it gives up. */
  retry() {
    this.listeners.onState("lost");
    this.hasBroken = true;
    if (this.source.readyState !== EventSource.CLOSED || this.timer !== null) {
      return;
    }
    this.failures += 1;
    const delay = Math.min(DELAY_MS * 2 ** (this.failures - 1), DELAY_MS_MAX) * (0.8 + 0.4 * Math.random());
    this.timer = setTimeout(() => this.connect(), delay);
  }

  /** Try at once, because there is a sign that the server is there. */
  hurry() {
    if (this.source.readyState !== EventSource.OPEN) {
      clearTimeout(this.timer);
      this.source.close();
      this.connect();
    }
  }
}
