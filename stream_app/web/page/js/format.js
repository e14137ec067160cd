// Numbers, times and names as people read them. All times are UTC, as everywhere in the product.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const MINUS = "\u2212";
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
export const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** A whole number with thousands. */
export function count(value) {
  return value === null || value === undefined ? "\u2013" : whole.format(value).replace("-", MINUS);
}

/** A number with as many digits as say something. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return "\u2013";
  }
  if (Math.abs(value) >= 1000) {
    return count(value);
  }
  return Number(value.toPrecision(digits)).toString().replace("-", MINUS);
}

/** A score with two decimals, so that a column of them lines up. */
export function score(value) {
  return value === null || value === undefined ? "\u2013" : value.toFixed(2).replace("-", MINUS);
}

/** A number with its sign and fixed decimals, so that a column of them lines up. */
export function signed(value, decimals = 2) {
  const text = Math.abs(value).toFixed(decimals);
  return Number(text) === 0 ? text : `${value < 0 ? MINUS : "+"}${text}`;
}

/** A short form of large numbers, for axes: 1.2k, 3M. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) {
    return `${number(value / 1e6)}M`;
  }
  return size >= 1e4 ? `${number(value / 1e3)}k` : number(value);
}

/** A share in percent: `share(0.154)` is "15.4 %"; none of nothing is a dash. */
export function share(part, all = 1) {
  if (!all || part === null || part === undefined) {
    return "\u2013";
  }
  const percent = (100 * part) / all;
  return `${percent > 0 && percent < 0.1 ? "< 0.1" : percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

/** Milliseconds of an RFC 3339 text or of a number of milliseconds; null where there is none. */
export function time(value) {
  if (value === null || value === undefined) {
    return null;
  }
  const ms = typeof value === "number" ? value : Date.parse(value);
  return Number.isFinite(ms) ? ms : null;
}

/** "12 Mar 2026". */
export function day(value) {
  const ms = time(value);
  if (ms === null) {
    return "\u2013";
  }
  const date = new Date(ms);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

/** "12 Mar". */
export function shortDay(value) {
  return day(value).split(" ").slice(0, 2).join(" ");
}

/** "14:05". */
export function clock(value) {
  const ms = time(value);
  return ms === null ? "\u2013" : new Date(ms).toISOString().slice(11, 16);
}

/** "12 Mar 2026, 14:05 UTC". */
export function moment(value) {
  return time(value) === null ? "\u2013" : `${day(value)}, ${clock(value)} UTC`;
}

/** A span in the unit that fits: "3 days", "14 h", "20 s". */
export function span(ms) {
  if (ms === null || ms === undefined) {
    return "\u2013";
  }
  const size = Math.max(ms, 0);
  if (size >= 2 * DAY_MS) {
    return `${count(Math.round(size / DAY_MS))} days`;
  }
  if (size >= 2 * HOUR_MS) {
    return `${Math.round(size / HOUR_MS)} h`;
  }
  if (size >= 2 * MINUTE_MS) {
    return `${Math.round(size / MINUTE_MS)} min`;
  }
  return size >= 1000 ? `${Math.round(size / 1000)} s` : `${Math.round(size)} ms`;
}

/** A name with a capital letter and spaces: "first_rated" is "First rated". */
export function title(name) {
  const text = plain(name);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A name with spaces: "cut_point" is "cut point". */
export function plain(name) {
  return String(name).replaceAll("_", " ");
}

/** "1 customer", "2 customers". */
export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}
