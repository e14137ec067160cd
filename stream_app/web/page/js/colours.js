// Colours of tiers and directions, for any number of tiers. The values stand in page.css, in light and dark.

export const STATES = ["unrated", "prospect"];

/** Colour of a tier by its place: low tiers go from pale to strong blue, the top one is amber. */
export function tierColour(place, tierCount) {
  if (tierCount > 1 && place === tierCount - 1) {
    return "var(--tier-top)";
  }
  const steps = Math.max(tierCount - 2, 1);
  const percent = tierCount === 2 ? 40 : Math.round((100 * place) / steps);
  return `color-mix(in srgb, var(--tier-high) ${percent}%, var(--tier-low))`;
}

/** Colour of what a customer holds on an axis: a tier, or a state such as prospect. */
export function heldColour(axis, tier) {
  const place = axis ? axis.tiers.indexOf(tier) : -1;
  return place < 0 ? `var(--state-${STATES.includes(tier) ? tier : "unrated"})` : tierColour(place, axis.tiers.length);
}

/** Which way a change goes: 1 up, -1 down, 0 where there is no order (a first rating, a state). */
export function direction(axis, from, to) {
  const before = axis ? axis.tiers.indexOf(from) : -1;
  const after = axis ? axis.tiers.indexOf(to) : -1;
  return before < 0 || after < 0 ? 0 : Math.sign(after - before);
}
