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
}

startReview();
