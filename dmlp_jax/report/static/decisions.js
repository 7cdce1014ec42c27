"use strict";

/**
 * Stores review decisions by row number, in the browser's local storage under the fingerprint of the run.
 *
 * A decision is {kind, label}: kind is "accept", "reject", "correct" or "skip"; label is the row's class after
 * the decision, null for "skip".
 */
class Decisions {
  /** storage: localStorage or null; onFailure is called with a message when decisions cannot be stored. */
  constructor(run, storage, onFailure) {
    this.key = `dmlp_jax review ${run}`;
    this.storage = storage;
    this.onFailure = onFailure;
    this.byRow = new Map();
    this.past = [];
    // Rows decided in this tab since its last save: other tabs may have saved other rows meanwhile.
    this.unsaved = new Set();
    this.timer = null;
    this.load();
  }

  get(row) {
    return this.byRow.get(row);
  }

  /** Rows that are accepted, rejected or corrected. */
  settled() {
    let count = 0;
    for (const decision of this.byRow.values()) count += decision.kind !== "skip";
    return count;
  }

  set(row, kind, label) {
    this.past.push([row, this.byRow.get(row)]);
    this.byRow.set(row, { kind, label });
    this.unsaved.add(row);
    this.saveSoon();
  }

  /** Undoes the last decision; returns its row, or null if there is none. */
  undo() {
    const last = this.past.pop();
    if (!last) return null;
    const [row, before] = last;
    if (before) this.byRow.set(row, before);
    else this.byRow.delete(row);
    this.unsaved.add(row);
    this.saveSoon();
    return row;
  }

  load() {
    if (!this.storage) {
      this.onFailure("This browser cannot store decisions for this page: export them before you close it.");
      return;
    }
    try {
      this.byRow = this.stored();
    } catch {
      this.onFailure("The decisions stored in this browser cannot be read; the review starts without them.");
    }
  }

  /** The decisions in the browser's storage, by row. */
  stored() {
    const entries = JSON.parse(this.storage.getItem(this.key) ?? "[]");
    return new Map(entries.map(([row, kind, label]) => [row, { kind, label }]));
  }

  saveSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), 200);
  }

  save() {
    clearTimeout(this.timer);
    if (!this.storage) return;
    this.merge();
    const entries = Array.from(this.byRow, ([row, { kind, label }]) => [row, kind, label]);
    try {
      this.storage.setItem(this.key, JSON.stringify(entries));
      this.unsaved.clear();
    } catch {
      this.onFailure("This browser has no room for more decisions: export them before you close the page.");
    }
  }

  /** Loads what other tabs with this page have saved, except for rows that were decided in this tab. */
  merge() {
    let merged;
    try {
      merged = this.stored();
    } catch {
      return;
    }
    for (const row of this.unsaved) {
      if (this.byRow.has(row)) merged.set(row, this.byRow.get(row));
      else merged.delete(row);
    }
    this.byRow = merged;
  }

  /** How many of the rows that were drawn at random are decided, skipped ones among them. */
  decidedAtRandom(data) {
    return data.random.filter((entry) => this.byRow.has(data.index[entry])).length;
  }

  /** decisions.csv as `dmlp-purify --apply` reads it, in the order of the list. */
  csv(data) {
    // Names of rows outlast a table that is sorted anew.
    const named = data.names ? "id," : "";
    const lines = [`${named}index,given_label,predicted_label,decision,confidence,label,run,picked`];
    // Some of the random rows are no random sample: the reviewer chose them.
    const sampled = new Set(this.decidedAtRandom(data) === data.random.length ? data.random : []);
    data.index.forEach((row, entry) => {
      const decision = this.byRow.get(row);
      if (!decision) return;
      const fields = [
        ...(data.names ? [data.names[entry]] : []),
        row,
        data.classes[data.given[entry]],
        data.classes[data.purified[entry]],
        decision.kind,
        (data.confidence[entry] / 10000).toFixed(4),
        decision.label === null ? "" : data.classes[decision.label],
        data.run,
        sampled.has(entry) ? "random" : "suspicious",
      ];
      lines.push(fields.map(quoted).join(","));
    });
    return lines.join("\n") + "\n";
  }
}

/** A field of a comma-separated table (RFC 4180). */
function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) || text.trim() !== text ? `"${text.replaceAll('"', '""')}"` : text;
}

/** localStorage, or null where the browser denies it to pages opened from files. */
function browserStorage() {
  try {
    const storage = window.localStorage;
    storage.getItem("dmlp_jax");
    return storage;
  } catch {
    return null;
  }
}
