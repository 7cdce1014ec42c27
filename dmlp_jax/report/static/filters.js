/** Orders of the list: comparison functions of entries; null keeps the order of the data. */
const ORDERS = {
  suspicion: null,
  surest: (data) => (a, b) => data.confidence[b] - data.confidence[a] || a - b,
  unsure: (data) => (a, b) => data.confidence[a] - data.confidence[b] || a - b,
  row: (data) => (a, b) => data.index[a] - data.index[b],
  pair: (data) => (a, b) => data.given[a] - data.given[b] || data.purified[a] - data.purified[b] || a - b,
};

/**
 * Entries that pass the filters, in order.
 *
 * filters: given and purified (class or null), low and high (confidence, units of 0.0001), show ("all",
 * "changed", "open", "decided" or "random") and order (a key of ORDERS).
 */
function chosenEntries(data, decisions, filters) {
  const entries = [];
  const random = new Set(data.random);
  for (let entry = 0; entry < data.index.length; entry++) {
    if (filters.given !== null && data.given[entry] !== filters.given) continue;
    if (filters.purified !== null && data.purified[entry] !== filters.purified) continue;
    if (data.confidence[entry] < filters.low || data.confidence[entry] > filters.high) continue;
    if (!isShown(data, decisions, random, entry, filters.show)) continue;
    entries.push(entry);
  }
  const order = ORDERS[filters.order];
  return order ? entries.sort(order(data)) : entries;
}

function isShown(data, decisions, random, entry, show) {
  if (show === "all") return true;
  if (show === "random") return random.has(entry);
  const decided = decisions.get(data.index[entry]) !== undefined;
  if (show === "decided") return decided;
  const changed = data.given[entry] !== data.purified[entry];
  return changed && (show === "changed" || !decided);
}

/** The filters as the reader has set them. */
function readFilters() {
  const label = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  const percent = (id, otherwise) => (byId(id).value === "" ? otherwise : 100 * Number(byId(id).value));
  return {
    given: label("given"),
    purified: label("purified"),
    low: percent("low", 0),
    high: percent("high", 10000),
    show: byId("show").value,
    order: byId("order").value,
  };
}

/** Sets all filters back; given and purified: classes, or none for any. */
function resetFilters(given = "", purified = "") {
  for (const id of ["low", "high"]) byId(id).value = "";
  byId("given").value = given;
  byId("purified").value = purified;
  byId("show").value = "all";
  byId("order").value = "suspicion";
}
