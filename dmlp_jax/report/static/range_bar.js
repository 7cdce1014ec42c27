/**
 * Selects a range of tiles without a keyboard: a button, then a tap on the first tile and one on the last.
 *
 * The bar that holds the button also acts on what is selected, by taps or by Shift and a click.
 */
class RangeBar {
  /** grid: whose tiles are selected. */
  constructor(grid) {
    this.grid = grid;
    this.step = null;
    byId("range-start").addEventListener("click", () => this.begin());
    byId("range-accept").addEventListener("click", () => this.grid.decide("accept"));
    byId("range-reject").addEventListener("click", () => this.grid.decide("reject"));
    byId("range-clear").addEventListener("click", () => this.clear());
  }

  begin() {
    this.step = "first";
    this.grid.selected = null;
    this.show();
  }

  clear() {
    this.step = null;
    this.grid.selected = null;
    this.grid.draw();
  }

  /** Takes a tap on a tile as an end of the range; false where no range is being selected. */
  tap(place) {
    if (this.step === null) return false;
    if (this.step === "first") this.grid.anchor = place;
    this.step = this.step === "first" ? "last" : null;
    this.grid.select(place);
    return true;
  }

  show() {
    const [first, last] = this.grid.selected ?? [0, -1];
    const count = this.step === null ? last - first + 1 : 0;
    byId("range-text").textContent = this.step ? `Tap the ${this.step} row.` : count ? `${count} selected` : "";
    byId("range-start").hidden = this.step !== null || count > 0;
    byId("range-accept").hidden = byId("range-reject").hidden = count === 0;
    byId("range-clear").hidden = this.step === null && count === 0;
    byId("range").classList.toggle("idle", this.step === null && count === 0);
  }
}
