// From values to places on a chart, and the round numbers and days at which its axes are labelled.

import { clock, day, DAY_MS, shortDay } from "./format.js";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const TIME_STEPS_MS = [
  MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS, 6 * HOUR_MS, 12 * HOUR_MS,
  DAY_MS, 2 * DAY_MS, 7 * DAY_MS, 14 * DAY_MS, 28 * DAY_MS, 56 * DAY_MS, 91 * DAY_MS, 182 * DAY_MS, 364 * DAY_MS,
];
const EPOCH_MONDAY_MS = 4 * DAY_MS;
const MONTHS_FROM_MS = 45 * DAY_MS;

/** A straight line through two points; a range without length gives its middle. */
export function linear([low, high], [start, end]) {
  const length = high - low;
  return (value) => (length === 0 ? (start + end) / 2 : start + ((value - low) / length) * (end - start));
}

/** Round numbers within `[low, high]`, about as many as wanted. */
export function roundTicks(low, high, wanted = 4) {
  const length = high - low;
  if (!(length > 0)) {
    return [low];
  }
  const rough = length / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) {
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
}

/** An upper end that makes the highest tick a round one. */
export function roundEnd(high, wanted = 4) {
  if (!(high > 0)) {
    return 1;
  }
  const ticks = roundTicks(0, high, wanted);
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : high;
  return Math.ceil(high / step - 1e-9) * step;
}

/** Times at which an axis is labelled: `{ms, text}`, at most so many. */
export function timeTicks(low, high, most = 6) {
  const length = high - low;
  if (!(length > 0)) {
    return [{ ms: low, text: day(low) }];
  }
  if (length / most > MONTHS_FROM_MS / 2) {
    return monthTicks(low, high, most);
  }
  const step = TIME_STEPS_MS.find((size) => length / size <= most) ?? TIME_STEPS_MS.at(-1);
  const origin = step >= 7 * DAY_MS ? EPOCH_MONDAY_MS : 0;
  const ticks = [];
  for (let ms = Math.ceil((low - origin) / step) * step + origin; ms <= high; ms += step) {
    ticks.push({ ms, text: step < DAY_MS ? (ms % DAY_MS === 0 ? shortDay(ms) : clock(ms)) : shortDay(ms) });
  }
  return ticks;
}

function monthTicks(low, high, most) {
  const months = (high - low) / (30.44 * DAY_MS);
  const step = [1, 2, 3, 6, 12, 24, 60].find((size) => months / size <= most) ?? 120;
  const first = new Date(low);
  const ticks = [];
  for (let month = Math.ceil(first.getUTCMonth() / step) * step; ; month += step) {
    const ms = Date.UTC(first.getUTCFullYear(), month, 1);
    if (ms > high) {
      return ticks;
    }
    if (ms >= low) {
      const [, name, year] = day(ms).split(" ");
      ticks.push({ ms, text: `${name} ${year}` });
    }
  }
}

/** Put labels of a height below each other without overlap, as near as can be to where they want to be. */
export function spread(places, height, [top, bottom]) {
  const order = places.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  let floor = top;
  for (const item of order) {
    item.place = Math.max(item.place, floor);
    floor = item.place + height;
  }
  let ceiling = bottom;
  for (const item of [...order].reverse()) {
    item.place = Math.min(item.place, ceiling);
    ceiling = item.place - height;
  }
  const result = new Array(places.length);
  for (const item of order) {
    result[item.index] = item.place;
  }
  return result;
}
