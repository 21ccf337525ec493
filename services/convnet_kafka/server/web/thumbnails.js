// Small pictures on cards: decoded a few at a time, only while their card is near the window, and let go of when it is far.

const AT_ONCE = 3;
const SIZE = 224;
// A picture of so few bytes is likely a small one, which is shown pixel by pixel.
const SMALL_BYTES = 4096;

export class Thumbnails {
  #near;
  #files = new Map();
  #waiting = [];
  #working = 0;

  constructor() {
    this.#near = new IntersectionObserver((entries) => this.#moved(entries), { rootMargin: "400px" });
  }

  // Show a file on a canvas from when that comes near.
  show(canvas, file) {
    this.#files.set(canvas, file);
    this.#near.observe(canvas);
  }

  forget(canvas) {
    this.#near.unobserve(canvas);
    this.#files.delete(canvas);
    this.#clear(canvas);
  }

  #moved(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !target.dataset.wanted) {
        target.dataset.wanted = "yes";
        this.#waiting.push(target);
      } else if (!isIntersecting) {
        this.#clear(target);
      }
    }
    this.#work();
  }

  #work() {
    while (this.#working < AT_ONCE && this.#waiting.length) {
      const canvas = this.#waiting.shift();
      if (!canvas.dataset.wanted || !this.#files.has(canvas)) continue;
      this.#working += 1;
      this.#draw(canvas, this.#files.get(canvas)).finally(() => {
        this.#working -= 1;
        this.#work();
      });
    }
  }

  async #draw(canvas, file) {
    const small = file.size < SMALL_BYTES;
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, small ? {} : { resizeWidth: SIZE, resizeQuality: "medium" });
    } catch {
      canvas.parentElement?.classList.add("unseen");
      return;
    }
    if (canvas.dataset.wanted) {
      canvas.width = bitmap.width;
      canvas.height = Math.min(bitmap.height, 4 * SIZE);
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      canvas.classList.toggle("pixels", bitmap.width < 96);
      canvas.classList.add("drawn");
    }
    bitmap.close();
  }

  #clear(canvas) {
    delete canvas.dataset.wanted;
    canvas.classList.remove("drawn");
    canvas.width = canvas.height = 1;
  }
}
