// One job on the server: pictures go up in small archives, results come back as events. Goes on by itself after overload, restarts and
// broken connections; sending a picture again is harmless (docs/http.md).

import { State } from "./album.js";
import { Problem, delayOf, sleep } from "./api.js";
import { eventsOf } from "./eventstream.js";
import { tarOf } from "./tar.js";

// Small enough that a lost one costs little and that no proxy minds, large enough that a request is not what takes the time.
const BATCH_FILES = 40;
const BATCH_BYTES = 4 * 1024 * 1024;
const UPLOADS_AT_ONCE = 2;
// After a reload nobody knows whether the last batch arrived: its results are waited for so long after the others.
const DOUBT_S = 8;
// After so many broken connections it is looked whether the files can still be read.
const LOOK_AT_FILES_AFTER = 2;

export class Job {
  chosen = 0;
  accepted = 0;
  // Accepted or refused: what needs no sending any more.
  settled = 0;
  id = "";
  finished = false;
  #api;
  #album;
  #on;
  #queue = [];
  #uploads = 0;
  #opening = null;
  #following = false;
  #cursor = null;
  #results = new Set();
  #early = 0;
  #pause = Promise.resolve();
  #failure = null;
  #endStream = () => {};
  #stop = new AbortController();

  // on: {saved(), notice(text), trouble(problem)}
  constructor(api, album, on) {
    this.#api = api;
    this.#album = album;
    this.#on = on;
  }

  // A job that this tab opened before a reload.
  resume({ job, chosen, accepted, settled }) {
    [this.id, this.chosen, this.accepted, this.settled] = [job, chosen, accepted, settled];
    this.#early = Math.max(0, chosen - settled);
    this.#follow();
  }

  add(items) {
    this.chosen += items.length;
    this.#queue.push(...items);
    this.#on.saved();
    while (this.#uploads < UPLOADS_AT_ONCE && this.#queue.length) this.#upload();
  }

  // Stop here, and tell the server that what still waits there needs no label.
  async cancel() {
    const unfinished = !this.finished;
    this.finished = true;
    this.#stop.abort();
    if (this.id && unfinished) await this.#api.send("DELETE", `/v1/jobs/${this.id}`, undefined, { quiet: true }).catch(() => {});
  }

  async #upload() {
    this.#uploads += 1;
    try {
      await this.#open();
      this.#follow();
      for (let batch = this.#take(); batch.length; batch = this.#take()) await this.#send(batch);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#uploads -= 1;
      this.#giveUpQueue();
    }
    await this.#finishIfDone();
  }

  #take() {
    const batch = [];
    let bytes = 0;
    while (this.#queue.length && batch.length < BATCH_FILES && (!batch.length || bytes + this.#queue[0].file.size <= BATCH_BYTES)) {
      const item = this.#queue.shift();
      bytes += item.file.size;
      batch.push(item);
    }
    return batch;
  }

