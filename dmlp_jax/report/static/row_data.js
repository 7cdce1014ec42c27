/** Reads what the page holds of a row: name, labels, picture, columns, and the reviewed rows that are like it. */
class RowData {
  /** data: see review.py; pictures and values: texts with a line per row, listed ones first, then reviewed ones. */
  constructor(data, pictures, values) {
    this.data = data;
    // Split when first needed, and read row by row: together they may have 20 megabytes.
    this.pictures = lazyLines(pictures);
    this.values = lazyLines(values);
    this.near = data.reviewed ? unpacked(data.reviewed.near) : null;
  }

  /** The listed rows come first, reviewed ones after them. */
  get listed() {
    return this.data.index.length;
  }

  name(entry) {
    return this.data.names ? this.data.names[entry] : `row ${this.data.index[entry]}`;
  }

  isChanged(entry) {
    return this.data.given[entry] !== this.data.purified[entry];
  }

  /** The confidence of the proposed label in percent; a score that no clean row has checked, as a plain number. */
  certainty(entry) {
    const value = this.data.confidence[entry];
    return this.data.calibrated ? `${(value / 100).toFixed(1)} %` : (value / 10000).toFixed(3);
  }

  /** The picture as a data URI, or null. */
  picture(entry) {
    const line = this.pictures()[entry];
    if (!line) return null;
    return `data:image/${line[0] === "p" ? "png" : "webp"};base64,${line.slice(1)}`;
  }

  /** The values of the columns shown; none where the page has no room for them. */
  columns(entry) {
    const line = this.values()[entry];
    return line ? JSON.parse(line) : [];
  }

  text(entry) {
    return this.data.text === null ? "" : (this.columns(entry)[this.data.text] ?? "");
  }

  hasPictures() {
    return this.pictures().length > 1;
  }

  /** The reviewed rows that are most like a row: entry (for picture and text), label, the one given before, name. */
  evidence(entry) {
    const { reviewed, classes } = this.data;
    if (!reviewed) return [];
    const first = entry * reviewed.neighbours;
    return Array.from(this.near.subarray(first, first + reviewed.neighbours), (place) => ({
      entry: this.listed + place,
      label: classes[reviewed.label[place]],
      given: reviewed.given && reviewed.given[place] >= 0 ? classes[reviewed.given[place]] : null,
      name: reviewed.names ? reviewed.names[place] : "",
    }));
  }
}

function lazyLines(text) {
  let lines = null;
  return () => (lines ??= text.split("\n"));
}

/** Unsigned 32-bit numbers from base64. */
function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, place) => view.getUint32(4 * place, true));
}
