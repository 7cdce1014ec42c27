/**
 * A virtual list: only the rows in view are nodes of the document, so that it may have any length.
 *
 * The viewport scrolls; its only child is as high as all rows together and holds a pool of nodes, which are moved
 * and refilled as the list scrolls.
 */
class RowList {
  /** make() returns an empty row, fill(node, position) shows a row in it; height in pixels. */
  constructor(viewport, height, make, fill) {
    this.viewport = viewport;
    this.inner = viewport.firstElementChild;
    this.height = height;
    this.make = make;
    this.fill = fill;
    this.count = 0;
    this.pool = [];
    this.waiting = false;
    viewport.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    new ResizeObserver(() => this.drawSoon()).observe(viewport);
  }

  setCount(count) {
    this.count = count;
    this.inner.style.height = `${count * this.height}px`;
    this.draw();
  }

  drawSoon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const first = Math.max(0, Math.floor(this.viewport.scrollTop / this.height) - 2);
    const fitting = Math.ceil(this.viewport.clientHeight / this.height) + 4;
    while (this.pool.length < fitting) {
      const node = this.make();
      this.pool.push(node);
      this.inner.append(node);
    }
    this.pool.forEach((node, slot) => {
      const position = first + slot;
      node.hidden = slot >= fitting || position >= this.count;
      if (node.hidden) return;
      node.style.transform = `translateY(${position * this.height}px)`;
      this.fill(node, position);
    });
  }

  /** Scrolls by the least distance that brings a row into view. */
  reveal(position) {
    const top = position * this.height;
    const bottom = top + this.height - this.viewport.clientHeight;
    if (this.viewport.scrollTop > top) this.viewport.scrollTop = top;
    else if (this.viewport.scrollTop < bottom) this.viewport.scrollTop = bottom;
    this.draw();
  }
}

function makeRow() {
  const row = element("div", "row");
  row.setAttribute("role", "option");
  for (const [tag, name] of [
    ["img", "picture"],
    ["span", "name"],
    ["del", "given"],
    ["span", "purified"],
    ["span", "confidence"],
    ["span", "decision"],
  ]) {
    const cell = element(tag, name);
    if (tag === "img") cell.alt = "";
    row.append(cell);
  }
  return row;
}

function fillRow(review, node, position) {
  const { rows, entries } = review;
  const entry = entries[position];
  node.dataset.position = position;
  node.id = `row-${position}`;
  node.classList.toggle("current", position === review.current);
  node.setAttribute("aria-selected", position === review.current);
  node.setAttribute("aria-posinset", position + 1);
  node.setAttribute("aria-setsize", entries.length);
  const [picture, name, given, purified, confidence, decision] = node.children;
  fillPicture(picture, rows.picture(entry));
  name.textContent = rows.text(entry) || rows.name(entry);
  fillLabels(given, given, purified, rows, entry);
  confidence.textContent = rows.certainty(entry);
  fillDecision(decision, review.decisionOf(entry), rows.data.classes);
}
