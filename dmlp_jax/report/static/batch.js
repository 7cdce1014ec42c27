/** Accepts all undecided, changed rows that the filters show and that are at least as sure as the reader says. */
class Batch {
  constructor(review) {
    this.review = review;
    byId("above").addEventListener("input", () => this.show());
    byId("accept-above").addEventListener("click", () => this.accept());
  }

  entries() {
    const { rows, data } = this.review;
    const least = 100 * Number(byId("above").value || 100);
    const sure = (entry) => rows.isChanged(entry) && data.confidence[entry] >= least;
    return this.review.entries.filter((entry) => sure(entry) && !this.review.decisionOf(entry));
  }

  show() {
    const count = this.entries().length;
    byId("accept-above").textContent = `Accept ${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}`;
    byId("accept-above").disabled = count === 0;
  }

  accept() {
    const entries = this.entries();
    this.review.change(entries.map((entry) => [entry, "accept"]));
    this.review.say(`${entries.length.toLocaleString("en")} rows accepted.`);
  }
}
