"use strict";

// Steps that can be undone, and decisions in them: what is kept for undoing must fit the browser's storage too.
const PAST_STEPS = 200;
const PAST_DECISIONS = 60000;

/**
 * Stores review decisions by row number, in the browser's local storage under the fingerprint of the run, together
 * with what undoes the last steps.
 *
 * A decision is {kind, label}: kind is "accept", "reject", "correct" or "skip"; label is the row's class after
 * the decision, null for "skip".
 */
class Decisions {
  /** storage: localStorage or null; onFailure is called with a message when decisions cannot be stored. */
  constructor(run, storage, onFailure) {
    this.key = `dmlp_jax review ${run}`;
    this.pastKey = `${this.key} past`;
    this.storage = storage;
    this.onFailure = onFailure;
    this.byRow = new Map();
    // Steps, the last one last; each is a list of [row, the decision before or null].
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

  /** One step, which one undo takes back; changes: [row, decision or null to take it away], of rows once each. */
  step(changes) {
    if (!changes.length) return;
    this.past.push(changes.map(([row]) => [row, this.byRow.get(row) ?? null]));
    for (const [row, decision] of changes) this.put(row, decision);
    let held = 0;
    let first = this.past.length;
    while (first > 0 && this.past.length - first < PAST_STEPS) {
      held += this.past[first - 1].length;
      if (held > PAST_DECISIONS && first < this.past.length) break;
      first--;
    }
    this.past.splice(0, first);
    this.saveSoon();
  }

  put(row, decision) {
    if (decision) this.byRow.set(row, decision);
    else this.byRow.delete(row);
    this.unsaved.add(row);
  }

  /** Undoes the last step; returns its rows, or null if there is none. */
  undo() {
    const last = this.past.pop();
    if (!last) return null;
    for (const [row, before] of last) this.put(row, before);
    this.saveSoon();
    return last.map(([row]) => row);
  }

  load() {
    if (!this.storage) {
      this.onFailure("This browser cannot store decisions for this page: export them before you close it.");
      return;
    }
    try {
      this.byRow = this.stored();
      this.past = JSON.parse(this.storage.getItem(this.pastKey) ?? "[]");
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
      this.storage.setItem(this.pastKey, JSON.stringify(this.past));
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
