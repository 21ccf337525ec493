// The cards: one per picture, made in portions, with thumbnails only near the window. Names come from anywhere: text only, never markup.

import { State } from "./album.js";
import { percent } from "./words.js";

// Cards that are in the page at once until a person asks for more.
const PORTION = 600;
// Below it a label is marked as unsure.
const UNSURE = 0.6;

export class Gallery {
  #list;
  #more;
  #nothing;
  #template;
  #album;
  #thumbnails;
  #cards = new Map();
  #wanted = () => true;
  #limit = PORTION;
  #hidden = 0;
  #added = [];

  constructor(list, more, nothing, template, album, thumbnails) {
    [this.#list, this.#more, this.#nothing, this.#template] = [list, more, nothing, template];
    [this.#album, this.#thumbnails] = [album, thumbnails];
    album.addEventListener("add", (event) => this.#add(event.detail));
    album.addEventListener("change", (event) => this.#change(event.detail));
    more.addEventListener("click", () => this.#showMore());
  }

  // Show only what passes.
  filter(wanted) {
    this.#wanted = wanted;
    this.#limit = PORTION;
    this.#rebuild();
  }

  #rebuild() {
    for (const card of this.#cards.values()) this.#thumbnails.forget(card.canvas);
    this.#cards.clear();
    this.#list.replaceChildren();
    this.#added = [];
    this.#hidden = 0;
    for (const item of this.#album.items) if (this.#wanted(item)) this.#add(item);
    this.#tellRest();
  }

  #showMore() {
    const first = this.#cards.size;
    this.#limit += PORTION;
    const missing = this.#album.items.filter((item) => this.#wanted(item) && !this.#cards.has(item));
    this.#hidden = 0;
    for (const item of missing) this.#add(item);
    this.#flush();
    this.#list.children[first]?.focus({ preventScroll: true });
    this.#tellRest();
  }

  #add(item) {
    if (!this.#wanted(item)) return;
    if (this.#cards.size >= this.#limit) {
      this.#hidden += 1;
      if (this.#hidden === 1) queueMicrotask(() => this.#tellRest());
      return;
    }
    const root = this.#template.content.firstElementChild.cloneNode(true);
    const find = (name) => root.querySelector(`.${name}`);
    const card = { root, canvas: find("thumbnail"), name: find("name"), label: find("label"), sure: find("sure"), more: find("more") };
    card.name.textContent = item.name.slice(item.name.lastIndexOf("/") + 1);
    card.name.title = item.name;
    root.tabIndex = -1;
    this.#cards.set(item, card);
    this.#fill(item, card);
    if (!this.#added.length) requestAnimationFrame(() => this.#flush());
    this.#added.push(root);
  }

  // All cards of one moment enter the page at once.
  #flush() {
    this.#list.append(...this.#added.splice(0));
    this.#tellRest();
  }

  #change(item) {
    const card = this.#cards.get(item);
    if (card) this.#fill(item, card);
    else this.#add(item);
  }

  #fill(item, { root, canvas, label, sure, more }) {
    root.dataset.state = item.state;
    root.classList.toggle("unsure", item.state === State.labelled && item.confidence < UNSURE);
    if (item.file && !canvas.dataset.shown) {
      canvas.dataset.shown = "yes";
      this.#thumbnails.show(canvas, item.file);
    }
    root.classList.toggle("unseen", !item.file);
    if (item.state === State.labelled) {
      label.textContent = item.label;
      sure.textContent = percent(item.confidence);
      more.textContent = duration(item.milliseconds);
    } else if (item.state === State.failed) {
      label.textContent = "No label";
      sure.textContent = "";
      more.textContent = item.detail || item.error;
      more.title = item.detail || item.error;
    } else {
      label.textContent = item.state === State.sent ? "Classifying …" : "Waiting to be sent";
      sure.textContent = more.textContent = "";
    }
  }

  #tellRest() {
    const rest = this.#album.items.reduce((count, item) => count + (this.#wanted(item) && !this.#cards.has(item) ? 1 : 0), 0);
    this.#hidden = rest;
    this.#more.hidden = !rest;
    this.#more.textContent = `Show ${Math.min(rest, PORTION)} more of ${this.#cards.size + rest}`;
    this.#nothing.hidden = this.#cards.size > 0;
  }
}

function duration(milliseconds) {
  if (milliseconds === null) return "";
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
