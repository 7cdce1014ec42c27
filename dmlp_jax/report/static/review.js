/** Runs the review page: the list and the current row, the grid, filters, buttons and keys. */
class Review {
  constructor(rows) {
    this.rows = rows;
    this.data = rows.data;
    this.entries = [];
    this.current = 0;
    this.isBulk = false;
    this.classKeys = keysOfClasses(this.data.classes);
    this.decisions = new Decisions(this.data.run, browserStorage(), (words) => this.warn(words));
    this.view = new RowView(rows);
    this.zoom = new Zoom(rows);
    this.list = new RowList(byId("list"), 48, makeRow, (node, position) => fillRow(this, node, position));
    this.grid = new Grid(this);
    document.getElementById("review").classList.toggle("unpictured", !rows.hasPictures());
    // Texts take more room than pictures.
    byId("page-size").value = rows.hasPictures() || this.data.text === null ? "60" : "24";
    this.batch = new Batch(this);
    this.fillSelects();
    for (const id of ["classes", "many-classes"]) fillClasses(byId(id), this);
    this.listen();
    this.filter();
  }

  warn(words) {
    byId("warning").textContent = words;
  }

  say(words) {
    byId("said").textContent = words;
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
    const clicks = {
      accept: () => this.decide("accept"),
      reject: () => this.decide("reject"),
      skip: () => this.decide("skip"),
      back: () => this.go(this.current - 1),
      next: () => this.go(this.current + 1),
      undo: () => this.undo(),
      zoom: () => this.enlarge(),
      single: () => this.setBulk(false),
      bulk: () => this.setBulk(true),
      clear: () => {
        resetFilters();
        this.filter();
      },
      export: () => {
        this.decisions.save();
        download(byId("export").dataset.name, decisionsTable(this.data, this.decisions));
        this.show();
      },
      copy: () => copyText(byId("command"), byId("copy")),
    };
    for (const [id, action] of Object.entries(clicks)) byId(id)?.addEventListener("click", action);
    byId("correct").addEventListener("change", (event) => {
      const label = event.target.value;
      event.target.value = "";
      event.target.blur();
      if (label !== "") this.giveLabel(Number(label));
    });
    byId("list").addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.go(Number(row.dataset.position));
    });
    document.addEventListener("keydown", (event) => onKey(this, event));
    window.addEventListener("pagehide", () => this.decisions.save());
  }

  /** Whether the review is visible; keys have no effect while it is scrolled out of view. */
  isInView() {
    const box = byId(this.isBulk ? "many" : "detail").getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  }

  /** Opens the list of classes; in a closed list an arrow key would choose a class at once. */
  choose() {
    byId("correct").focus();
    byId("correct").showPicker?.();
  }

  filter() {
    this.entries = chosenEntries(this.data, this.decisions, readFilters());
    this.current = 0;
    this.list.viewport.scrollTop = 0;
    this.list.setCount(this.entries.length);
    this.grid.goTo(0);
    this.show();
  }

  /** Shows many rows at once, or one by one. */
  setBulk(bulk) {
    const position = this.isBulk ? this.grid.targets()[0] : this.current;
    this.isBulk = bulk;
    byId("one").hidden = bulk;
    byId("many").hidden = !bulk;
    byId("single").setAttribute("aria-pressed", !bulk);
    byId("bulk").setAttribute("aria-pressed", bulk);
    if (bulk) this.grid.goTo(position ?? 0);
    else this.go(position ?? 0);
  }

  /** Opens the rows of a pair of classes as a grid. */
  openPair(given, purified) {
    resetFilters(given, purified);
    this.filter();
    this.setBulk(true);
    this.reach(byId("accept-shown"));
  }

  /** Opens one row, whatever the filters are. */
  openEntry(entry) {
    resetFilters();
    this.filter();
    this.setBulk(false);
    this.go(entry);
    this.reach(byId("accept"));
  }

  /** Scrolls to the review and puts the focus on one of its buttons, so that keys work at once. */
  reach(button) {
    document.getElementById("suspicious").scrollIntoView();
    button.focus({ preventScroll: true });
    if (!this.isInView()) button.scrollIntoView({ block: "end" });
  }

  go(position) {
    this.current = Math.min(Math.max(position, 0), Math.max(this.entries.length - 1, 0));
    this.list.reveal(this.current);
    this.show();
  }

  decisionOf(entry) {
    return this.decisions.get(this.data.index[entry]);
  }

  /**
   * One step; changes: [entry, kind, label], kind null to take the decision away, label for "correct" only.
   *
   * A skip leaves decided rows as they are.
   */
  change(changes) {
    const { data } = this;
    const made = changes.flatMap(([entry, kind, label]) => {
      if (kind === "skip" && this.decisionOf(entry)) return [];
      const after = { accept: data.purified[entry], reject: data.given[entry], correct: label, skip: null };
      return [[data.index[entry], kind && { kind, label: after[kind] }]];
    });
    this.decisions.step(made);
    this.show();
  }

  decide(kind, label) {
    const entry = this.entries[this.current];
    if (entry === undefined) return;
    this.change([[entry, kind, label]]);
    // Decided rows stay in the list until a filter changes, so that rows do not move while you work.
    this.go(this.current + 1);
  }

  /** Gives the current row, or the tiles that keys act on, a class. */
  giveLabel(label) {
    if (!this.isBulk) {
      const entry = this.entries[this.current];
      if (entry !== undefined) this.decide(...this.kindOf(entry, label));
      return;
    }
    const changes = this.grid.targets().map((position) => {
      const entry = this.entries[position];
      return [entry, ...this.kindOf(entry, label)];
    });
    this.grid.selected = null;
    this.change(changes);
  }

  /** What giving a row a class is called, and the class. */
  kindOf(entry, label) {
    if (label === this.data.purified[entry]) return ["accept"];
    return label === this.data.given[entry] ? ["reject"] : ["correct", label];
  }

  undo() {
    const rows = this.decisions.undo();
    if (rows === null) return;
    const undone = new Set(rows);
    const position = this.entries.findIndex((entry) => undone.has(this.data.index[entry]));
    if (rows.length > 1) this.say(`${rows.length.toLocaleString("en")} decisions undone.`);
    if (this.isBulk && position >= 0) this.grid.goTo(position);
    this.go(position < 0 ? this.current : position);
  }

  enlarge() {
    const position = this.isBulk ? this.grid.targets()[0] : this.current;
    const entry = this.entries[position];
    if (entry !== undefined) this.zoom.toggle(entry);
  }

  /** Shows the current row or page, and the progress of the review. */
  show() {
    const entry = this.entries[this.current];
    const none = entry === undefined;
    byId("detail").classList.toggle("none", none);
    for (const id of ["accept", "reject", "skip", "correct"]) byId(id).disabled = none;
    byId("back").disabled = this.current === 0;
    byId("next").disabled = this.current >= this.entries.length - 1;
    if (!none) {
      this.view.show(entry, this.decisionOf(entry));
      fillButtons(this.rows, entry);
    }
    if (this.isBulk) {
      this.grid.draw();
    } else {
      this.list.draw();
      this.markActive();
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
    this.batch.show();
  }

  /** Names the current row to screen readers, while it is a node of the document. */
  markActive() {
    const id = `row-${this.current}`;
    if (document.getElementById(id)?.hidden === false) byId("list").setAttribute("aria-activedescendant", id);
    else byId("list").removeAttribute("aria-activedescendant");
  }
}
