/** Runs the review page: shows the list and the current row, and handles filters, buttons and keys. */
class Review {
  constructor(data, pictures) {
    this.data = data;
    this.pictures = pictures;
    this.entries = [];
    this.current = 0;
    this.decisions = new Decisions(data.run, browserStorage(), (words) => this.warn(words));
    this.list = new RowList(byId("list"), 48, makeRow, (node, position) => this.fillRow(node, position));
    this.fillSelects();
    this.listen();
    this.filter();
  }

  warn(words) {
    byId("warning").textContent = words;
  }

  fillSelects() {
    for (const [id, first] of [["given", "any"], ["purified", "any"], ["correct", "another label …"]]) {
      const options = this.data.classes.map((name, label) => new Option(name, label));
      byId(id).replaceChildren(new Option(first, ""), ...options);
    }
  }

  listen() {
    for (const id of ["given", "purified", "low", "high", "show", "order"]) {
      byId(id).addEventListener("change", () => this.filter());
    }
    for (const kind of ["accept", "reject", "skip"]) {
      byId(kind).addEventListener("click", () => this.decide(kind));
    }
    byId("correct").addEventListener("change", (event) => {
      const label = event.target.value;
      event.target.value = "";
      event.target.blur();
      if (label !== "") this.decide("correct", Number(label));
    });
    byId("undo").addEventListener("click", () => this.undo());
    byId("export").addEventListener("click", () => {
      this.decisions.save();
      download("decisions.csv", this.decisions.csv(this.data));
      this.show();
    });
    byId("list").addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.go(Number(row.dataset.position));
    });
    document.addEventListener("keydown", (event) => this.press(event));
    window.addEventListener("pagehide", () => this.decisions.save());
  }

  press(event) {
    const typing = event.target.closest("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !this.isInView()) return;
    const actions = {
      a: () => this.decide("accept"),
      r: () => this.decide("reject"),
      s: () => this.decide("skip"),
      c: () => this.choose(),
      u: () => this.undo(),
      j: () => this.go(this.current + 1),
      k: () => this.go(this.current - 1),
    };
    // Arrows scroll the page unless the list has the focus.
    if (event.target === byId("list")) Object.assign(actions, { ArrowDown: actions.j, ArrowUp: actions.k });
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** Whether the current row is visible; keys have no effect while it is scrolled out of view. */
  isInView() {
    const box = byId("detail").getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  }

  /** Opens the list of classes; in a closed list an arrow key would choose a class at once. */
  choose() {
    byId("correct").focus();
    byId("correct").showPicker?.();
  }

  filter() {
    const label = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
    const percent = (id, otherwise) => (byId(id).value === "" ? otherwise : 100 * Number(byId(id).value));
    this.entries = chosenEntries(this.data, this.decisions, {
      given: label("given"),
      purified: label("purified"),
      low: percent("low", 0),
      high: percent("high", 10000),
      show: byId("show").value,
      order: byId("order").value,
    });
    this.current = 0;
    this.list.viewport.scrollTop = 0;
    this.list.setCount(this.entries.length);
    this.show();
  }

  go(position) {
    this.current = Math.min(Math.max(position, 0), Math.max(this.entries.length - 1, 0));
    this.list.reveal(this.current);
    this.show();
  }

  decide(kind, label) {
    const entry = this.entries[this.current];
    if (entry === undefined) return;
    const after = { accept: this.data.purified[entry], reject: this.data.given[entry], skip: null };
    this.decisions.set(this.data.index[entry], kind, kind === "correct" ? label : after[kind]);
    // Decided rows stay in the list until a filter changes, so that rows do not move while you work.
    this.go(this.current + 1);
  }

  undo() {
    const row = this.decisions.undo();
    if (row === null) return;
    const position = this.entries.findIndex((entry) => this.data.index[entry] === row);
    this.go(position < 0 ? this.current : position);
  }

  fillRow(node, position) {
    const entry = this.entries[position];
    node.dataset.position = position;
    node.id = `row-${position}`;
    node.classList.toggle("current", position === this.current);
    node.setAttribute("aria-selected", position === this.current);
    const [picture, name, given, purified, confidence, decision] = node.children;
    this.fillPicture(picture, entry);
    name.textContent = this.nameOf(entry);
    this.fillLabels(given, purified, entry);
    confidence.textContent = `${(this.data.confidence[entry] / 100).toFixed(1)} %`;
    this.fillDecision(decision, entry);
  }

  fillPicture(node, entry) {
    const uri = this.pictures.get(entry);
    node.hidden = !uri;
    if (uri) node.src = uri;
    else node.removeAttribute("src");
  }

  fillLabels(given, purified, entry) {
    const { data } = this;
    const changed = data.given[entry] !== data.purified[entry];
    given.textContent = changed ? data.classes[data.given[entry]] : "";
    purified.textContent = data.classes[data.purified[entry]];
  }

  fillDecision(node, entry) {
    const decision = this.decisions.get(this.data.index[entry]);
    const words = { accept: "accepted", reject: "rejected", skip: "skipped" };
    node.dataset.kind = decision?.kind ?? "";
    if (!decision) node.textContent = "";
    else node.textContent = words[decision.kind] ?? `is ${this.data.classes[decision.label]}`;
  }

  nameOf(entry) {
    return this.data.names ? this.data.names[entry] : `row ${this.data.index[entry]}`;
  }

  /** Shows the current row beside the list, and the progress of the review. */
  show() {
    const entry = this.entries[this.current];
    byId("detail").classList.toggle("none", entry === undefined);
    for (const id of ["accept", "reject", "skip", "correct"]) byId(id).disabled = entry === undefined;
    byId("list").setAttribute("aria-activedescendant", `row-${this.current}`);
    if (entry !== undefined) {
      this.fillPicture(byId("picture"), entry);
      byId("name").textContent = this.nameOf(entry);
      this.fillLabels(byId("detail-given"), byId("detail-purified"), entry);
      const sure =
        `confidence ${(this.data.confidence[entry] / 100).toFixed(1)} %, ` +
        `score of the given label ${(this.data.quality[entry] / 10000).toFixed(3)}`;
      const known = this.data.true ? `; truth: ${this.data.classes[this.data.true[entry]]}` : "";
      byId("sure").textContent = sure + known;
      this.fillDecision(byId("detail-decision"), entry);
    }
    const place = this.entries.length ? this.current + 1 : 0;
    byId("place").textContent = `${place.toLocaleString("en")} of ${this.entries.length.toLocaleString("en")}`;
    const settled = this.decisions.settled();
    byId("progress").value = settled;
    byId("progress-text").textContent =
      `${settled.toLocaleString("en")} decided, ${this.data.changed.toLocaleString("en")} changed labels listed`;
    byId("random").textContent =
      `${this.decisions.decidedAtRandom(this.data)} of ${this.data.random.length} decided.`;
    byId("undo").disabled = this.decisions.past.length === 0;
  }
}

function byId(id) {
  return document.getElementById(`review-${id}`);
}

function makeRow() {
  const row = document.createElement("div");
  row.className = "row";
  row.setAttribute("role", "option");
  for (const [tag, name] of [
    ["img", "picture"],
    ["span", "name"],
    ["span", "given"],
    ["span", "purified"],
    ["span", "confidence"],
    ["span", "decision"],
  ]) {
    const cell = document.createElement(tag);
    cell.className = name;
    if (tag === "img") cell.alt = "";
    row.append(cell);
  }
  return row;
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function startReview() {
  const gallery = document.getElementById("gallery");
  const pictures = new Map();
  // Each picture is in the page once, in the gallery for readers without scripts; the review moves it here.
  for (const image of gallery.querySelectorAll("[data-entry] img")) {
    pictures.set(Number(image.closest("[data-entry]").dataset.entry), image.src);
  }
  gallery.remove();
  document.getElementById("review").hidden = false;
  new Review(JSON.parse(document.getElementById("review-data").textContent), pictures);
}

startReview();
