// Does something again and again: every two seconds, less often while it fails, not at all while nobody looks.

const EVERY = 2000;
const LONGEST = 30000;

export class Poll {
  #work;
  #failed;
  #timer = null;
  #failures = 0;
  #turn = Promise.resolve();

  // `work` is asynchronous; what it throws goes to `failed(error, milliseconds until the next try)`.
  constructor(work, failed) {
    this.#work = work;
    this.#failed = failed;
    document.addEventListener("visibilitychange", () => this.#look());
  }

  // Anew, whatever the timer says, after what runs already. Resolves when it has been done.
  now() {
    clearTimeout(this.#timer);
    this.#turn = this.#turn.then(() => this.#once());
    return this.#turn;
  }

  async #once() {
    try {
      await this.#work();
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#failed(error, this.#wait());
    }
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.now(), this.#wait());
  }

  #wait() {
    return Math.min(LONGEST, EVERY * 2 ** this.#failures);
  }

  #look() {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  }
}
