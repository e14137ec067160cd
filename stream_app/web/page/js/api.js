// The HTTP API, as the page asks it. Conditional requests (ETag) are the browser's own.

const TIMEOUT_MS = 15_000;

/** An answer that is a problem, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(status, detail, code) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Put a path together from parts that may hold anything. */
export function path(...parts) {
  return `v1/${parts.map(encodeURIComponent).join("/")}`;
}

/** Ask for something; parameters that are null or empty are left out. */
export async function get(where, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") {
      query.set(name, value);
    }
  }
  const address = query.size ? `${where}?${query}` : where;
  let response;
  try {
    response = await fetch(address, { cache: "no-cache", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new ApiError(0, `the server does not answer (${error.message})`, "no_answer");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) {
    throw new ApiError(response.status, body?.detail ?? `the server answered ${response.status}`, body?.code ?? "no_json");
  }
  return body;
}
