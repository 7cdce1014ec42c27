/**
 * Many rows at a time: accept what is shown, after a click on the exceptions.
 *
 * A page of the list is shown as tiles. A click on a tile makes it an exception, another click takes that back; a
 * click with Shift selects the tiles from the one that was clicked before, and so do two taps (`RangeBar`).
 */
class Grid {
  /** review: for the list of entries and for decisions. */
  constructor(review) {
    this.review = review;
    this.node = byId("grid");
    this.start = 0;
    this.anchor = 0;
    this.selected = null;
    this.tiles = [];
    this.range = new RangeBar(this);
    this.node.addEventListener("click", (event) => this.click(event));
    // A click moves the focus before it is a click, and with Shift it must find the tile of before.
    this.pointing = false;
    this.node.addEventListener("pointerdown", () => (this.pointing = true));
    window.addEventListener("pointerup", () => (this.pointing = false));
    this.node.addEventListener("focusin", (event) => this.focus(event));
    byId("accept-shown").addEventListener("click", () => this.acceptShown());
    byId("page-back").addEventListener("click", () => this.turn(-1));
    byId("page-next").addEventListener("click", () => this.turn(1));
    byId("page-size").addEventListener("change", () => this.goTo(this.start));
  }

  get size() {
    return Number(byId("page-size").value);
  }

  /** Positions in the list that are shown. */
  shown() {
    const end = Math.min(this.start + this.size, this.review.entries.length);
    return Array.from({ length: end - this.start }, (_, place) => this.start + place);
  }

  /** Shows the page that holds a position of the list. */
  goTo(position) {
    const start = Math.max(0, Math.floor(position / this.size) * this.size);
    if (start !== this.start) this.anchor = 0;
    this.start = start;
    this.range.clear();
  }

  turn(pages) {
    const start = this.start + pages * this.size;
    if (start < 0 || start >= this.review.entries.length) return;
    const inside = this.node.contains(document.activeElement);
    this.goTo(start);
    if (inside) this.tiles[0].focus();
    if (byId("many").getBoundingClientRect().top < 0) byId("many").scrollIntoView();
  }

  click(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const place = Number(tile.dataset.place);
    if (event.shiftKey) {
      this.select(place);
      return;
    }
    if (this.range.tap(place)) return;
    this.anchor = place;
    this.selected = null;
    this.toggle(this.start + place);
  }

  focus(event) {
    const tile = event.target.closest(".tile");
    if (tile && this.selected === null && !this.pointing) this.anchor = Number(tile.dataset.place);
  }

  select(place) {
    this.selected = [Math.min(this.anchor, place), Math.max(this.anchor, place)];
    this.draw();
  }

  /** Makes a row an exception, or takes that back. */
  toggle(position) {
    const entry = this.review.entries[position];
    const kind = this.review.decisionOf(entry)?.kind;
    if (kind === "reject" || kind === "correct" || (kind === "skip" && !this.review.rows.isChanged(entry))) {
      this.review.change([[entry, null]]);
    } else {
      // Of a kept label the other class is not known: such a row is left out until a class key says it.
      this.review.change([[entry, this.review.rows.isChanged(entry) ? "reject" : "skip"]]);
    }
  }

  /** Positions that keys act on: the selected tiles, else the one that was clicked last. */
  targets() {
    const [first, last] = this.selected ?? [this.anchor, this.anchor];
    return this.shown().slice(first, last + 1);
  }

  /** Decides on the selected rows, or on the one that was clicked last. */
  decide(kind, label) {
    const { entries } = this.review;
    this.review.change(this.targets().map((position) => [entries[position], kind, label]));
    this.selected = null;
    this.draw();
  }

  accept() {
    if (this.selected) this.decide("accept");
    else this.acceptShown();
  }

  /** Accepts the rows shown that are not decided, and turns to the next page. */
  acceptShown() {
    const open = this.shown()
      .map((position) => this.review.entries[position])
      .filter((entry) => !this.review.decisionOf(entry));
    this.review.change(open.map((entry) => [entry, "accept"]));
    this.review.say(`${open.length.toLocaleString("en")} rows accepted.`);
    if (this.start + this.size < this.review.entries.length) this.turn(1);
  }

  /** Moves the focus by tiles; with `extend` it selects. */
  move(by, extend) {
    const count = this.shown().length;
    const from = this.tiles.indexOf(document.activeElement);
    const to = Math.min(Math.max((from < 0 ? this.anchor : from) + by, 0), count - 1);
    if (to < 0) return;
    if (extend) {
      const anchor = this.selected && this.selected[0] === from ? this.selected[1] : (this.selected?.[0] ?? this.anchor);
      this.anchor = anchor;
      this.selected = [Math.min(anchor, to), Math.max(anchor, to)];
    } else {
      this.selected = null;
    }
    this.tiles[to].focus();
    this.draw();
  }

  /** How many tiles stand side by side. */
  columns() {
    const top = this.tiles[0]?.offsetTop;
    const next = this.tiles.findIndex((tile) => tile.offsetTop !== top);
    return next < 1 ? 1 : next;
  }

  draw() {
    const shown = this.shown();
    while (this.tiles.length < shown.length) {
      this.tiles.push(makeTile());
      this.node.append(this.tiles.at(-1));
    }
    this.node.classList.toggle("texts", !this.review.rows.hasPictures() && this.review.data.text !== null);
    this.tiles.forEach((tile, place) => {
      tile.hidden = place >= shown.length;
      if (!tile.hidden) this.fill(tile, place, this.review.entries[shown[place]]);
    });
    const total = this.review.entries.length;
    const pages = Math.ceil(total / this.size);
    const page = Math.floor(this.start / this.size) + 1;
    byId("page-text").textContent = total
      ? `page ${page.toLocaleString("en")} of ${pages.toLocaleString("en")}, ${total.toLocaleString("en")} rows`
      : "no rows";
    byId("page-back").disabled = this.start === 0;
    byId("page-next").disabled = page >= pages;
    byId("accept-shown").disabled = shown.length === 0;
    this.range.show();
  }

  fill(tile, place, entry) {
    const { rows } = this.review;
    const [picture, text, labels, name, decision] = tile.children;
    tile.dataset.place = place;
    const chosen = this.selected && place >= this.selected[0] && place <= this.selected[1];
    tile.classList.toggle("selected", Boolean(chosen));
    fillPicture(picture, rows.picture(entry));
    text.textContent = rows.text(entry);
    text.hidden = text.textContent === "";
    fillLabels(...labels.children, rows, entry);
    name.textContent = rows.name(entry);
    const decided = this.review.decisionOf(entry);
    tile.dataset.kind = decided?.kind ?? "";
    fillDecision(decision, decided, rows.data.classes);
  }
}

function makeTile() {
  const tile = element("button", "tile");
  tile.type = "button";
  const image = element("img", "picture");
  image.alt = "";
  const labels = element("span", "labels");
  labels.append(element("del", "given"), element("span", "arrow", " → "), element("span", "purified"));
  tile.append(image, element("span", "excerpt"), labels, element("span", "muted name"), element("span", "decision"));
  return tile;
}