  async #open() {
    this.#opening ??= this.#again(() => this.#api.json("POST", "/v1/jobs", undefined, { signal: this.#stop.signal }));
    const opened = await this.#opening;
    if (!this.id) {
      this.id = opened.job;
      this.#on.saved();
    }
  }

  // Until each picture of a batch is accepted or refused.
  async #send(batch) {
    let left = batch;
    let answer;
    try {
      answer = await this.#again(() => this.#post(left), async (tries) => {
        if (tries < LOOK_AT_FILES_AFTER) return;
        left = await this.#readable(left);
        if (!left.length) throw new Problem(400, "unreadable", "The files can no longer be read.", null);
      });
    } catch (problem) {
      if (!(problem instanceof Problem) || ![400, 413, 415].includes(problem.status)) {
        this.#queue.unshift(...left);
        throw problem;
      }
      // Something in the archive cannot be had this way: each half for itself finds out what.
      const middle = Math.ceil(left.length / 2);
      if (left.length > 1) {
        await this.#send(left.slice(0, middle));
        await this.#send(left.slice(middle));
      } else if (left.length) {
        this.#refuse(left[0], problem.slug, problem.message);
      }
      return;
    }
    const problems = new Map(answer.problems.map((problem) => [problem.name, problem]));
    const unknown = [];
    for (const item of left) {
      const problem = problems.get(item.name);
      if (!problem) this.#accept(item);
      else if (problem.status === "unknown") unknown.push(item);
      else this.#refuse(item, problem.code, problem.detail);
    }
    this.#on.saved();
    if (unknown.length) {
      await sleep(delayOf(null, 1), this.#stop.signal);
      await this.#send(unknown);
    }
  }

  async #post(items) {
    const headers = { "Content-Type": "application/x-tar" };
    const response = await this.#api.send("POST", `/v1/jobs/${this.id}/images`, tarOf(items), { headers, signal: this.#stop.signal });
    return response.json();
  }

  #refuse(item, error, detail) {
    this.settled += 1;
    this.#album.set(item, State.failed, { error, detail });
  }

  #accept(item) {
    this.accepted += 1;
    this.settled += 1;
    // A result may be there before the answer to the upload.
    if (item.state === State.waiting) this.#album.set(item, State.sent);
  }

  async #readable(items) {
    const readable = [];
    for (const item of items) {
      try {
        await item.file.slice(0, 1).arrayBuffer();
        readable.push(item);
      } catch {
        this.#refuse(item, "unreadable", "The file can no longer be read: it was changed or moved.");
      }
    }
    return readable;
  }

  // Try until it works or is refused for good. When the server says that it is busy, all uploads wait: that is what it asks for.
  async #again(call, before = async () => {}) {
    for (let tries = 0; ; tries += 1) {
      await this.#pause;
      await before(tries);
      try {
        const answer = await call();
        this.#on.notice("");
        return answer;
      } catch (problem) {
        if (!(problem instanceof Problem) || !problem.passing) throw problem;
        const seconds = delayOf(problem, tries);
        const why = problem.status === 429 || problem.status === 503 ? "The server is busy" : "The server cannot be reached";
        this.#on.notice(`${why}: trying again in ${Math.ceil(seconds)} s. Nothing is lost.`);
        this.#pause = sleep(seconds, this.#stop.signal);
        this.#pause.catch(() => {});
      }
    }
  }

  async #follow() {
    if (this.#following) return;
    this.#following = true;
    let tries = 0;
    const alive = () => {
      if (tries > 1) this.#on.notice("");
      tries = 0;
    };
    try {
      while (!this.#complete()) {
        try {
          if (await this.#read(alive)) break;
          await sleep(0.2, this.#stop.signal);
        } catch (problem) {
          if (!(problem instanceof Problem)) {
            if (this.#stop.signal.aborted) throw problem;
          } else if (!problem.passing) {
            throw problem;
          }
          if (tries) this.#on.notice("The labels cannot be read at the moment. They go on by themselves; nothing is lost.");
          await sleep(delayOf(problem instanceof Problem ? problem : null, tries), this.#stop.signal);
          tries += 1;
        }
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#following = false;
    }
    await this.#finishIfDone();
  }

  // One stream, to its end; true when nothing more will come.
  async #read(alive) {
    const stop = new AbortController();
    const end = () => stop.abort();
    this.#endStream = end;
    this.#stop.signal.addEventListener("abort", end);
    let doubt = null;
    try {
      const query = this.#cursor === null ? "" : `?cursor=${this.#cursor}`;
      const headers = { Accept: "text/event-stream" };
      const response = await this.#api.send("GET", `/v1/jobs/${this.id}/labels${query}`, undefined, { headers, signal: stop.signal });
      for await (const { event, data, id } of eventsOf(response)) {
        alive();
        if (id !== null) this.#cursor = id;
        if (event === "end" && JSON.parse(data).end === "complete") {
          this.#early = 0;
          this.accepted = this.#results.size;
          return true;
        }
        if (event === "label") this.#label(JSON.parse(data));
        if (this.#complete()) return true;
        clearTimeout(doubt);
        if (this.#early && this.#results.size >= this.accepted) {
          doubt = setTimeout(() => {
            this.#early = 0;
            end();
          }, DOUBT_S * 1000);
        }
      }
      return false;
    } catch (error) {
      if (error.name === "AbortError" && this.#complete()) return true;
      throw error;
    } finally {
      clearTimeout(doubt);
      this.#stop.signal.removeEventListener("abort", end);
      stop.abort();
    }
  }

  #label(result) {
    this.#results.add(result.image);
    const item = this.#album.named(result.name);
    const { label = null, confidence = null, error = null, detail = null, model, image } = result;
    const milliseconds = Math.max(0, result.labelled_at_ms - result.submitted_at_ms);
    this.#album.set(item, error === null ? State.labelled : State.failed, { label, confidence, error, detail, model, milliseconds, image });
  }

  // Everything that was chosen has been told; after a reload, everything that the server holds.
  #complete() {
    return !this.#queue.length && !this.#uploads && !this.#early && this.#results.size >= this.accepted;
  }

  async #finishIfDone() {
    if (this.finished || !this.#complete() || !this.id) return;
    if (this.#following) {
      // The last result came before the answer to the last upload: the stream has nothing more to say.
      this.#endStream();
      return;
    }
    this.finished = true;
    this.accepted = Math.max(this.accepted, this.#results.size);
    this.#on.saved();
    // So that everybody who reads this job finds its end. Nothing depends on it here.
    await this.#api.json("POST", `/v1/jobs/${this.id}/close`, { images: this.#results.size }, { quiet: true }).catch(() => {});
  }

  #fail(error) {
    if (error.name === "AbortError" || this.finished) return;
    this.finished = true;
    this.#failure = error;
    this.#stop.abort();
    this.#giveUpQueue();
    this.#on.trouble(this, error);
  }

  #giveUpQueue() {
    if (!this.#failure) return;
    for (const item of this.#queue.splice(0)) {
      this.#album.set(item, State.failed, { error: this.#failure.slug ?? "not-sent", detail: `Not sent. ${this.#failure.message}` });
    }
  }
}
