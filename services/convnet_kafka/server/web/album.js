// All pictures of this page and what is known of each: the one place that counts. Knows neither the server nor the screen.

export const State = Object.freeze({
  waiting: "waiting", // to be sent
  sent: "sent", // held by the server, or on its way
  labelled: "labelled",
  failed: "failed",
});

export class Album extends EventTarget {
  items = [];
  counts = { waiting: 0, sent: 0, labelled: 0, failed: 0 };
  classes = new Map();
  #names = new Map();

  // A picture under a name that no other has here. The same file chosen again is the same picture: null, unless it
  // was never classified.
  add(name, file) {
    let free = name;
    for (let number = 2; this.#names.has(free); number += 1) {
      const other = this.#names.get(free);
      if (!other.file || sameFile(other.file, file)) {
        if (other.file) return this.#again(other);
        // Known by its label from before a reload: now there is something to show.
        other.file = file;
        this.#tell(other);
        return null;
      }
      free = numbered(name, number);
    }
    return this.#put(free, file);
  }

  // One that was never classified may be tried again.
  #again(item) {
    if (item.state !== State.failed || item.image) return null;
    this.set(item, State.waiting, { error: null, detail: null });
    return item;
  }

  // The picture of a result: one that was chosen here, or, after a reload, one of which only the name is known.
  named(name) {
    return this.#names.get(name) ?? this.#put(name, null, State.sent);
  }

  // What became of a picture.
  set(item, state, result = {}) {
    this.#count(item, -1);
    Object.assign(item, result, { state });
    this.#count(item, 1);
    this.#tell(item);
  }

  get size() {
    return this.items.length;
  }

  get done() {
    return this.counts.labelled + this.counts.failed;
  }

  #put(name, file, state = State.waiting) {
    const item = { name, file, state, label: null, confidence: null, error: null, detail: null, model: null, milliseconds: null, image: null };
    this.items.push(item);
    this.#names.set(name, item);
    this.#count(item, 1);
    this.dispatchEvent(new CustomEvent("add", { detail: item }));
    return item;
  }

  #count(item, step) {
    this.counts[item.state] += step;
    if (item.state !== State.labelled) return;
    const count = (this.classes.get(item.label) ?? 0) + step;
    if (count) this.classes.set(item.label, count);
    else this.classes.delete(item.label);
  }

  #tell(item) {
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }
}

const sameFile = (one, other) => one.size === other.size && one.lastModified === other.lastModified;

function numbered(name, number) {
  const dot = name.lastIndexOf(".");
  return dot > name.lastIndexOf("/") + 1 ? `${name.slice(0, dot)} (${number})${name.slice(dot)}` : `${name} (${number})`;
}
