/** Shows one row beside the list: picture, text, labels, columns and evidence. */
class RowView {
  constructor(rows) {
    this.rows = rows;
  }

  show(entry, decision) {
    const { rows } = this;
    const { data } = rows;
    fillPicture(byId("picture"), rows.picture(entry));
    byId("zoom").hidden = byId("picture").hidden;
    byId("name").textContent = rows.name(entry);
    fillLabels(byId("detail-given"), byId("detail-arrow"), byId("detail-purified"), rows, entry);
    fillDecision(byId("detail-decision"), decision, data.classes);
    const known = data.true ? `; truth: ${data.classes[data.true[entry]]}` : "";
    byId("sure").textContent =
      `${data.calibrated ? "confidence" : "score"} ${rows.certainty(entry)}, ` +
      `score of the given label ${(data.quality[entry] / 10000).toFixed(3)}${known}`;
    this.fillColumns(entry);
    this.fillEvidence(entry);
  }

  fillColumns(entry) {
    const { data } = this.rows;
    const values = this.rows.columns(entry);
    const text = data.text === null ? "" : (values[data.text] ?? "");
    byId("text").textContent = text;
    byId("text").hidden = text === "";
    const pairs = data.columns.flatMap((name, place) => {
      if (place === data.text || values[place] === undefined) return [];
      return [element("dt", "", name), element("dd", "", values[place])];
    });
    byId("columns").replaceChildren(...pairs);
    byId("columns").hidden = pairs.length === 0;
  }

  fillEvidence(entry) {
    const cards = this.rows.evidence(entry).map((near) => {
      const card = element("li", "");
      const uri = this.rows.picture(near.entry);
      if (uri) {
        const image = element("img", "picture");
        image.alt = "";
        image.src = uri;
        card.append(image);
      }
      const text = this.rows.text(near.entry);
      if (text) card.append(element("span", "excerpt", text));
      card.append(element("strong", "", near.label));
      if (near.given !== null && near.given !== near.label) card.append(element("span", "muted", `given ${near.given}`));
      if (near.name) card.append(element("span", "muted", near.name));
      return card;
    });
    byId("evidence").hidden = cards.length === 0;
    byId("evidence").querySelector("ul").replaceChildren(...cards);
  }
}

function byId(id) {
  return document.getElementById(`review-${id}`);
}

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function fillPicture(node, uri) {
  node.hidden = !uri;
  if (uri) node.src = uri;
  else node.removeAttribute("src");
}

function fillLabels(given, arrow, purified, rows, entry) {
  const changed = rows.isChanged(entry);
  given.textContent = changed ? rows.data.classes[rows.data.given[entry]] : "";
  given.hidden = arrow.hidden = !changed;
  purified.textContent = rows.data.classes[rows.data.purified[entry]];
}

function fillDecision(node, decision, classes) {
  node.dataset.kind = decision?.kind ?? "";
  node.textContent = inWords(decision, classes);
}

function inWords(decision, classes) {
  const words = { accept: "accepted", reject: "rejected", skip: "skipped" };
  if (!decision) return "";
  return words[decision.kind] ?? `is ${classes[decision.label]}`;
}
