/** The classes of the cell of the heatmap under the pointer, [given, purified]; null beside the cells. */
function cellAt(heatmap, event) {
  const box = document.getElementById("confusion-cells").getBoundingClientRect();
  const classes = Number(heatmap.dataset.classes);
  const column = Math.floor((classes * (event.clientX - box.left)) / box.width);
  const row = Math.floor((classes * (event.clientY - box.top)) / box.height);
  const inside = [column, row].every((place) => place >= 0 && place < classes);
  return inside ? [column, row] : null;
}

/** Starts the review, and lets the first screen and the table of classes open it. */
function startReview() {
  const content = (id) => byId(id).textContent;
  const rows = new RowData(JSON.parse(content("data")), content("pictures"), content("values"));
  document.getElementById("review").hidden = false;
  // On a phone the filters would fill the screen before the first row.
  if (window.matchMedia("(max-width: 760px)").matches) byId("filters").open = false;
  const review = new Review(rows);
  document.getElementById("begin").addEventListener("click", (event) => {
    event.preventDefault();
    review.reach(byId(review.isBulk ? "accept-shown" : "accept"));
  });
  for (const card of document.querySelectorAll("[data-open]")) {
    card.addEventListener("click", (event) => {
      event.preventDefault();
      review.openEntry(Number(card.dataset.open));
    });
  }
  for (const cell of document.querySelectorAll("[data-given]")) {
    cell.addEventListener("click", () => review.openPair(cell.dataset.given, cell.dataset.purified));
  }
  const heatmap = document.getElementById("heatmap");
  heatmap?.addEventListener("click", (event) => {
    const cell = cellAt(heatmap, event);
    if (cell) review.openPair(...cell);
  });
}

startReview();
