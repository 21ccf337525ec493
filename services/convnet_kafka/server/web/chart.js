// Counts per class as bars, each a button that shows only its pictures.

import { number } from "./words.js";

// Rows at first: more would push the pictures out of sight.
const ROWS = 12;

export class Chart {
  #list;
  #more;
  #choose;
  #rows = new Map();
  #chosen = null;
  #all = false;
  #album;

  // choose(filter): called with {kind: "class" | "failed" | "unsure", label} or null for everything.
  constructor(list, more, album, choose) {
    [this.#list, this.#more, this.#album, this.#choose] = [list, more, album, choose];
    more.addEventListener("click", () => {
      this.#all = !this.#all;
      this.draw();
    });
  }

  draw() {
    const counted = [...this.#album.classes].sort(([one, some], [other, others]) => others - some || one.localeCompare(other, undefined, { numeric: true }));
    const shown = this.#all ? counted : counted.slice(0, ROWS);
    const rows = shown.map(([label, count]) => ({ key: `class ${label}`, kind: "class", label, count }));
    if (this.#album.counts.failed) rows.push({ key: "failed", kind: "failed", label: "No label", count: this.#album.counts.failed });
    const most = Math.max(1, ...counted.map(([, count]) => count), this.#album.counts.failed);
    const keep = new Set(rows.map((row) => row.key));
    for (const [key, row] of this.#rows) {
      if (keep.has(key)) continue;
      row.item.remove();
      this.#rows.delete(key);
    }
    rows.forEach((row, place) => this.#draw(row, place, most));
    this.#more.hidden = counted.length <= ROWS;
    this.#more.textContent = this.#all ? "Fewer" : `All ${number(counted.length)}`;
    this.#more.setAttribute("aria-expanded", String(this.#all));
  }

  #draw(row, place, most) {
    let found = this.#rows.get(row.key);
    if (!found) {
      found = this.#make(row);
      this.#rows.set(row.key, found);
    }
    found.count.textContent = number(row.count);
    found.bar.style.width = `${(100 * row.count) / most}%`;
    found.button.setAttribute("aria-pressed", String(this.#chosen === row.key));
    // Moved only when the order has changed: an element that moves loses the focus.
    if (this.#list.children[place] !== found.item) {
      const focused = document.activeElement === found.button;
      this.#list.insertBefore(found.item, this.#list.children[place] ?? null);
      if (focused) found.button.focus({ preventScroll: true });
    }
  }

  #make(row) {
    const element = (tag, name, text = "") => {
      const made = document.createElement(tag);
      made.className = name;
      made.textContent = text;
      return made;
    };
    const item = element("li", `of-${row.kind}`);
    const button = element("button", "class");
    button.type = "button";
    const label = element("span", "class-name", row.label);
    label.title = row.label;
    const track = element("span", "track");
    const bar = element("span", "bar");
    const count = element("span", "count");
    track.append(bar);
    button.append(label, track, count);
    button.addEventListener("click", () => this.choose(this.#chosen === row.key ? null : row));
    item.append(button);
    return { item, button, bar, count };
  }

  choose(row) {
    this.#chosen = row?.key ?? null;
    this.draw();
    this.#choose(row);
  }
}
