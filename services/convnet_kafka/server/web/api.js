// Calls to the server: with the key where one is asked for, and with every error as a Problem. Knows nothing of pictures.

import { forgetKey, keepKey, keptKey } from "./memory.js";

// What the server said was wrong (RFC 9457), or that it could not be reached (status 0).
export class Problem extends Error {
  constructor(status, slug, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.slug = slug;
    this.retryAfter = retryAfter;
  }

  // Worth sending again as it is: overload, a server that goes away, a proxy without one, a connection that broke.
  get passing() {
    return [0, 408, 429, 502, 503, 504].includes(this.status);
  }
}

export class Api {
  #ask;
  #asking = null;

  // ask(why): resolves to a key that a person has given.
  constructor(ask) {
    this.#ask = ask;
  }

  async json(method, path, body, options = {}) {
    const response = await this.send(method, path, body === undefined ? undefined : JSON.stringify(body), {
      ...options,
      headers: { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...options.headers },
    });
    return response.json();
  }

  // The answer to one call, asked again with a key when one is needed. Throws a Problem for any other answer than 2xx.
  async send(method, path, body, { headers = {}, signal, quiet = false } = {}) {
    for (;;) {
      const key = keptKey();
      const authorization = key ? { Authorization: `Bearer ${key}` } : {};
      let response;
      try {
        response = await fetch(path, { method, body, signal, headers: { ...headers, ...authorization }, cache: "no-store" });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Problem(0, "unreachable", "The server cannot be reached.", null);
      }
      if (response.ok) return response;
      const problem = await problemOf(response);
      if (response.status !== 401 || quiet) throw problem;
      await this.#newKey(key, problem.message);
    }
  }

  // Several calls may be refused at once: a person is asked once, and not at all when another call has got the key meanwhile.
  async #newKey(refused, why) {
    if (keptKey() !== refused) return;
    if (!this.#asking) {
      forgetKey();
      this.#asking = this.#ask(refused ? why : "").then(keepKey).finally(() => (this.#asking = null));
    }
    await this.#asking;
  }
}

async function problemOf(response) {
  let found = {};
  try {
    found = await response.json();
  } catch {
    // Not ours: a proxy's page.
  }
  const slug = String(found.type ?? "").replace("/problems/", "") || "unknown";
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  return new Problem(response.status, slug, found.detail ?? `The server answered ${response.status}.`, Number.isFinite(seconds) ? seconds : null);
}

// How long to wait before the try of this number (from 0): what the server said, else longer each time; spread, so that not all come at once.
export function delayOf(problem, tries) {
  const seconds = problem?.retryAfter ?? Math.min(15, 0.5 * 2 ** tries);
  return Math.min(60, seconds) * (1 + 0.3 * Math.random());
}

export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
